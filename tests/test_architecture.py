"""What docs/architecture.md says of names and sizes; what it says of imports is import-linter's."""

import ast
from collections import Counter
from pathlib import Path

import remdm

MODULES = {path: ast.parse(path.read_text()) for path in Path(remdm.__file__).parent.rglob("*.py")}
FACTORIES = {"make_finetuning", "make_online", "make_ppo"}  # which read as the algorithm


def repeated(names, times=2):
    return sorted(name for name, count in Counter(names).items() if count >= times)


def test_no_two_public_classes_share_a_name():
    classes = (
        node.name for tree in MODULES.values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)
    )
    assert repeated(name for name in classes if not name.startswith("_")) == []


def test_no_file_name_occurs_five_times():
    assert repeated((path.name for path in MODULES), times=5) == ["__init__.py"]


def test_files_and_functions_are_short():
    for path, tree in MODULES.items():
        assert len(path.read_text().splitlines()) <= 400, path
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and node.name not in FACTORIES:
                assert node.end_lineno - node.lineno < 60, f"{path}: {node.name}"
