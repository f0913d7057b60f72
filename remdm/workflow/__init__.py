"""What the Snakefile needs: jobs, paths, parameters and digests."""
