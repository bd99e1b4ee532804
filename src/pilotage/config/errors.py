"""Converts pydantic's validation errors to messages and hints for the user. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, get_args

from pydantic import BaseModel

from pilotage.config.validation import ERROR_TYPE
from pilotage.core.suggest import did_you_mean
from pilotage.core.text import shorten
from pilotage.core.yaml import kind_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic_core import ErrorDetails

    from pilotage.config.substitute import Path

__all__ = ["message_and_hint"]

_EXPECTED: Final[Mapping[str, str]] = {
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "dict_type": "a mapping",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "list_type": "a list",
    "model_type": "a mapping",
    "string_type": "text",
}


def message_and_hint(details: ErrorDetails, model: type[BaseModel]) -> tuple[str, str]:
    """Return a message and a hint for one validation error.

    Args:
        details: an item from ``ValidationError.errors(include_context=True)``.
        model: the model against which the value was validated.

    Returns:
        A sentence without a full stop, and a hint, which can be empty.

    """
    kind, value, context = details["type"], details["input"], details.get("ctx", {})
    key = _display_name(details["loc"])
    if kind == "extra_forbidden":
        known = sorted(_model_at(model, details["loc"][:-1]).model_fields)
        if len(details["loc"]) == 1 and (section := _section_with(model, key)):
            return f"unknown key {key!r}", f"write it under {section}"
        return f"unknown key {key!r}", did_you_mean(key, known) or f"the valid keys are {', '.join(known)}"
    if kind == "literal_error":
        known = re.findall("'([^']+)'", str(context.get("expected", "")))
        return f"{shorten(value)!r} is not a valid {key}", did_you_mean(
            str(value), known
        ) or f"use one of {', '.join(known)}"
    if kind in {"greater_than_equal", "less_than_equal"}:
        field = _model_at(model, details["loc"][:-1]).model_fields[key]
        limits = {side: getattr(part, side) for part in field.metadata for side in ("ge", "le") if hasattr(part, side)}
        limits |= context  # the exceeded limit, which the metadata of a nullable field lacks
        if len(limits) == 2:
            hint = f"write a number between {limits['ge']} and {limits['le']}"
        else:
            hint = f"write a number of at {'least' if 'ge' in limits else 'most'} {next(iter(limits.values()))}"
        return f"{key} {value} is out of range", hint
    if kind in _EXPECTED:
        text = shorten(value)
        shown = f"{text!r}" if isinstance(value, str) and text else kind_name(value)
        return f"{key} must be {_EXPECTED[kind]}, not {shown}", ""
    if kind == "string_too_long":
        return f"{key} has more than {context['max_length']} characters", "shorten it"
    if kind == "missing":
        return f"{key} is missing", "add it"
    if kind == ERROR_TYPE:
        return str(context["message"]), str(context["hint"])
    return f"{key}: {details['msg']}", ""


def _display_name(path: Path) -> str:
    """Return how a message names a path: its last key, ``each of KEY`` for a list item, or ``the file`` if empty."""
    if not path:
        return "the file"
    return f"each of {path[-2]}" if isinstance(path[-1], int) else str(path[-1])


def _model_at(model: type[BaseModel], path: Path) -> type[BaseModel]:
    """Return the model for the mapping at ``path`` in a document that ``model`` describes."""
    for part in path:
        if isinstance(part, int):
            continue  # the loop already follows the list's item type
        annotation = model.model_fields[part].annotation
        choices = (annotation, *get_args(annotation))
        model = next(choice for choice in choices if isinstance(choice, type) and issubclass(choice, BaseModel))
    return model


def _section_with(model: type[BaseModel], key: str) -> str:
    """Return the name of the only section of a file that has a key; ``""`` if there is none, or several have it."""
    found = []
    for name, field in model.model_fields.items():
        choices = (field.annotation, *get_args(field.annotation))
        models = [choice for choice in choices if isinstance(choice, type) and issubclass(choice, BaseModel)]
        found += [name for it in models if key in it.model_fields]
    return found[0] if len(found) == 1 else ""
