"""Draw the page of a recording, or of two in the same world."""

import argparse

from remdm.base.errors import UserError


def run_view(arguments: argparse.Namespace) -> None:
    """Write the page and print where it is.

    Raises:
        UserError: more than two recordings, one that is missing or incomplete, or two of different worlds.
    """
    folders = [path.parent if path.name == "film.npz" else path for path in arguments.films]
    if len(folders) > 2:
        raise UserError(f"view: {len(folders)} films: at most two can be shown side by side")

    # Imported late, because it imports matplotlib and polars.
    from remdm.analysis.viewer import write_viewer

    output = arguments.output or folders[0] / "episode.html"
    write_viewer(folders, output)
    print(output)
