"""What every room may use: errors, files, the machine, and what the fields of a state are."""
