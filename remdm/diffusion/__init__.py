"""Masked discrete diffusion with remasking, as pure functions on arrays."""
