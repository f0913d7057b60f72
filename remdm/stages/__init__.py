"""One file for each mode, which connects configuration, algorithm, loop and files."""
