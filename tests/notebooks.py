"""The notebooks of `examples/`, run with a real kernel."""

import nbformat
from nbclient import NotebookClient

from tests.conftest import REPOSITORY


def run_example(name, folder):
    """Run a notebook, which is committed without its outputs, in a folder; returns what its cells show."""
    notebook = nbformat.read(REPOSITORY / "examples" / name, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.outputs == [] for cell in code), "it is committed without its outputs"
    NotebookClient(notebook, timeout=None, resources={"metadata": {"path": str(folder)}}).execute()
    return [output.get("data", {}) for cell in code for output in cell.outputs]
