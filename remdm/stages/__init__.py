"""One file a mode, where config, algorithm, loop and files meet."""
