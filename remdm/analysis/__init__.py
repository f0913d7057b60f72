"""Figures, tables and the report, from result files only."""
