"""Finds the file that ``docker compose`` merges with a Compose file."""

from __future__ import annotations

from pathlib import Path
from typing import Final

__all__ = ["override_of"]

_USUAL: Final = ("compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml")
_OVERRIDES: Final = tuple(
    f"{stem}.override.{ending}" for stem in ("compose", "docker-compose") for ending in ("yml", "yaml")
)
"""The first one that exists is used, as in Compose."""


def override_of(name: str) -> str:
    """Return the name of the override beside a Compose file; ``""`` if none exists.

    Compose uses an override only if it finds the file itself by its usual name.
    """
    path = Path(name)
    if path.name not in _USUAL:
        return ""
    return next((str(it) for it in (path.with_name(other) for other in _OVERRIDES) if it.exists()), "")
