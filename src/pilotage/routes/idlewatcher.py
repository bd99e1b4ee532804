"""Reads the field ``idlewatcher`` in a route file: the container with which the route sleeps and wakes. Pure.

The options are those of the idle labels (LABELS II.5). The option ``docker``, which has no label, names the container.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from pilotage.core.suggest import did_you_mean
from pilotage.core.text import shorten
from pilotage.core.yaml import Located, kind_name
from pilotage.labels.container_options import IDLE_LABELS, IDLE_TIMEOUT, IdleConfig, parse_idle
from pilotage.labels.key_schema import fold
from pilotage.labels.merge import FieldError
from pilotage.routes.fields import problem_at

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["IDLEWATCHER", "Idlewatcher", "read_idlewatcher"]

IDLEWATCHER: Final = "idlewatcher"
_DOCKER: Final = "docker"
_PREFIX: Final = "proxy."
_OPTIONS: Final = {fold(label.removeprefix(_PREFIX)): label for label in IDLE_LABELS}
_EXAMPLE: Final = "write idlewatcher: {docker: {provider: local, container: shop}, idle_timeout: 30m}"


class Idlewatcher(msgspec.Struct, frozen=True):
    """The container with which a route from a file sleeps and wakes.

    Attributes:
        provider: name of the container's engine.
        container: the container's name.
        config: how the container sleeps and wakes; ``None`` if only its labels define this.
        line, column: where the file names the container.

    """

    provider: str
    container: str
    config: IdleConfig | None = None
    line: int = 0
    column: int = 0


def read_idlewatcher(item: Located) -> tuple[Idlewatcher | None, tuple[FieldError, ...]]:
    """Read the value of the field ``idlewatcher``. Return ``None`` and at least one error if the value is invalid."""
    errors: list[FieldError] = []

    def error(place: Located, path: str, message: str, hint: str = _EXAMPLE, *, at_key: bool = False) -> None:
        full = f"{IDLEWATCHER}.{path}".rstrip(".")
        errors.append(FieldError(problem_at(place, full, message, hint, at_key=at_key), IDLEWATCHER))

    if not isinstance(item.value, dict):
        error(item, "", f"a mapping is needed here, not {kind_name(item.value)}")
        return None, tuple(errors)
    labels: dict[str, str] = {}
    places: dict[str, Located] = {}
    names: dict[str, str] = {}
    for key, value in item.value.items():
        if fold(key) == _DOCKER:
            names = dict(_names(value, error))
        elif (label := _OPTIONS.get(fold(key))) is None:
            known = [_DOCKER, *(it.removeprefix(_PREFIX) for it in IDLE_LABELS)]
            error(value, shorten(key), "unknown field", did_you_mean(key, known), at_key=True)
        elif (text := _text(value)) is None:
            error(value, label.removeprefix(_PREFIX), f"this cannot be {kind_name(value.value)}", "")
        else:
            labels[label], places[label] = text, value
    if not errors and not all(names.get(name) for name in ("provider", "container")):
        error(item, _DOCKER, "the engine or the container is missing", at_key=True)
    config, problems = parse_idle(labels)
    for problem in problems:
        name = problem.label.removeprefix(_PREFIX)
        error(places.get(problem.label, item), name, problem.message, problem.hint)
    if labels and not labels.get(IDLE_TIMEOUT):
        error(item, "idle_timeout", "without it, the other options have no effect", at_key=True)
    if errors:
        return None, tuple(errors)
    place = {"line": item.key_line, "column": item.key_column}
    return Idlewatcher(names["provider"], names["container"], config, **place), ()


def _names(item: Located, error: Any) -> Iterator[tuple[str, str]]:
    if not isinstance(item.value, dict):
        error(item, _DOCKER, f"a mapping is needed here, not {kind_name(item.value)}")
        return
    for key, value in item.value.items():
        name = {"provider": "provider", "container": "container", "containername": "container"}.get(fold(key))
        if name is None:
            advice = did_you_mean(key, ("provider", "container")) or "write provider and container"
            error(value, f"{_DOCKER}.{shorten(key)}", "unknown field", advice, at_key=True)
        elif not isinstance(value.value, str) or not value.value.strip():
            error(value, f"{_DOCKER}.{name}", f"this cannot be {kind_name(value.value)}", "write a name")
        else:
            yield name, value.value.strip().removeprefix("/")


def _text(item: Located) -> str | None:
    """Return a value as the text of a label; ``None`` for a mapping, a nested list or another kind."""
    value = item.value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, str)):
        return str(value)
    if value is None:
        return ""
    if isinstance(value, list) and all(isinstance(it.value, str) for it in value):
        return ",".join(it.value for it in value)
    return None
