"""Finds the addresses, folders and routes to which rules send requests. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from pilotage.routes.rules.model import Choice

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pilotage.routes.rules.model import RuleSet, Statement

__all__ = ["address_of", "places"]

_PORTS: Final = {"http": 80, "h2c": 80, "https": 443}
_COMMANDS: Final = ("proxy", "serve", "serve_file")


def places(rules: RuleSet) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield the commands that send requests to addresses (``proxy``) or files (``serve``, ``serve_file``).

    ``proxy`` with only a path is left out, because its requests go to the route's own target.
    """
    for rule in rules.rules:
        yield from _in(rule.body)


def _in(body: Iterable[Statement]) -> Iterator[tuple[str, tuple[str, ...]]]:
    for statement in body:
        if isinstance(statement, Choice):
            for branch in statement.branches:
                yield from _in(branch.body)
        elif statement.name in _COMMANDS and not (statement.name == "proxy" and statement.args[0].startswith("/")):
            yield statement.name, statement.args


def address_of(url: str) -> tuple[str, int]:
    """Return the host and port of the URL of a command ``proxy``, which has already been validated."""
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or _PORTS[parts.scheme]
