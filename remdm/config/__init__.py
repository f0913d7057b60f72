"""Frozen, typed configuration of every stage."""
