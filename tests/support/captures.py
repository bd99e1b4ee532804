"""The recordings of real engines in ``tests/fixtures/captures``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

__all__ = ["CAPTURES", "ENGINES", "by_name", "events", "load", "shape"]

CAPTURES: Final = Path(__file__).parent.parent / "fixtures" / "captures"

#: Folder -> arguments that make a FakeEngine behave like that engine.
ENGINES: Final[dict[str, dict[str, Any]]] = {
    "docker-20.10": {"api": "1.41"},
    "docker-26.1": {"api": "1.45"},
    "docker-28.5": {"api": "1.51"},
    "podman-4.3": {"flavour": "podman", "version": "4.3.1"},
    "podman-5.4": {"flavour": "podman", "version": "5.4.2"},
}


def load(engine: str, name: str) -> Any:
    """Return ``name.json`` of an engine's folder."""
    return json.loads((CAPTURES / engine / f"{name}.json").read_text())


def events(engine: str) -> list[dict[str, Any]]:
    """Return an engine's recorded events."""
    lines = (CAPTURES / engine / "events.jsonl").read_text().splitlines()
    return [event for event in map(json.loads, lines) if "--" not in event]


def by_name(engine: str, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the list entry and the inspect answer of one recorded container."""
    entry = next(entry for entry in load(engine, "list-all") if f"/{name}" in entry["Names"])
    return entry, next(found for found in load(engine, "inspect") if found["Id"] == entry["Id"])


def shape(value: Any) -> Any:
    """Reduce a JSON value to its keys and types; lists to the shapes in them."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items()}
    if isinstance(value, list):
        found: list[Any] = []
        for inner in map(shape, value):
            if inner not in found:
                found.append(inner)
        return found
    return type(value).__name__
