"""Reports rejected resources as problems of the affected routes, and decides when to resend them. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import msgspec

from pilotage.core.problems import Problem
from pilotage.core.secrets import without
from pilotage.core.text import shorten
from pilotage.routes.route import secrets_of
from pilotage.xds.resources import EXTENSION, LISTENER, SECRET, Key, Resource

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from pilotage.routes.route import Route

__all__ = ["Nack", "Retries", "nack_problems"]

_FIRST_DELAY: Final = 5.0
_LONGEST_DELAY: Final = 300.0
_BIND_DELAY: Final = 2.0

_CANNOT_BIND: Final = re.compile(r"cannot bind '(?P<address>[^']+)': (?P<reason>[^\n]+)")
_PREFIX: Final = re.compile(r"^Error adding/updating \w+\(s\) ")
_DUMP: Final = re.compile(r"\s*goo\.gle/\S+.*$", re.DOTALL)


class Nack(msgspec.Struct, frozen=True):
    """A resource that Envoy rejected, and its error message.

    Attributes:
        resource: the resource.
        error: Envoy's message.
        host: if the resource is a scope (a route configuration), the name of the virtual host that is to blame. The
            scope's other virtual hosts are still served.

    """

    resource: Resource
    error: str
    host: str = ""

    @property
    def cannot_bind(self) -> bool:
        """Whether Envoy could not listen on an address."""
        return self.resource.type_url == LISTENER and _CANNOT_BIND.search(self.error) is not None


class Retries:
    """The schedule on which rejected resources are resent to one Envoy.

    The delay starts at 5 s and doubles up to 5 minutes. A listener whose address was in use is resent every 2 s.
    """

    def __init__(self) -> None:
        self._tries: dict[Key, int] = {}
        self._scheduled: set[Key] = set()
        self._reported: dict[Key, dict[str, str]] = {}  # resource -> virtual host, if any -> its version
        self._causes: dict[Problem, set[Key]] = {}

    def add(self, nack: Nack) -> tuple[float | None, bool]:
        """Return the seconds until a rejected resource is resent, and whether the rejection of this version is new.

        The seconds are ``None`` if a retry of the resource is already scheduled.
        """
        key = nack.resource.key
        reported = self._reported.setdefault(key, {})
        is_new = reported.get(nack.host) != nack.resource.version
        reported[nack.host] = nack.resource.version
        if key in self._scheduled:
            return None, is_new
        self._scheduled.add(key)
        tries = self._tries[key] = self._tries.get(key, 0) + 1
        return (
            _BIND_DELAY if nack.cannot_bind else min(_LONGEST_DELAY, _FIRST_DELAY * 2.0 ** min(tries - 1, 10))
        ), is_new

    def is_first(self, nack: Nack, problem: Problem) -> bool:
        """Return whether no other rejected resource has this problem. Clusters of one route can share a problem."""
        resources = self._causes.setdefault(problem, set())
        resources.add(nack.resource.key)
        return len(resources) == 1

    def begin(self, key: Key, *, rejected: bool) -> None:
        """Begin a scheduled retry, or forget the resource if it is no longer rejected."""
        self._scheduled.discard(key)
        if not rejected:
            self._forget(key)

    def forget(self, rejected: Collection[Key]) -> list[Problem]:
        """Forget the resources that are no longer rejected; return the problems that this resolves."""
        return [it for key in [*self._reported] if key not in rejected for it in self._forget(key)]

    def _forget(self, key: Key) -> list[Problem]:
        self._tries.pop(key, None)
        self._reported.pop(key, None)
        resolved = []
        for problem in [problem for problem, resources in self._causes.items() if key in resources]:
            self._causes[problem].discard(key)
            if not self._causes[problem]:
                del self._causes[problem]
                resolved.append(problem)
        return resolved


def nack_problems(nack: Nack, node: str, route_of: Callable[[str], Route | None]) -> list[Problem]:
    """Return a problem for each route that needs a rejected resource.

    Args:
        nack: the resource and Envoy's error message.
        node: Envoy's node ID.
        route_of: returns the route of an alias or a pool's name; ``None`` if it no longer exists.

    """
    item = nack.resource
    routes = [route for name in item.answers if (route := route_of(name)) is not None]
    message, hint = _describe(nack, node, frozenset().union(*map(secrets_of, routes)))
    found = []
    for name in (nack.host,) if nack.host else item.answers or ("",):
        route = route_of(name) if name else None
        found.append(
            Problem(
                message=message,
                hint=hint or _remedy(route),
                provider=route.provider if route else "",
                container=route.container if route else "",
                route=name,
                path="port" if nack.cannot_bind and route is not None and route.has_listener else "",
                refused=bool(name) and item.type_url != EXTENSION,
            )
        )
    return found


def _remedy(route: Route | None) -> str:
    if route is None:
        return "fix the gateway's settings"
    return "fix this route in its file" if route.is_static else "fix the labels of this route"


def _describe(nack: Nack, node: str, secrets: Iterable[str]) -> tuple[str, str]:
    """Return a message and a hint with secrets removed, because Envoy's error may quote configuration."""
    item = nack.resource
    error = without(" ".join(_DUMP.sub("", _PREFIX.sub("", nack.error.strip())).split()), secrets)
    error = error.removeprefix(f"{item.name}: ")
    bind_error = _CANNOT_BIND.search(nack.error)
    if item.type_url == LISTENER and bind_error:
        address = item.name if "/" in item.name else bind_error["address"]
        what = f"Envoy {node} cannot listen on {address}: {bind_error['reason']}"
        return what, "choose another port, or stop the program that listens there"
    what = {LISTENER: f"the listener {item.name}", SECRET: f"the {item.name.replace('/', ' ')}"}.get(
        item.type_url, "this route"
    )
    keeps = item.type_url in (LISTENER, SECRET, EXTENSION)
    consequence = " and keeps the previous version" if keeps else ", which answers 503"
    return f"Envoy {node} rejected {what}{consequence}: {shorten(error, 300)}", ""
