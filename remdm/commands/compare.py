"""Draw the comparison of any runs as a page."""

import argparse


def run_compare(arguments: argparse.Namespace) -> None:
    """Write the page and print where it is.

    Raises:
        UserError: a folder contains no finished run, or its files are incomplete.
    """
    # Imported late, because it imports polars and scipy.
    from remdm.analysis.comparison import write_comparison

    folders = [path.parent if path.name == "run.json" else path for path in arguments.runs]
    write_comparison(folders, arguments.output)
    print(arguments.output)
