"""The denoiser network."""
