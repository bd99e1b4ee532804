"""Prints the first output of ``pilotage serve``: URLs, targets, problems and what to do next.

Without a gateway, the summary has no URLs, because only the Envoys that connect know where they listen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
from rich.text import Text

from pilotage.core.problems import Problem
from pilotage.core.secrets import clean as without_secrets
from pilotage.core.text import count
from pilotage.engine.config import DockerProviderConfig
from pilotage.output.console import clean, print_table
from pilotage.output.text.problems import print_problems
from pilotage.output.text.routes import route_status
from pilotage.output.urls import DEFAULT_PORTS, GatewayPorts, url_of
from pilotage.routes.support import refused_settings
from pilotage.table.table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pilotage.output.console import Cell, Out
    from pilotage.routes.route import Route

__all__ = ["Banner", "print_banner"]

_MAX_ROUTES: Final = 20
_MAX_NAMES: Final = 6
_MAX_PROBLEMS: Final = 3


class Banner(msgspec.Struct, frozen=True, kw_only=True):
    """The contents of the summary.

    Attributes:
        engines: the engines that are watched.
        files: the route files that are watched.
        why: how the engines were chosen; ``""`` if the user named them.
        table: the routes.
        problems: all problems, including those outside the table.
        gateway: where the gateway listens; ``None`` if there is none.
        xds_address: address at which other Envoys fetch their configuration; ``""`` if there is none.
        api: the URLs of the HTTP API.
        is_demo: whether this is the demonstration, which has already printed its own introduction.

    """

    engines: tuple[DockerProviderConfig, ...] = ()
    files: tuple[str, ...] = ()
    why: str = ""
    table: Table
    problems: tuple[Problem, ...] = ()
    gateway: GatewayPorts | None = GatewayPorts()
    xds_address: str = ""
    api: tuple[str, ...] = ()
    is_demo: bool = False


def print_banner(out: Out, banner: Banner, *, command: str = "pilotage") -> None:
    """Print the summary.

    Args:
        out: the output.
        banner: the contents.
        command: how suggested commands call pilotage.

    """
    if not banner.is_demo:
        _print_engines(out, banner)
    routes = [route for route in banner.table.sorted_routes() if not route.excluded]
    _gap(out)
    if routes:
        out.line(Text(f"{_heading(banner, len(routes))}:", style="bold"))
        _gap(out)
        _print_routes(out, banner, routes, command)
    else:
        _print_no_routes(out, banner)
    excluded = [_not_served(route) for route in banner.table.sorted_routes() if route.excluded]
    if excluded or banner.problems:
        _gap(out)
        _print_excluded(out, excluded)
        _print_problems(out, banner.problems, command)
    _gap(out)
    if excluded or any(problem.container or problem.route or problem.file for problem in banner.problems):
        out.note(f"Run '{command} explain NAME' to see why.")
    if banner.api:
        out.note(f"Dashboard and API: {', '.join(banner.api)}")
    if out.is_terminal:
        out.note("Press Ctrl-C to stop.")
    _gap(out)


def _gap(out: Out) -> None:
    """Print an empty line on a terminal, but not in a log."""
    if out.is_terminal:
        out.line()


def _print_engines(out: Out, banner: Banner) -> None:
    names = ", ".join([*(_engine_name(engine, banner.why) for engine in banner.engines), *banner.files])
    out.note(clean(f"Watching {names}{f': {banner.why}' if banner.why else ''}."))
    pending = [name for name, status in sorted(banner.table.engines.items()) if status.state == "pending"]
    if pending:
        out.line(Text(clean(f"Not connected yet: {', '.join(pending)}; routes appear once connected."), style="yellow"))


def _engine_name(engine: DockerProviderConfig, why: str) -> str:
    """Return the name of an engine, with its address unless ``why`` includes it."""
    return engine.name if engine.url in why else f"{engine.name} ({without_secrets(engine.url)})"


def _heading(banner: Banner, number: int) -> str:
    if banner.gateway is not None:
        return f"Serving {count(number, 'route')} on {banner.gateway}"
    return f"Serving {count(number, 'route')} to {_other_envoys(banner)}"


def _other_envoys(banner: Banner) -> str:
    return f"the Envoys that connect to {banner.xds_address}" if banner.xds_address else "no Envoy"


def _print_routes(out: Out, banner: Banner, routes: Sequence[Route], command: str) -> None:
    rows: list[list[Cell]] = []
    refused = refused_settings(banner.problems)
    for route in routes[:_MAX_ROUTES]:
        urls: list[Cell] = [(url_of(route, banner.gateway), "cyan")] if banner.gateway is not None else []
        rows.append([(route.alias, "bold"), *urls, _target(route, banner.table, refused=refused.get(route.alias))])
    heads = ["NAME", *(["URL"] if banner.gateway is not None else []), "TARGET"]
    print_table(out, heads, rows, give_way=[len(heads) - 1, 0])
    if len(routes) > _MAX_ROUTES:
        out.line(f"and {len(routes) - _MAX_ROUTES} more; '{command} routes' lists all")


def _target(route: Route, table: Table, *, refused: tuple[str, ...] | None) -> Cell:
    """Return the target of a route, followed by the route's status unless all its endpoints are ready."""
    health, wakefulness = table.health_of(route.alias), table.wakefulness.get(route.alias)
    status, style = route_status(route, health, wakefulness, refused=refused)
    is_ready = style == "green" and all(endpoint.state == "ready" for endpoint in route.endpoints)
    more = f" and {len(route.endpoints) - 1} more" if len(route.endpoints) > 1 else ""
    target = [f"{route.target}{more}"] if route.target else []
    if target and is_ready:
        return target[0], ""
    return ", ".join([*target, status]), "" if is_ready else style


def _print_no_routes(out: Out, banner: Banner) -> None:
    """Print that there are no routes, and how to get a first one."""
    gateway = banner.gateway
    if gateway is None:
        out.line(Text(f"No routes yet for {_other_envoys(banner)}.", style="bold"))
        return
    out.line(Text(f"No routes on {gateway} yet.", style="bold"))
    is_live = all(status.state == "live" for status in banner.table.engines.values())
    if is_live and gateway.http_port and not gateway.match_domains:
        port = f":{gateway.http_port}" if gateway.http_port != DEFAULT_PORTS["http"] else ""
        out.line("Start a container and open it by name:")
        out.line("  docker run --detach --name whoami traefik/whoami")
        out.line(f"  http://whoami.localhost{port}")


def _not_served(route: Route) -> str:
    """Return the alias of an excluded route and, if the gateway does not support a setting, that setting."""
    settings = refused_settings(route.problems).get(route.alias)
    return f"{route.alias} ({', '.join(settings)})" if settings else route.alias


def _print_excluded(out: Out, names: Sequence[str]) -> None:
    if names:
        more = f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
        out.line(clean(f"Not served: {', '.join(names[:_MAX_NAMES])}{more}"))


def _print_problems(out: Out, problems: Sequence[Problem], command: str) -> None:
    print_problems(out, problems[:_MAX_PROBLEMS], apart=False)
    if len(problems) > _MAX_PROBLEMS:
        out.line(f"and {count(len(problems) - _MAX_PROBLEMS, 'more problem')}; '{command} routes' lists all")
