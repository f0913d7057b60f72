"""Shared by all packages: errors, log, files, the machine, programs, and the roles of a state's fields."""
