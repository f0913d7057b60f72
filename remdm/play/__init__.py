"""Policies, and the loop in which they play."""
