"""Reads the parameters of requests that list routes or changes. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, get_args

import msgspec

from pilotage.api.history import MOST_CHANGES, ChangeFilter
from pilotage.api.routes import RouteFilter
from pilotage.core.hostnames import ascii_host
from pilotage.core.suggest import did_you_mean
from pilotage.core.text import shorten
from pilotage.core.values import FALSE, TRUE
from pilotage.output.status import StatusState
from pilotage.table.diff import ChangeKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["CHANGE_QUERY", "ROUTE_QUERY", "Parameter", "QueryError", "read_change_filter", "read_route_filter"]

_MOST_ROUTES: Final = 1_000


class Parameter(msgspec.Struct, frozen=True):
    """A parameter in the query of a request.

    Attributes:
        meaning: the effect of the parameter, in one sentence.
        schema: the JSON schema of the parameter's value.
        is_list: whether the parameter may have several values, separated by commas.

    """

    meaning: str
    schema: dict[str, Any]
    is_list: bool = False


def _choice(values: Iterable[str]) -> dict[str, Any]:
    return {"type": "string", "enum": list(values)}


_TEXT: Final = {"type": "string"}
_WORDS: Final = {"type": "string", "maxLength": 200}  # each word is searched for in each route
_STATES: Final = _choice(get_args(StatusState))

ROUTE_QUERY: Final[Mapping[str, Parameter]] = {
    "state": Parameter("Only routes in one of these states, separated by commas.", _STATES, is_list=True),
    "engine": Parameter("Only routes of this engine, or from this route file.", _TEXT),
    "container": Parameter("Only routes that have an endpoint of this container.", _TEXT),
    "problem": Parameter("Only routes with problems (true) or without (false).", {"type": "boolean"}),
    "text": Parameter(
        "Only routes that contain each of these words, in their name, target, container, engine, pool, status or "
        "homepage.",
        _WORDS,
    ),
    "limit": Parameter(
        "At most this many routes; by default, all.", {"type": "integer", "minimum": 1, "maximum": _MOST_ROUTES}
    ),
    "after": Parameter("Only routes whose names come later: `next` of the previous page.", _TEXT),
}
"""The parameters of ``/v1/routes``."""

CHANGE_QUERY: Final[Mapping[str, Parameter]] = {
    "since": Parameter(
        "Only changes that led to a later version of the table than this one.", {"type": "integer", "minimum": 0}
    ),
    "route": Parameter("Only changes of this route.", _TEXT),
    "engine": Parameter("Only changes of this engine, or of the routes in this file.", _TEXT),
    "kind": Parameter("Only changes of these kinds, separated by commas.", _choice(get_args(ChangeKind)), is_list=True),
    "limit": Parameter(
        "At most this many changes; by default, all.", {"type": "integer", "minimum": 1, "maximum": MOST_CHANGES}
    ),
}
"""The parameters of ``/v1/changes``."""


class QueryError(ValueError):
    """A parameter is unknown, or its value is invalid.

    Attributes:
        message: the problem, without a full stop.
        hint: what to write instead.

    """

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(f"{message}; {hint}")
        self.message, self.hint = message, hint


def read_route_filter(query: Mapping[str, str]) -> RouteFilter:
    """Read the parameters of ``/v1/routes``.

    Raises:
        QueryError: a parameter is unknown or has a wrong value.

    """
    found = _read(query, ROUTE_QUERY)
    return RouteFilter(
        states=found.get("state", frozenset()),
        engine=found.get("engine", ""),
        container=found.get("container", ""),
        problem=found.get("problem"),
        text=found.get("text", ""),
        limit=found.get("limit", 0),
        after=found.get("after", ""),
    )


def read_change_filter(query: Mapping[str, str]) -> ChangeFilter:
    """Read the parameters of ``/v1/changes``.

    Raises:
        QueryError: a parameter is unknown or has a wrong value.

    """
    found = _read(query, CHANGE_QUERY)
    return ChangeFilter(
        since=found.get("since", 0),
        alias=ascii_host(found.get("route", "")),
        engine=found.get("engine", ""),
        kinds=found.get("kind", frozenset()),
        limit=found.get("limit", 0),
    )


def _read(query: Mapping[str, str], known: Mapping[str, Parameter]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, text in query.items():
        parameter = known.get(name)
        if parameter is None:
            hint = did_you_mean(name, known) or f"the parameters are {', '.join(known)}"
            raise QueryError(f"there is no parameter {shorten(name)!r}", hint)
        if text:
            found[name] = _value(name, text, parameter)
    return found


def _value(name: str, text: str, parameter: Parameter) -> Any:
    schema = parameter.schema
    if schema["type"] == "boolean":
        if text not in TRUE | FALSE:
            raise QueryError(f"{name} is {shorten(text)!r}", "write true or false")
        return text in TRUE
    if schema["type"] == "integer":
        least, most = schema["minimum"], schema.get("maximum", 2**63)
        if not (text.isascii() and text.isdecimal() and len(text) < 20 and least <= int(text) <= most):
            range_ = f"from {least} to {most}" if "maximum" in schema else f"of at least {least}"
            raise QueryError(f"{name} is {shorten(text)!r}", f"write a whole number {range_}")
        return int(text)
    if len(text) > schema.get("maxLength", len(text)):
        raise QueryError(f"{name} has {len(text)} characters", f"write at most {schema['maxLength']}")
    if not parameter.is_list:
        return text
    words = frozenset(filter(None, text.replace(",", " ").split()))
    for word in sorted(words.difference(schema["enum"])):
        hint = did_you_mean(word, schema["enum"]) or f"write one of {', '.join(schema['enum'])}"
        raise QueryError(f"{name} is {shorten(word)!r}", hint)
    return words
