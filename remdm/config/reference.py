"""The reference of all keys, generated from the models: help texts, a page, a JSON schema."""

from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple, get_args

from remdm.base.reader import read_mapping
from remdm.config.base import Section, Unit
from remdm.config.layers import MODELS, configs_folder
from remdm.config.stages import STAGES


class Key(NamedTuple):
    """A key as shown in the reference."""

    name: str
    section: type[Section]  # the model whose field it is
    kind: str  # type and range
    unit: str
    default: Any
    modes: tuple[str, ...]
    description: str

    @property
    def title(self) -> str:
        """The title of its section."""
        return (self.section.__doc__ or self.section.__name__).splitlines()[0].rstrip(".")

    @property
    def type_and_unit(self) -> str:
        """Type, range and unit in words."""
        return f"{self.kind}; {self.unit}" if self.unit else self.kind


def key_of(name: str, model: type[Section], defaults: dict[str, Any]) -> Key:
    """The entry of a field of a model."""
    owner = model.owners()[name]
    field = owner.model_fields[name]
    section = next(base for base in reversed(owner.__mro__) if name in getattr(base, "model_fields", {}))
    modes = tuple(mode for mode, stage in STAGES.items() if name in stage.keys)
    kind = _kind(_properties(owner)[name])
    unit = ", ".join(dict.fromkeys(unit.name for unit in _units([field.annotation, *field.metadata])))
    return Key(name, section, kind, unit, defaults[name], modes, field.description or "")


@cache
def all_keys() -> dict[str, Key]:
    """Every key, in the order of `defaults.yaml`."""
    defaults = read_mapping(configs_folder() / "defaults.yaml")
    return {
        name: key_of(name, next(model for model in MODELS if name in model.owners()), defaults)
        for name in defaults
    }


def help_text(key: Key) -> str:
    """The text of a key in `--help`."""
    return f"{key.description} [{key.type_and_unit}; default {_yaml(key.default)}]"


def reference_page() -> str:
    """The documentation of all keys, in Markdown."""
    lines = [
        "# Keys",
        "",
        "Every key is a line of a YAML file and a flag of the modes that have it: `lr: 1e-4`, `--lr 1e-4`. "
        "Hyphens and underscores are the same in flags; `--no-KEY` is false. A preset overrides "
        "`configs/defaults.yaml`, and flags override both.",
        "",
        "Where two keys give one quantity, the one in frames (or cycles, or as a final value) counts unless "
        "it is null; the other has the resolved value in `run.json`.",
        "",
        "This page is written by `remdm keys > docs/keys.md`.",
    ]
    keys = all_keys().values()
    for section in dict.fromkeys(key.section for key in keys):
        rows = [key for key in keys if key.section is section]
        lines += ["", f"## {rows[0].title}", ""]
        lines += ["| key | default | type | modes | meaning |", "|---|---|---|---|---|"]
        for key in rows:
            modes = ", ".join(key.modes) if len(key.modes) < len(STAGES) else "all"
            cells = f"`{key.name}`", _yaml(key.default), key.type_and_unit, modes, key.description
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def json_schema() -> dict[str, Any]:
    """A JSON schema of configuration files, for editors that complete and check them."""
    properties: dict[str, Any] = {}
    for model in MODELS:
        properties |= {key: _properties(owner)[key] for key, owner in model.owners().items()}
    for name, key in all_keys().items():
        shown = {"description": key.description, "default": key.default}
        kept = {k: v for k, v in properties[name].items() if k not in ("title", "path")}
        properties[name] = kept | shown | ({"unit": key.unit} if key.unit else {})
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Configuration of remdm",
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
    }


@cache
def _properties(model: type[Section]) -> dict[str, Any]:
    return model.model_json_schema()["properties"]


def _units(annotations: Any) -> Iterator[Unit]:
    for annotation in annotations:
        if isinstance(annotation, Unit):
            yield annotation
        else:
            yield from _units([*get_args(annotation), *getattr(annotation, "__metadata__", ())])


def _kind(schema: dict[str, Any]) -> str:
    """Type and range of a key in words, from its JSON schema."""
    if "anyOf" in schema:
        return " or ".join(_kind(choice) for choice in schema["anyOf"])
    if "enum" in schema:
        return " or ".join(map(str, schema["enum"]))
    if schema["type"] == "array":
        return f"list of {_kind(schema['items'])}"
    signs = {"exclusiveMinimum": ">", "minimum": ">=", "exclusiveMaximum": "<", "maximum": "<="}
    limits = [f"{sign} {schema[name]:.10g}" for name, sign in signs.items() if name in schema]
    return " ".join([schema["type"], *([" and ".join(limits)] if limits else [])])


def _yaml(value: Any) -> str:
    """A value as a YAML file writes it."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case float() if value >= 1e5 or 0 < value < 1e-3:
            return f"{value:g}"
    return str(value)
