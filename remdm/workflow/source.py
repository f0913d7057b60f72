"""The source code that a stage can reach, and digests of it.

A digest is taken of syntax trees without docstrings and descriptions of keys, so comments,
formatting and documentation make nothing stale. It follows imports, so a change makes only those
results stale whose code can reach it. Modules that only show progress, list or explain are excluded.
"""

import ast
import hashlib
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "remdm"
SHOWING = (
    "remdm/config/arms.py",
    "remdm/config/runtime.py",
    "remdm/stages/budget.py",
    "remdm/training/interruption.py",
    "remdm/training/lock.py",
    "remdm/training/progress.py",
    "remdm/training/tensorboard.py",
    "remdm/training/tracking.py",
    "remdm/training/wandb_client.py",
)


def source_digests(*entries: Path) -> dict[str, str]:
    """Digests of files and of all modules of the package that they reach, by path in the repository."""
    modules = sorted(frozenset().union(*map(reachable, entries)))
    return {_name(path): _module(path).digest for path in modules}


def web_digests(module: str) -> dict[str, str]:
    """Digests of template, style and scripts of the page that a module of `analysis/` writes, if it does."""
    web = ROOT / PACKAGE / "analysis" / "web"
    own = sorted(web.glob(f"{module}.*"))
    return {
        _name(path): hashlib.sha256(path.read_bytes()).hexdigest()[:12]
        for path in (*own, *(sorted(web.glob("page.*")) if own else ()))
    }


@cache
def reachable(entry: Path) -> frozenset[Path]:
    """The file and every module of the package it imports, directly or not, also inside functions."""
    modules: set[Path] = set()
    waiting = [entry.resolve()]
    while waiting:
        path = waiting.pop()
        if path not in modules and _name(path) not in SHOWING:
            modules.add(path)
            files = map(_module_file, _module(path).imports)
            waiting.extend(file for file in files if file is not None)
    return frozenset(modules)


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def _module(path: Path) -> "_Module":
    return _parsed(path.read_text(encoding="utf-8"), _name(path))


class _Module(NamedTuple):
    """The names that a module imports, and its digest."""

    imports: frozenset[str]
    digest: str


@cache
def _parsed(text: str, name: str) -> _Module:
    tree = ast.parse(text, name)
    return _Module(_imports(tree), _tree_digest(tree))  # in this order: `_tree_digest` modifies the tree


def _tree_digest(tree: ast.Module) -> str:
    """Digest of the syntax tree without docstrings, descriptions of keys, and positions."""
    for node in ast.walk(tree):
        match node:
            case ast.Module() | ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef():
                if ast.get_docstring(node, clean=False) is not None:
                    del node.body[0]
            case ast.Call(func=ast.Name("Field" | "path_key")):
                node.keywords = [keyword for keyword in node.keywords if keyword.arg != "description"]
    return hashlib.sha256(repr(_plain(tree)).encode()).hexdigest()[:12]


def _plain(node: Any) -> Any:
    """A syntax tree as lists without empty fields, so that it is the same in all versions of Python."""
    if isinstance(node, ast.AST):
        fields = [(name, value) for name, value in ast.iter_fields(node) if value not in (None, [])]
        return [type(node).__name__, *((name, _plain(value)) for name, value in fields)]
    return [_plain(item) for item in node] if isinstance(node, list) else repr(node)


def _imports(tree: ast.Module) -> frozenset[str]:
    """Names that may be imported modules: `from package import x` names a module or an object inside one."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names.update((node.module, *(f"{node.module}.{alias.name}" for alias in node.names)))
    return frozenset(names)


@cache
def _module_file(name: str) -> Path | None:
    """The file of a module of this package; None for other modules and for names inside a module."""
    if name.split(".")[0] != PACKAGE:
        return None
    path = ROOT.joinpath(*name.split("."))
    for file in (path.with_suffix(".py"), path / "__init__.py"):
        if file.is_file():
            return file
    return None
