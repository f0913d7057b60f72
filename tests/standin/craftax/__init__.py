"""A small game that stands in for Craftax in processes whose PYTHONPATH begins with the folder above."""
