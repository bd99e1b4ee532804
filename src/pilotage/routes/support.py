"""Excludes routes that the gateway does not support, and names the label or line that causes this. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from pilotage.core.problems import Problem
from pilotage.labels.container_options import ALIASES
from pilotage.labels.key_schema import fold
from pilotage.labels.keys import split_key
from pilotage.routes.exclusion import ExclusionReason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pilotage.containers.container import Container
    from pilotage.core.yaml import Located
    from pilotage.labels.decode import DecodedLabels
    from pilotage.labels.merge import AliasFields
    from pilotage.policy import GatewayCheck
    from pilotage.routes.route import Route

__all__ = ["Costs", "checked", "located", "not_served", "refused_settings", "supported"]

_MOST_WITH_RULES: Final = 50
"""Maximum number of routes of one container with rules or bypass options, which cost much more than others: up to
0.1 s to work out, and 10 MB in Envoy."""

_MOST_PORTS: Final = 20
"""Maximum number of ports of one container for HTTP, or on which the gateway ends TLS. Each takes 2 MB in Envoy, and
another 1 to 2 MB for each certificate of the gateway."""

ALIAS: Final = "alias"
"""The path of a problem with the name of a route."""


def supported(
    route: Route,
    container: Container,
    gateway: GatewayCheck,
    decode: Callable[[Container], DecodedLabels],
    *,
    most: int,
    costs: Costs | None = None,
) -> Route:
    """Apply :func:`checked` to a container's route; refuse it if the container's routes cost too much.

    Args:
        route: the route.
        container: its container.
        gateway: decides what the gateway supports.
        decode: decodes the labels of the container again. It is called only if there are problems.
        most: maximum number of problems of the route to keep.
        costs: what the container's earlier routes cost.

    """
    if not route.excluded and costs is not None and (refusal := costs.add(route)) is not None:
        gateway = _Refusing(refusal)
    listed = ALIASES in container.actual_labels and route.alias in container.aliases
    return checked(route, gateway, lambda: decode(container).find(route.alias), listed=listed, most=most)


def _has_rules(route: Route) -> bool:
    """Return whether a route has rules, or a middleware with the option ``bypass``, which takes the same conditions.

    Middlewares from files do not count, because the operator writes them.
    """
    options = route.settings.middlewares.values()
    return bool(route.settings.rules) or any(
        isinstance(it, dict) and any(fold(name) == "bypass" for name in it) for it in options
    )


class Costs:
    """Counts the expensive settings in the routes of one container."""

    def __init__(self) -> None:
        self._ruled = 0
        self._ports: set[tuple[str, int]] = set()

    def add(self, route: Route) -> Problem | None:
        """Count a route; return a problem if it exceeds a limit."""
        if route.port.listening and (not route.is_stream or route.settings.tls_termination):
            place = route.bind, route.port.listening
            if place not in self._ports and len(self._ports) >= _MOST_PORTS:
                return _excess(f"{_MOST_PORTS} ports for HTTP or with TLS termination", "port")
            self._ports.add(place)
        if _has_rules(route):
            self._ruled += 1
            if self._ruled > _MOST_WITH_RULES:
                path = "rules" if route.settings.rules else "middlewares"
                return _excess(f"{_MOST_WITH_RULES} routes with rules or bypass options", path)
        return None


def _excess(what: str, path: str) -> Problem:
    message = f"the container has more than {what}"
    return Problem(message=message, hint="spread them over several containers", path=path, refused=True)


class _Refusing:
    """Refuses every route that it checks, for one reason."""

    def __init__(self, reason: Problem) -> None:
        self._reason = reason

    def __call__(self, route: Route) -> tuple[tuple[Problem, ...], bool]:
        where = {"provider": route.provider, "container": route.container, "route": route.alias}
        return (self._reason.at(**where),), False

    def complete(self, route: Route) -> Route:
        return route

    def fill_in(self, _middlewares: object) -> tuple[None, tuple[Problem, ...]]:
        return None, ()


def checked(
    route: Route,
    gateway: GatewayCheck,
    fields: Callable[[], AliasFields],
    *,
    listed: bool = False,
    most: int = 100,
) -> Route:
    """Return a route with the problems that the gateway finds in it, excluded if the gateway cannot serve it.

    Args:
        route: a route.
        gateway: decides what the gateway supports. It is asked only if the route is not excluded.
        fields: returns the fields that labels or a file set for the route; called only if there are problems.
        listed: whether the label ``proxy.aliases`` lists the route's alias.
        most: maximum number of problems of the route to keep.

    """
    if route.excluded:
        return route
    route = gateway.complete(route)
    filled_in, missing = gateway.fill_in(route.settings.middlewares)
    if filled_in is not None:
        route = msgspec.structs.replace(route, filled_in=filled_in)
    problems, servable = gateway(route)
    if missing:
        problems, servable = (*missing, *problems), False
    if not problems and servable:
        return route
    written = fields()
    found = [located(problem, written, listed=listed) for problem in problems]
    found.sort(key=lambda problem: not problem.refused)  # the reasons first, because only some may be kept
    kept = tuple(found[: max(most - len(route.problems), 1)])
    if servable:
        return msgspec.structs.replace(route, problems=(*route.problems, *kept))
    return msgspec.structs.replace(
        route,
        problems=(*route.problems, *kept),
        endpoints=(),
        excluded=True,
        excluded_reason=ExclusionReason.ERROR,
        health_check=False,
    )


def refused_settings(problems: Iterable[Problem]) -> dict[str, tuple[str, ...]]:
    """Return alias -> paths of the settings that keep the gateway from serving the route."""
    found: dict[str, dict[str, None]] = {}
    for problem in problems:
        if problem.refused:
            found.setdefault(problem.route, {}).update({problem.path: None} if problem.path else {})
    return {alias: tuple(paths) for alias, paths in found.items()}


def not_served(settings: Iterable[str]) -> str:
    """Return the status of a route that the gateway does not serve because of these settings, e.g. ``rules``."""
    return f"not served: {', '.join(settings) or 'see below'}"


def located(problem: Problem, fields: AliasFields, *, listed: bool = False) -> Problem:
    """Return a problem with the label, line and column of the setting that its path names.

    Args:
        problem: a problem of a route, without a place inside the route.
        fields: the fields that labels or a file set for the route.
        listed: whether the label ``proxy.aliases`` lists the route's alias.

    """
    if problem.path == ALIAS:
        if listed:
            return problem.at(label=ALIASES)
        sources: Iterable[str] = (value.source for value in fields.fields.values())
        return problem.at(label=next((key for key in sources if key and split_key(key)[0] == fields.alias), ""))
    place = _find(fields.fields, problem.path.split("."))
    if place is None:
        return problem
    return msgspec.structs.replace(problem, label=place.source, line=place.key_line, column=place.key_column)


def _find(fields: dict[str, Located], path: list[str]) -> Located | None:
    """Return the deepest value on a path; ``None`` if nothing sets the first name."""
    found: Located | None = None
    for name in path:
        value = fields.get(name)
        if value is None:
            wanted = fold(name)
            value = next((item for key, item in fields.items() if fold(key) == wanted), None)
        if value is None:
            break
        found = value if value.source or value.key_line else found or value
        if not isinstance(value.value, dict):
            break
        fields = value.value
    return found
