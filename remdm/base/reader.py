"""This project's YAML reader: only values, YAML 1.2 numbers, duplicate keys refused."""

import re
from copy import deepcopy
from functools import lru_cache
from pathlib import Path
from typing import Any, NoReturn

import yaml
from yaml.constructor import ConstructorError

from remdm.base.errors import ConfigError
from remdm.base.files import is_utf8, read_text

LARGEST = 2**17  # bytes; the parser needs a thousand times as much memory
UNREADABLE = (yaml.YAMLError, RecursionError, ValueError, OverflowError)


class _Loader(yaml.SafeLoader):
    """A loader without YAML 1.1's types, by which `1e8` and `3e-4` are strings and a date is not."""

    def _refuse(self) -> NoReturn:
        # A few aliases can expand to gigabytes.
        raise ConstructorError(None, None, "anchors, aliases and tags are not read", self.get_mark())

    fetch_anchor = fetch_alias = fetch_tag = _refuse


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":timestamp")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d[\d_]*\.?\d*|\.\d+)[eE][-+]?\d+$"),
    list("-+.0123456789"),
)


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[str, Any]:
    mapping: dict[str, Any] = {}
    for (key, value), (key_node, _) in zip(loader.construct_pairs(node, deep=True), node.value, strict=True):
        if not isinstance(key, str) or key in mapping:
            problem = f"{key} is given twice" if isinstance(key, str) else f"key {key!r} is not a name"
            raise ConstructorError(None, None, problem, key_node.start_mark)
        mapping[key] = value
    return mapping


def _integer(loader: _Loader, node: yaml.ScalarNode) -> int:
    try:
        value: int = loader.construct_yaml_int(node)
        str(value)  # fails for thousands of digits, which no message could show
    except ValueError:
        problem = f"{node.value[:20]!r} is not an integer, or begins one of thousands of digits"
        raise ConstructorError(None, None, problem, node.start_mark) from None
    return value


def _text(loader: _Loader, node: yaml.ScalarNode) -> str:
    value: str = loader.construct_yaml_str(node)
    if not is_utf8(value) or "\0" in value:
        raise ConstructorError(None, None, f"{value[:20]!r} can name no file", node.start_mark)
    return value


_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)
_Loader.add_constructor("tag:yaml.org,2002:str", _text)
_Loader.add_constructor("tag:yaml.org,2002:int", _integer)


def parse_value(text: str) -> Any:
    """Parse one value as in files; text that is not valid YAML is returned as a string."""
    try:
        return yaml.load(text, _Loader)
    except UNREADABLE:
        return text


@lru_cache(maxsize=64)
def _parsed(text: str) -> Any:
    """Cached, because the pipeline builds every job from the same few files."""
    return yaml.load(text, _Loader)


def read_mapping(path: Path) -> dict[str, Any]:
    """Read a YAML file that contains a mapping; an empty file is an empty mapping.

    Raises:
        ConfigError: the file is missing, no file, too large, not UTF-8, not YAML, or not a mapping.
    """
    try:
        text = read_text(path, LARGEST)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text (byte {error.start})") from None
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from None
    try:
        data = deepcopy(_parsed(text))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f", line {mark.line + 1}" if mark else ""
        raise ConfigError(f"{path}{line}: not valid YAML ({error.problem or error.context})") from None
    except UNREADABLE as error:
        raise ConfigError(f"{path}: not valid YAML ({str(error).splitlines()[0]})") from None
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: contains a {type(data).__name__}, but should contain `key: value` lines")
    return data
