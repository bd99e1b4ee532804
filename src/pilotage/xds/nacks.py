"""What an Envoy has not accepted, as problems of the routes it is about. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from pilotage.core.problems import Problem
from pilotage.core.text import shorten
from pilotage.xds.resources import LISTENER, SECRET

if TYPE_CHECKING:
    from collections.abc import Callable

    from pilotage.routes.route import Route
    from pilotage.xds.session import Nack

__all__ = ["nack_problems"]

_CANNOT_BIND: Final = re.compile(r"cannot bind '(?P<address>[^']+)': (?P<why>[^\n]+)")
_PREFIX: Final = re.compile(r"^Error adding/updating \w+\(s\) ")
_DUMP: Final = re.compile(r"\s*goo\.gle/\S+.*$", re.DOTALL)


def nack_problems(nack: Nack, node: str, route_of: Callable[[str], Route | None]) -> list[Problem]:
    """Say what was refused, to whom it matters.

    Args:
        nack: the resource and what Envoy said.
        node: what that Envoy calls itself.
        route_of: returns the route behind an alias or the name of a pool, ``None`` where it is gone.

    """
    item = nack.resource
    message, hint = _in_words(nack, node)
    found = []
    for name in item.answers or ("",):
        route = route_of(name) if name else None
        found.append(
            Problem(
                message=message,
                hint=hint or ("correct the labels of this route" if route else "correct the gateway's settings"),
                provider=route.provider if route else "",
                container=route.container if route else "",
                route=name,
            )
        )
    return found


def _in_words(nack: Nack, node: str) -> tuple[str, str]:
    item = nack.resource
    said = " ".join(_DUMP.sub("", _PREFIX.sub("", nack.error.strip())).split())
    taken = _CANNOT_BIND.search(nack.error)
    if item.type_url == LISTENER and taken:
        what = f"Envoy {node} cannot listen on {item.name if '/' in item.name else taken['address']}: {taken['why']}"
        return what, "choose another port, or end what listens there"
    what = {LISTENER: f"the listener {item.name}", SECRET: f"the {item.name.replace('/', ' ')}"}.get(
        item.type_url, "it"
    )
    return f"Envoy {node} did not accept {what}, and keeps what it had: {shorten(said, 300)}", ""
