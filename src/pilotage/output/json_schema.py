"""Describes route files and labels as JSON Schema (draft 7), for completion and checks in editors. Pure.

The fields come from :mod:`pilotage.routes.schema`. A schema accepts each value that pilotage accepts, but not only
those: ``pilotage check`` finds more errors.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

from pilotage.core.text import format_duration
from pilotage.core.values import FALSE, TRUE
from pilotage.labels.key_schema import fold
from pilotage.labels.keys import SHORTCUTS
from pilotage.output.label_reference import CONTAINER
from pilotage.routes.fields import Boolean, Choice, Duration, Host, Integer, IPAddress, Kind, RequestPath
from pilotage.routes.formats import Retention
from pilotage.routes.mappings import FreeMapping, ListOf, StructKind
from pilotage.routes.middlewares import MIDDLEWARES, Middlewares
from pilotage.routes.port_syntax import Port
from pilotage.routes.rules import Rules
from pilotage.routes.schema import ROUTE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pilotage.routes.mappings import Field

__all__ = ["SCHEMAS"]

Schema = dict[str, Any]

_DRAFT: Final = "http://json-schema.org/draft-07/schema#"
_DURATION: Final = r"^$|^[+]?(([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|µs|ms|s|m|h|d|w|M))+$|^[+]?[0-9]+$"
_ALIAS: Final = r"^proxy\.[^.=]+\."
_VARIABLE: Final[Schema] = {"type": "string", "pattern": r"\$"}
"""The text of a label in which Compose replaces a variable."""


def _routes() -> Schema:
    """Return the schema of a route file."""
    route = _mapping(ROUTE, "#/additionalProperties/anyOf/0")
    route["properties"] |= {
        "agent": {"type": ["string", "null"], "description": "Name or address of the agent that reaches the target."},
        "idlewatcher": {"type": ["object", "null"], "description": "Container with which the route sleeps and wakes."},
    }
    return {
        "$schema": _DRAFT,
        "title": "Routes of pilotage",
        "type": ["object", "null"],
        "patternProperties": {"^x-": True},
        "additionalProperties": {"anyOf": [route, {"type": "null"}]},
    }


def _labels() -> Schema:
    """Return a schema of Compose files that covers only labels of pilotage."""
    properties = {
        entry.label: {"type": ["string", "number", "boolean", "null"], "description": _sentence(entry)}
        for entry in CONTAINER
    }
    properties |= {
        f"proxy.{name}": {
            "type": ["string", "number", "boolean", "null"],
            "description": f"{field} of each alias in turn: the first item for the first alias, and so on.",
        }
        for name, field in SHORTCUTS.items()
    }
    rules = dict(_label_rules(ROUTE, _ALIAS))
    unknown = [pattern for pattern, schema in rules.items() if schema is False]
    labels = {
        "anyOf": [
            {
                "type": "object",
                "properties": properties,
                "patternProperties": {r"^proxy\.[^.]+$": {"type": ["string", "number", "boolean", "null"]}} | rules,
            },
            {"type": "array", "items": {"type": "string", "not": {"anyOf": [{"pattern": each} for each in unknown]}}},
            {"type": "null"},
        ]
    }
    reference = {"$ref": "#/definitions/labels"}
    deploy = {"type": ["object", "null"], "properties": {"labels": reference}}
    service = {"type": ["object", "null"], "properties": {"labels": reference, "deploy": deploy}}
    return {
        "$schema": _DRAFT,
        "title": "Labels of pilotage in Compose files",
        "definitions": {"labels": labels},
        "type": ["object", "null"],
        "properties": {"services": {"type": ["object", "null"], "additionalProperties": service}},
    }


SCHEMAS: Final[dict[str, Callable[[], Schema]]] = {"routes": _routes, "labels": _labels}
"""Name of a kind of file -> a function that returns its schema."""


def _label_rules(kind: StructKind, prefix: str) -> Iterator[tuple[str, Any]]:
    """Yield a pattern of label keys and the schema of the values for each field; ``False`` for unknown fields."""
    names = []
    for name, field in kind.fields.items():
        words = "|".join(map(_any_spelling, (name, *field.spellings)))
        names.append(words)
        texts: Schema = {"anyOf": [*_values(field.kind, "", in_label=True), _VARIABLE]}
        yield f"{prefix}({words})$", _described(texts, field, kind, name)
        below = f"{prefix}({words})\\."
        if isinstance(field.kind, StructKind):
            yield from _label_rules(field.kind, below)
        elif isinstance(field.kind, Middlewares):
            known = "|".join(map(_any_spelling, MIDDLEWARES))
            yield rf"{below}(?!({known})(\.|=|$)|[^.=]*@file)", False
    # In a list of labels, an equals sign follows the key.
    yield rf"{prefix}(?!({'|'.join(names)})(\.|=|$))", False


def _any_spelling(name: str) -> str:
    """Return a pattern for a name in upper or lower case, with underscores anywhere."""
    return "_*" + "_*".join(f"[{char}{char.upper()}]" if char.isalpha() else re.escape(char) for char in fold(name))


def _mapping(kind: StructKind, place: str) -> Schema:
    """Return the schema of a mapping with known fields. ``place`` is the schema's JSON pointer, for references."""
    properties, patterns = {}, {}
    for name, field in kind.fields.items():
        at = f"{place}/properties/{name}"
        properties[name] = _described({"anyOf": list(_values(field.kind, at))}, field, kind, name)
        for spelling in (name, *field.spellings):
            patterns[f"^(?!{name}$){_any_spelling(spelling)}_*$"] = {"$ref": at}
    return {"type": "object", "properties": properties, "patternProperties": patterns, "additionalProperties": False}


def _described(schema: Schema, field: Field, kind: StructKind, name: str) -> Schema:
    """Add description and default to the schema of a field."""
    default = next(it.default for it in msgspec.structs.fields(kind.struct) if it.name == name)
    if isinstance(default, float) and isinstance(field.kind, Duration):
        default = format_duration(default)
    is_literal = not field.default and isinstance(default, bool | int | str) and default != ""
    shown = field.default or (str(default).lower() if isinstance(default, bool) else str(default)) * is_literal
    text = f"{field.meaning} Default: {shown}." if shown else field.meaning
    found = {**schema, "description": text}
    if is_literal:
        found["default"] = default
    if field.example and not isinstance(field.kind, StructKind):
        found["examples"] = [field.example]
    return found


def _sentence(entry: Any) -> str:
    return f"{entry.meaning} Default: {entry.default}." if entry.default else entry.meaning


def _values(kind: Kind, place: str, *, in_label: bool = False) -> Iterator[Schema]:
    """Yield schemas, one of which a value of this kind fulfills. A label's value is a text, number or boolean."""
    single = list(_single_values(kind))
    if single:
        yield from single
    elif in_label:
        yield {"type": ["string", "number", "boolean"]}
    else:
        yield from _composite_values(kind, place)
    if isinstance(kind, Port) and not in_label:
        yield {"type": "object"}
    yield {"type": "null"}  # last, because editors name the first type in a message


def _single_values(kind: Kind) -> Iterator[Schema]:
    """Yield the schemas of a kind of single value whose text has rules; nothing for other kinds."""
    if isinstance(kind, Boolean):
        yield {"type": "boolean"}
        yield {"enum": [0, 1, "", *sorted(TRUE | FALSE)]}
    elif isinstance(kind, Integer):
        limits = {"maximum": kind.most} | ({} if kind.least is None else {"minimum": kind.least})
        yield {"type": "integer", **limits}
        yield {"type": "string", "pattern": "^([+-]?[0-9]+)?$"}
    elif isinstance(kind, Duration):
        yield {"type": "integer", "minimum": 0}
        yield {"type": "string", "pattern": _DURATION}
    elif isinstance(kind, Choice):
        yield {"enum": ["", *kind.words]}
        if kind.fold:
            yield {"type": "string", "pattern": f"^({'|'.join(map(_any_case, kind.words))})$"}
    elif isinstance(kind, Port):
        yield {"type": "integer", "minimum": 0, "maximum": 65535}
        yield {"type": "string", "pattern": "^([0-9]{0,5}:)?[0-9]{0,5}$"}
    elif isinstance(kind, RequestPath | IPAddress | Host):
        yield {"type": ["string", "number"], "pattern": _PATTERNS[type(kind)]}


_PATTERNS: Final = {RequestPath: "^(/[^ ]*)?$", IPAddress: "^[0-9A-Fa-f:.]*$", Host: r"^\s*[^/\s]*\s*$"}


def _composite_values(kind: Kind, place: str) -> Iterator[Schema]:
    """Yield the schemas of a list, a mapping or any text. Mappings and lists may also be written as text."""
    if isinstance(kind, StructKind):
        yield _mapping(kind, f"{place}/anyOf/0")
        yield {"type": "string"}
    elif isinstance(kind, ListOf):
        yield {"type": "array", "items": {"anyOf": list(_values(kind.item, ""))}}
        yield {"type": "string"}
    elif isinstance(kind, Middlewares):
        names = {name: {"type": ["object", "null", "string"]} for name in sorted(set(MIDDLEWARES.values()))}
        others = "|".join([*map(_any_spelling, MIDDLEWARES), "[^@]+@file"])
        patterns = {f"^({others})_*$": True}
        yield {"type": "object", "properties": names, "patternProperties": patterns, "additionalProperties": False}
        yield {"type": "string"}
    elif isinstance(kind, FreeMapping | Retention):
        yield {"type": ["object", "string"]}
    elif isinstance(kind, Rules):
        yield {"type": ["array", "object", "string"]}
    else:
        yield {"type": ["string", "number", "boolean"]}


def _any_case(word: str) -> str:
    return "".join(f"[{char.lower()}{char.upper()}]" if char.isalpha() else re.escape(char) for char in word)
