"""Prints the route table of ``pilotage routes`` and its summary line."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from rich.text import Text

from pilotage.core.text import count
from pilotage.output.console import print_table
from pilotage.output.status import clock, describe_route

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pilotage.output.console import Cell, Out
    from pilotage.output.status import StatusState
    from pilotage.output.view import View
    from pilotage.routes.route import EndpointHealth, Route
    from pilotage.table.envoys import RouteState
    from pilotage.table.wakefulness import Wakefulness

__all__ = ["print_routes", "route_status", "summary"]


def route_status(
    route: Route,
    health: Mapping[str, EndpointHealth] = MappingProxyType({}),
    wakefulness: Wakefulness | None = None,
    *,
    refused: tuple[str, ...] | None = None,
) -> Cell:
    """Return the status of a route in a few words, and its style.

    Args:
        route: the route.
        health: endpoint address -> result of the gateway's probes.
        wakefulness: whether the route's containers are awake; ``None`` if no daemon puts them to sleep.
        refused: the settings because of which the gateway does not serve the route; ``None`` if it does.

    """
    status = describe_route(route, health, wakefulness, refused=refused)
    return status.text, "red" if status.is_error else _STYLES.get(status.state, "yellow")


_STYLES: Final[dict[StatusState, str]] = {
    **dict.fromkeys(("healthy", "ready", "degraded"), "green"),
    **dict.fromkeys(("asleep", "waking"), "cyan"),
}


def print_routes(out: Out, view: View) -> None:
    """Print a table of all aliases with target, container and status."""
    routes = list(view.table.sorted_routes())
    if not routes:
        out.line("No routes: there is no container to route to.")
        return
    rows: list[list[Cell]] = []
    refused = view.refused
    for route in routes:
        alias = route.alias
        health, wakefulness = view.table.health_of(alias), view.table.wakefulness.get(alias)
        text, style = route_status(route, health, wakefulness, refused=refused.get(alias))
        listen = _awake(view.table.wakefulness.get(alias)) + (f", listens on {route.place}" if route.listen else "")
        listen += f", answers as {route.pool}" if route.pool and alias not in refused else ""
        if alias in view.table.self_signed:
            listen += ", self-signed certificate"
            style = "yellow"
        since = view.table.stale_since(route)
        if since is not None and not route.excluded:
            listen += f", stale since {clock(since)}"
            style = "yellow"
        more = f" +{len(route.endpoints) - 1}" if len(route.endpoints) > 1 else ""
        dim = "dim" if route.excluded else ""
        rows.append(
            [
                (route.alias, dim or "bold"),
                (route.target or "-", dim),
                ((route.container or "-") + more, dim),
                (route.provider, dim),
                (text + listen, style),
            ]
        )
    for name, aliases in view.table.pools().items():
        rows.append(_pool_row(view, name, [alias for alias in aliases if alias not in refused]))
    rows.sort(key=lambda row: row[0][0])
    heads, give_way = ["ALIAS", "TARGET", "CONTAINER", "ENGINE", "STATUS"], [2, 0, 3, 4, 1]
    if view.on_envoys is not None:
        heads, give_way = [*heads, "ENVOYS"], [2, 0, 3, 5, 4, 1]
        for row in rows:
            row.append(_accepted(view.on_envoys.get(row[0][0], {})))
    print_table(out, heads, rows, give_way=give_way)


def _awake(wakefulness: Wakefulness | None) -> str:
    """Return why containers that sleep are awake, or when they go to sleep."""
    if wakefulness is None or wakefulness.state != "ready":
        return ""
    if wakefulness.awake_because:
        return f", {wakefulness.awake_because}"
    return f", sleeps at {clock(wakefulness.sleeps_at)}" if wakefulness.sleeps_at else ""


def _accepted(states: Mapping[str, RouteState]) -> Cell:
    """Return which version of a route each Envoy has. Envoys that have not accepted the current one come first."""
    if not states:
        return "-", ""
    found: dict[str, list[str]] = {}
    for node, state in sorted(states.items()):
        version = "no known version" if state.version is None else f"version {state.version}"
        text = version if state.state == "accepted" else f"{state.state}, has {version}"
        found.setdefault(text, []).append(node)
    style = "green" if all(state.state == "accepted" for state in states.values()) else "yellow"
    if len(found) == 1 and len(states) > 1 and style == "green":
        return f"all {len(states)}: {next(iter(found))}", style
    ordered = sorted(found.items(), key=lambda it: ("has" not in it[0], it[0]))
    return "; ".join(f"{', '.join(nodes)}: {text}" for text, nodes in ordered), style


def _pool_row(view: View, name: str, members: Sequence[str]) -> list[Cell]:
    """Return the table row of a pool with the members that the gateway serves."""
    routes = [view.table.routes[alias] for alias in members]
    ready = sum(any(endpoint.state == "ready" for endpoint in route.endpoints) for route in routes)
    engines = ", ".join(dict.fromkeys(route.provider for route in routes))
    status = f"pool, {ready} of {len(members)} ready"
    return [
        (name, "bold"),
        ("-", ""),
        (", ".join(members), ""),
        (engines, ""),
        (status, "green" if ready else "yellow"),
    ]


def summary(view: View, *, containers: bool = False) -> Text:
    """Return the summary line: the numbers of routes, excluded routes and problems."""
    routes = view.table.routes.values()
    excluded = sum(route.excluded for route in routes)
    parts = []
    if containers:
        parts.append(count(sum(len(snapshot.containers) for snapshot in view.snapshots), "container"))
    parts.append(count(len(routes), "route"))
    if excluded:
        parts.append(f"{excluded} excluded")
    text = Text(", ".join(parts))
    problems = [problem for found in view.table.problems_by_key.values() for problem in found]
    errors = sum(problem.severity == "error" for problem in problems)
    warnings = len(problems) - errors
    if errors:
        text.append(", ").append(count(errors, "problem"), style="red")
    if warnings:
        text.append(", ").append(count(warnings, "warning"), style="yellow")
    if not errors and not warnings:
        text.append(", no problems", style="green")
    return text
