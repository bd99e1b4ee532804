"""Turns NACKs into problems of the routes that they affect. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from pilotage.core.problems import Problem
from pilotage.core.secrets import without
from pilotage.core.text import shorten
from pilotage.routes.route import secrets_of
from pilotage.xds.resources import LISTENER, SECRET

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pilotage.routes.route import Route
    from pilotage.xds.session import Nack

__all__ = ["nack_problems"]

_CANNOT_BIND: Final = re.compile(r"cannot bind '(?P<address>[^']+)': (?P<reason>[^\n]+)")
_PREFIX: Final = re.compile(r"^Error adding/updating \w+\(s\) ")
_DUMP: Final = re.compile(r"\s*goo\.gle/\S+.*$", re.DOTALL)


def nack_problems(nack: Nack, node: str, route_of: Callable[[str], Route | None]) -> list[Problem]:
    """Return a problem for each route that a rejected resource serves.

    Args:
        nack: the resource and Envoy's error message.
        node: Envoy's node ID.
        route_of: returns the route of an alias or a pool's name; ``None`` if it no longer exists.

    """
    item = nack.resource
    routes = [route for name in item.answers if (route := route_of(name)) is not None]
    message, hint = _describe(nack, node, frozenset().union(*map(secrets_of, routes)))
    found = []
    for name in item.answers or ("",):
        route = route_of(name) if name else None
        found.append(
            Problem(
                message=message,
                hint=hint or ("fix the labels of this route" if route else "fix the gateway's settings"),
                provider=route.provider if route else "",
                container=route.container if route else "",
                route=name,
            )
        )
    return found


def _describe(nack: Nack, node: str, secrets: Iterable[str]) -> tuple[str, str]:
    """Return a message and a hint. Envoy quotes configuration, so a secret of a route may be in its error."""
    item = nack.resource
    error = without(" ".join(_DUMP.sub("", _PREFIX.sub("", nack.error.strip())).split()), secrets)
    bind_error = _CANNOT_BIND.search(nack.error)
    if item.type_url == LISTENER and bind_error:
        address = item.name if "/" in item.name else bind_error["address"]
        what = f"Envoy {node} cannot listen on {address}: {bind_error['reason']}"
        return what, "choose another port, or stop the program that listens there"
    what = {LISTENER: f"the listener {item.name}", SECRET: f"the {item.name.replace('/', ' ')}"}.get(
        item.type_url, "this route"
    )
    return f"Envoy {node} rejected {what} and keeps the previous version: {shorten(error, 300)}", ""
