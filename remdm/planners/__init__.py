"""Diffusion planners: how they are trained and how they play."""
