"""Prints the container table of ``pilotage ps``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pilotage.output.console import print_table
from pilotage.output.facts import has_alias
from pilotage.output.text.routes import route_status

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pilotage.containers.container import Container
    from pilotage.output.console import Cell, Out
    from pilotage.output.view import View
    from pilotage.routes.build import Built
    from pilotage.routes.route import Route

__all__ = ["print_containers"]


def print_containers(out: Out, view: View) -> None:
    """Print a table of all containers, with one row for each alias: its target, or why it is not served."""
    rows: list[list[Cell]] = []
    refused = view.refused
    for snapshot in view.snapshots:
        for container, built in zip(snapshot.containers, snapshot.built, strict=True):
            rows += _container_rows(container, built, view, refused, repeat=not out.is_terminal)
    if not rows:
        out.line("No containers.")
        return
    heads = ["CONTAINER", "ENGINE", "STATE", "IMAGE", "ALIAS", "ROUTE"]
    print_table(out, heads, rows, give_way=[3, 0, 1, 4, 5, 2])


def _container_rows(
    container: Container, built: Built, view: View, refused: Mapping[str, tuple[str, ...]], *, repeat: bool
) -> Iterable[list[Cell]]:
    running = "" if container.running else "dim"
    first = [
        (container.container_name or "-", "bold" if container.running else "dim"),
        (container.provider, running),
        (container.state or "-", "green" if container.running else "yellow"),
        (str(container.image), running),
    ]
    if not built.routes:
        yield [*first, ("-", "dim"), _no_routes(container)]
        return
    for index, route in enumerate(built.routes):
        own = first if repeat or not index else [("", "")] * len(first)
        yield [*own, (route.alias, ""), _outcome(route, view, refused)]


def _no_routes(container: Container) -> Cell:
    if container.errors:
        return f"none: {container.errors[0].message}", "red"
    if not container.container_name:
        return "none: being removed", "dim"
    return "none: no proxy label", "dim"


def _outcome(route: Route, view: View, refused: Mapping[str, tuple[str, ...]]) -> Cell:
    """Return the target of a container's route, or why the route is not served."""
    if route.excluded:
        return route_status(route)
    winner = view.table.routes[route.alias]
    if not has_alias(route, winner):
        if winner.is_static:
            return f"waiting: file {winner.provider} has this alias", "red"
        elsewhere = f"{winner.provider}/" if winner.provider != route.provider else ""
        return f"waiting: container {elsewhere}{winner.container} has this alias", "red"
    if winner.excluded:
        return winner.excluded_reason, "red"
    awake = view.table.wakefulness.get(route.alias)
    text, style = route_status(route, wakefulness=awake, refused=refused.get(route.alias))
    if route.alias in refused or (awake is not None and awake.state != "ready"):
        return text, style
    return (route.target or text, "" if text == "ready" else style)
