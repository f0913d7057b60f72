"""What every room may use: errors, files, the machine, programs, and what the fields of a state are."""
