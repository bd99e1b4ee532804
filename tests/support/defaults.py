"""Find out which fields of a package's values are not empty by default."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

import msgspec

__all__ = ["filled_by_default"]


def filled_by_default(package: str) -> dict[str, Any]:
    """Return ``Class.field`` -> default for the fields of all structs of a package, unless the default is empty.

    A struct with its own defaults counts as empty, and functions are left out.
    """
    found: dict[str, Any] = {}
    for module in pkgutil.iter_modules(importlib.import_module(f"pilotage.{package}").__path__):
        name = f"pilotage.{package}.{module.name}"
        for kind in vars(importlib.import_module(name)).values():
            if isinstance(kind, type) and issubclass(kind, msgspec.Struct) and kind.__module__ == name:
                found |= {f"{kind.__name__}.{field.name}": field.default for field in msgspec.structs.fields(kind)}
    return {place: value for place, value in found.items() if not _is_empty(value)}


def _is_empty(value: Any) -> bool:
    if isinstance(value, msgspec.Struct):
        return value == type(value)()
    return not value or value is msgspec.NODEFAULT or callable(value)
