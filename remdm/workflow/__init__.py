"""What the Snakefile asks: paths, parameters and digests."""
