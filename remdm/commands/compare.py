"""Draw any runs side by side."""

import argparse


def run_compare(arguments: argparse.Namespace) -> None:
    """Write the page and print where it is.

    Raises:
        UserError: a folder holds no finished run, or what is in it is not whole.
    """
    # Only now what imports polars and scipy.
    from remdm.analysis.comparison import write_comparison

    folders = [path.parent if path.name == "run.json" else path for path in arguments.runs]
    write_comparison(folders, arguments.output)
    print(arguments.output)
