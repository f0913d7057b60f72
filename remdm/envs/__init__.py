"""Craftax as a batched, auto-resetting environment."""
