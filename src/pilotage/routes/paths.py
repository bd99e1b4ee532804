"""Finds the fields whose values are paths on pilotage's own machine. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pilotage.routes.fields import Path
from pilotage.routes.mappings import StructKind
from pilotage.routes.schema import ROUTE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pilotage.routes.schema import RouteSettings

__all__ = ["HOST_PATHS", "PRESET", "named_paths"]

PRESET: Final = "embed://"
"""Beginning of a ``rule_file`` that is part of GoDoxy itself (LABELS II.6.2)."""


def _host_paths(kind: StructKind, above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, field in kind.fields.items():
        if isinstance(field.kind, Path):
            yield (*above, name)
        elif isinstance(field.kind, StructKind):
            yield from _host_paths(field.kind, (*above, name))


HOST_PATHS: Final = tuple(_host_paths(ROUTE))
"""Every field whose value is a path on pilotage's own machine, with the fields that contain it."""


def named_paths(settings: RouteSettings) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield the path of each field that names a file or folder on this machine, and the value."""
    for names in HOST_PATHS:
        value: Any = settings
        for name in names:
            value = getattr(value, name, None)
        if value and not value.startswith(PRESET):
            yield names, value
