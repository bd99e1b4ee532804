"""Finds where the rules of routes send requests: to other routes, other addresses and files. Pure.

An address or a folder gets a hidden route, whose alias no client can request. It therefore passes the same checks as
the target of any other route. Requests to another route go directly to its target, so that route must not have
middlewares or rules, which would be bypassed.
"""

from __future__ import annotations

import hashlib
import posixpath
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import msgspec

from pilotage.core.index import Index
from pilotage.core.problems import Problem
from pilotage.core.text import shorten_value
from pilotage.policy import Reach
from pilotage.routes.port_syntax import PortPair
from pilotage.routes.route import Endpoint, Route
from pilotage.routes.rules import address_of
from pilotage.routes.schema import RouteSettings
from pilotage.table.hosts import route_claimant
from pilotage.xds.capabilities import check_capabilities
from pilotage.xds.middlewares import PLAIN
from pilotage.xds.rule_files import rules_field
from pilotage.xds.rule_outcomes import elsewhere

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pilotage.policy import Policy
    from pilotage.xds.backend import Backend
    from pilotage.xds.options import GatewayOptions
    from pilotage.xds.reported_problems import ReportedProblems
    from pilotage.xds.resources import Key, Resource
    from pilotage.xds.rule_state import Elsewhere

    Clusters = dict[Key, Resource | None]

__all__ = ["RuleTargets", "is_hidden", "target_alias"]

_HIDDEN: Final = "~"


def target_alias(alias: str, where: Elsewhere) -> str:
    """Return the alias of the route, perhaps a hidden one, to which rules of the route ``alias`` send requests."""
    kind, argument = where
    if kind == "route":
        return argument
    return f"{alias}{_HIDDEN}{hashlib.sha256(f'{kind} {argument}'.encode()).hexdigest()[:12]}"


def is_hidden(backend: Backend) -> bool:
    """Return whether a backend belongs to a hidden route, so that no host leads to it."""
    return _HIDDEN in backend.name


class RuleTargets:
    """The hidden routes, and the links from routes to the targets of their rules.

    Attributes:
        hidden: alias -> hidden route.
        users: alias -> aliases of the routes whose rules send requests to this route.

    """

    def __init__(self) -> None:
        self.hidden: dict[str, Route] = {}
        self.users: Index[str, str] = Index()
        self._owners: dict[str, tuple[str, str]] = {}  # hidden alias -> its owner, and the field with the owner's rules
        self._led: dict[str, frozenset[str]] = {}

    @staticmethod
    def led(route: Route) -> tuple[str, ...]:
        """Return the aliases of the routes to which the rules of a route send requests."""
        return tuple(target_alias(route.alias, where) for where in elsewhere(route))

    def owner(self, alias: str) -> str:
        """Return the alias of the route to which a hidden route belongs; for other routes, their own alias."""
        return self._owners[alias][0] if alias in self._owners else alias

    def check(self, route: Route, options: GatewayOptions) -> tuple[tuple[Problem, ...], bool]:
        """Return what :func:`check_capabilities` returns. Hidden routes have only settings that work."""
        return ((), True) if route.alias in self.hidden else check_capabilities(route, options)

    def follow(self, table: Mapping[str, Route], aliases: Iterable[str], policy: Policy) -> dict[str, Route | None]:
        """Return the changed routes together with the hidden routes that belong to them; ``None`` for removed ones.

        Args:
            table: all routes, with the rules in their files.
            aliases: the aliases of changed routes, which may include hidden routes.
            policy: what containers may claim.

        """
        routes = {alias: table.get(alias) for alias in map(self.owner, aliases)}
        found: dict[str, Route | None] = {}
        for alias, route in routes.items():
            places = elsewhere(route) if route is not None and not route.excluded else ()
            now = {target_alias(alias, it): it for it in places}
            before = self._led.pop(alias, frozenset())
            if now or before:
                self.users.replace(alias, before, now)
            if now:
                self._led[alias] = frozenset(now)
            for name in before - now.keys():
                if self._owners.pop(name, None) is not None:
                    found[name] = None
                    del self.hidden[name]
            for name, where in now.items():
                if where[0] != "route" and route is not None:
                    self._owners[name] = alias, rules_field(route)
                    found[name] = self.hidden[name] = _hidden(name, route, where, policy)
        return {**routes, **found}

    def placed(self, problems: Iterable[Problem], alias: str) -> list[Problem]:
        """Return the problems of a route. Those of a hidden route become problems with the rules of its owner."""
        if alias not in self._owners:
            return list(problems)
        (owner, field), hint = self._owners[alias], "correct the target in the rule, or remove the rule"
        return [msgspec.structs.replace(it, route=owner, path=field, refused=False, hint=hint) for it in problems]

    def link(
        self,
        made: dict[str, tuple[Backend | None, Clusters]],
        others: Mapping[str, Backend],
        key_of: Callable[[str], str],
        problems: ReportedProblems,
    ) -> dict[str, tuple[Backend | None, Clusters]]:
        """Return backends and their clusters, linked to the backends to which their rules lead; report the problems.

        Args:
            made: key -> a backend and its clusters.
            others: key -> a backend that has not changed.
            key_of: returns the key of an alias's backend.
            problems: where to report problems.

        """

        def find(alias: str) -> Backend | None:
            key = key_of(alias)
            return made[key][0] if key in made else others.get(key)

        found: dict[str, tuple[Backend | None, Clusters]] = {}
        for key, (backend, clusters) in made.items():
            linked, wrong = self._linked(backend, find)
            found[key] = linked, clusters
            problems.report(f"rules/{key}", wrong)
        return found

    def _linked(
        self, backend: Backend | None, find: Callable[[str], Backend | None]
    ) -> tuple[Backend | None, list[Problem]]:
        places = elsewhere(backend.route) if backend is not None else ()
        if backend is None or not places:
            return backend, []
        others: dict[Elsewhere, Backend | None] = {}
        problems = []
        for where in places:
            other = find(target_alias(backend.route.alias, where))
            why = _why_not(other, backend.route.settings.inbound_mtls_profile) if where[0] == "route" else ""
            others[where] = None if why else other
            if why:
                problems.append(_problem(backend.route, where[1], why))
            elif other is None:
                problems.append(_unknown(backend.route, where[1]))
        return msgspec.structs.replace(backend, others=others), problems


def _hidden(alias: str, route: Route, where: Elsewhere, policy: Policy) -> Route:
    kind, argument = where
    made = Route(
        alias=alias,
        provider=route.provider,
        container=route.container,
        container_id=route.container_id,
        created=route.created,
        folders=None,
        claimant=route.claimant,
    )
    claimant = route_claimant(route)
    if kind != "proxy":
        root = argument if kind == "serve" else posixpath.dirname(argument)
        folders = None if route.is_static else policy.roots_for(claimant)
        settings = RouteSettings(scheme="fileserver", root=root)
        return msgspec.structs.replace(made, scheme="fileserver", settings=settings, folders=folders)
    url = urlsplit(argument)
    host, port = address_of(argument)
    prefix = url.path.strip("/")
    reach = None if route.is_static else Reach(claimant)
    return msgspec.structs.replace(
        made,
        scheme=url.scheme,
        host=host,
        port=PortPair(0, port),
        endpoints=(Endpoint(host, port, route.container, route.container_id, "ready", reach),),
        settings=RouteSettings(middlewares={"request": {"add_prefix": prefix}} if prefix else {}),
    )


def _why_not(other: Backend | None, profile: str) -> str:
    """Return why rules of a route with a profile of client certificates cannot use a backend; ``""`` if they can."""
    if other is None or other.route.is_stream:
        return "is not served"
    if other.agent is not None:
        return "is behind an agent"
    policy = msgspec.structs.replace(
        other.route_policy, request=PLAIN.request, answer=PLAIN.answer, host="", prefix="", forwarded="", problems=()
    )
    settings = other.route.settings
    if policy != PLAIN or settings.path_patterns or settings.rules or settings.rule_file:
        return "has rules or middlewares of its own, which would be bypassed"
    bypassed = settings.inbound_mtls_profile not in {"", profile}
    return "requires client certificates, which would be bypassed" if bypassed else ""


def _unknown(route: Route, place: str) -> Problem:
    return Problem(
        message=f"requests that its rules send to {shorten_value(place)!r} are rejected: that target is unknown",
        hint="report this as a bug in pilotage",
        provider=route.provider,
        container=route.container,
        route=route.alias,
        path=rules_field(route),
    )


def _problem(route: Route, name: str, why: str) -> Problem:
    return Problem(
        message=f"requests that its rules send to the route {name!r} are rejected, because that route {why}",
        hint="use another route, or redirect to it",
        provider=route.provider,
        container=route.container,
        route=route.alias,
        path=rules_field(route),
    )
