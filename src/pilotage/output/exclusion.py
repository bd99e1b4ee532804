"""Explains why a route is excluded, in more detail than its reason, and how to get it served. Pure.

:mod:`pilotage.routes.build` excludes routes because of errors, :mod:`pilotage.routes.exclusion` for all other reasons.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pilotage.containers.blacklist import blacklist_reason
from pilotage.core.suggest import nearest
from pilotage.core.text import shorten_value
from pilotage.routes.exclusion import ExclusionReason
from pilotage.routes.schema import PROTECTIVE, ROUTE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pilotage.containers.container import Container
    from pilotage.core.problems import Problem
    from pilotage.routes.route import Route

__all__ = ["label_for", "remedy", "why_no_routes"]

_WAKE: Final[Mapping[str, str]] = {
    "created": "start it with 'docker start {name}'",
    "exited": "start it with 'docker start {name}'",
    "paused": "resume it with 'docker unpause {name}'",
    "restarting": "it keeps failing; check 'docker logs {name}'",
    "removing": "it is being removed",
    "dead": "the engine could not remove it; retry with 'docker rm -f {name}'",
}


def remedy(container: Container, route: Route, port_why: str) -> str:
    """Return why a route is excluded, in more detail than its reason, and what to do; ``""`` if it is not excluded.

    Args:
        container: the route's container.
        route: the route.
        port_why: the reason why the route has its port, from :attr:`~pilotage.routes.target.Target.port_reason`.

    """
    name, alias = container.container_name, route.alias
    match route.excluded_reason:
        case ExclusionReason.ERROR:
            if any(map(_may_protect, route.problems)):
                return "a setting that may restrict access is invalid; fix the problems below"
            return "fix the problems below"
        case ExclusionReason.MANUAL:
            value = shorten_value(container.actual_labels.get("proxy.exclude", ""))
            return f"proxy.exclude is {value!r}; set it to false or remove it to serve the container"
        case ExclusionReason.ONEOFF:
            return "'docker compose run' created it; set proxy.exclude: false to serve it anyway"
        case ExclusionReason.NOT_RUNNING:
            hint = _WAKE.get(container.state, "start it").format(name=name)
            asleep = (
                "; with proxy.idle_timeout, the first request wakes it"
                if container.state in ("exited", "created", "paused")
                else ""
            )
            return f"its state is {container.state or 'unknown'}; {hint}{asleep}"
        case ExclusionReason.NO_PORT:
            return _no_port(container, alias, port_why)
        case ExclusionReason.BLACKLISTED:
            why = blacklist_reason(container)
            return f"recognized by its {why}; to serve it anyway, give it any proxy label, e.g. proxy.aliases: {alias}"
        case ExclusionReason.BUILDX:
            return "its name starts with buildx_, so it builds images; rename it to serve it"
        case ExclusionReason.ANCHOR:
            return "its alias starts with x-, like Compose extensions; give it another alias"
        case ExclusionReason.RENAMING:
            return "its alias ends in -old, like those of containers being replaced; give it another alias"
    return ""


def _may_protect(problem: Problem) -> bool:
    """Return whether a problem concerns a protective field or a likely misspelling of one (decision 10)."""
    top = problem.path.partition(".")[0]
    return top in PROTECTIVE or nearest(top, ROUTE.fields) in PROTECTIVE


def _no_port(container: Container, alias: str, port_why: str) -> str:
    label = label_for(container, alias, "port")
    if "is not published" in port_why:
        return f"{port_why}, and only published ports are reachable from here; publish it, e.g. with 'docker run -p'"
    if container.is_host_network_mode:
        return f"the container uses the host network and its image exposes no port; set one, e.g. {label}: 8080"
    return f"neither the image nor the container exposes a port; set one, e.g. {label}: 8080"


def label_for(container: Container, alias: str, field: str) -> str:
    """Return the label key that sets a field of an alias. It names an alias with dots by number (LABELS II.1.3)."""
    if "." in alias and alias in container.aliases:
        return f"proxy.#{container.aliases.index(alias) + 1}.{field}"
    return f"proxy.{'*' if '.' in alias else alias}.{field}"


def why_no_routes(container: Container) -> str:
    """Return why a container has no routes at all, and how to change that."""
    if container.errors:
        return "no routes until the problems below are fixed"
    if not container.container_name:
        return "no routes: the container has no name because it is being removed"
    return (
        f"no routes: {container.provider} ends in '!', so only containers with proxy labels are served; "
        f"add one, e.g. proxy.aliases: {container.container_name}"
    )
