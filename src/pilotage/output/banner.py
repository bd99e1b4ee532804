"""What ``pilotage serve`` prints once it serves: which name answers where, what does not, and how to go on.

Without a gateway nothing here answers, and where Envoys elsewhere do is theirs to say: no URLs are shown then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
from rich.text import Text

from pilotage.api.listen import Listen
from pilotage.core.problems import Problem
from pilotage.core.text import count
from pilotage.daemon.settings import Plan
from pilotage.engine.address import bracketed
from pilotage.output.console import clean, print_table
from pilotage.output.text import print_problems, route_status
from pilotage.table.table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pilotage.engine.address import DockerProviderConfig
    from pilotage.output.console import Cell, Out
    from pilotage.routes.route import Route
    from pilotage.xds.options import GatewayOptions

__all__ = ["Banner", "print_banner", "url_of"]

_ROUTES: Final = 20
_NAMES: Final = 6
_PROBLEMS: Final = 3
_ANYWHERE: Final = ("", "0.0.0.0", "::")  # noqa: S104  # compared with, not listened on
_USUAL_PORTS: Final = {"http": 80, "https": 443}


class Banner(msgspec.Struct, frozen=True, kw_only=True):
    """What there is to tell.

    Attributes:
        plan: what is being done.
        table: the routes.
        problems: everything that is wrong.
        api: where the HTTP API listens.
        xds_place: where Envoys elsewhere get their configuration; ``""`` for nowhere.
        staged: it is the demonstration, which has been told before.

    """

    plan: Plan
    table: Table
    problems: tuple[Problem, ...] = ()
    api: tuple[Listen, ...] = ()
    xds_place: str = ""
    staged: bool = False


def print_banner(out: Out, served: Banner, *, command: str = "pilotage") -> None:
    """Print it: a table of names, URLs and targets, and what is worth knowing beside.

    Args:
        out: where to.
        served: what there is.
        command: what people write to run other commands.

    """
    if not served.staged:
        _print_engines(out, served)
    routes = [route for route in served.table.sorted_routes() if not route.excluded]
    _gap(out)
    if routes:
        out.line(Text(f"{_heading(served, len(routes))}:", style="bold"))
        _gap(out)
        _print_routes(out, served, routes, command)
    else:
        _print_nothing(out, served)
    left_out = [route.alias for route in served.table.sorted_routes() if route.excluded]
    if left_out or served.problems:
        _gap(out)
        _print_left_out(out, left_out)
        _print_problems(out, served.problems, command)
    _gap(out)
    if left_out or any(problem.container or problem.route or problem.file for problem in served.problems):
        out.note(f"'{command} explain NAME' says why.")
    if served.api:
        out.note(f"The API is at {' and '.join(map(str, served.api))}.")
    if out.is_terminal:
        out.note("Ctrl-C stops.")
    _gap(out)


def _gap(out: Out) -> None:
    """Print an empty line where people read; a log of lines has no use for it."""
    if out.is_terminal:
        out.line()


def _print_engines(out: Out, served: Banner) -> None:
    plan = served.plan
    names = ", ".join([*(_called(engine, plan.why) for engine in plan.engines), *plan.files])
    out.note(clean(f"Watching {names}{f': {plan.why}' if plan.why else ''}."))
    pending = [name for name, status in sorted(served.table.engines.items()) if status.state == "pending"]
    if pending:
        out.line(Text(clean(f"Not reached yet: {', '.join(pending)}; their routes come when they do."), style="yellow"))


def _called(engine: DockerProviderConfig, why: str) -> str:
    """Return an engine's name, and its address unless the reason for choosing it tells that already."""
    return engine.name if engine.url in why else f"{engine.name} ({engine.url})"


def _heading(served: Banner, number: int) -> str:
    if served.plan.with_gateway:
        return f"Serving {count(number, 'route')} on {_places(served.plan.options)}"
    return f"{count(number, 'route')} for {_others(served)}"


def _others(served: Banner) -> str:
    return f"the Envoys that ask on {served.xds_place or 'no port'}"


def _places(options: GatewayOptions) -> str:
    places = [_place(options.http_address, options.http_port)] if options.http_port else []
    if options.serves_https:
        places.append(f"{_place(options.https_address, options.https_port)} (HTTPS)")
    return " and ".join(places) or "no port"


def _place(host: str, port: int) -> str:
    return f"port {port}" if host in _ANYWHERE else f"{bracketed(host)}:{port}"


def _print_routes(out: Out, served: Banner, routes: Sequence[Route], command: str) -> None:
    options, with_urls = served.plan.options, served.plan.with_gateway
    rows: list[list[Cell]] = []
    for route in routes[:_ROUTES]:
        told, style = route_status(route, served.table.health_of(route.alias))
        all_well = all(endpoint.state == "ready" for endpoint in route.endpoints) and style == "green"
        more = f" and {len(route.endpoints) - 1} more" if len(route.endpoints) > 1 else ""
        parts = [f"{route.target}{more}"] if route.target else []
        target = ", ".join([*parts, *([] if parts and all_well else [told])])
        urls: list[Cell] = [(url_of(route, options), "cyan")] if with_urls else []
        rows.append([(route.alias, "bold"), *urls, (target, "" if all_well else style)])
    heads = ["NAME", *(["URL"] if with_urls else []), "TARGET"]
    print_table(out, heads, rows, give_way=[len(heads) - 1, 0])
    if len(routes) > _ROUTES:
        out.line(f"and {len(routes) - _ROUTES} more, which '{command} routes' lists.")


def url_of(route: Route, options: GatewayOptions) -> str:
    """Return the address that a route answers at: below the first of the domains, or below ``localhost``.

    Names below ``localhost`` lead browsers and curl to their own machine. What a wildcard stands for is up to who asks.
    """
    domain = options.match_domains[0] if options.match_domains else "localhost"
    if route.is_stream:
        host = domain if route.bind in _ANYWHERE else bracketed(route.bind)
        return f"{route.scheme}://{host}:{route.port.listening}"
    secure = options.serves_https and (options.redirect_to_https or not options.http_port)
    scheme, port = ("https", options.redirect_port) if secure else ("http", options.http_port)
    host = route.alias if "." in route.alias else f"{route.alias}.{domain}"
    return f"{scheme}://{host.replace('*', 'ANYTHING')}" + (f":{port}" if port != _USUAL_PORTS[scheme] else "")


def _print_nothing(out: Out, served: Banner) -> None:
    """Say that nothing is served yet, and what would be."""
    options = served.plan.options
    if not served.plan.with_gateway:
        out.line(Text(f"No routes yet for {_others(served)}.", style="bold"))
        return
    out.line(Text(f"Nothing to serve on {_places(options)} yet.", style="bold"))
    reached = all(status.state == "live" for status in served.table.engines.values())
    if reached and options.http_port and not options.match_domains:
        port = f":{options.http_port}" if options.http_port != _USUAL_PORTS["http"] else ""
        out.line("Start a container, and it answers under its name: after")
        out.line("  docker run --detach --name whoami traefik/whoami")
        out.line(f"look at http://whoami.localhost{port}")


def _print_left_out(out: Out, names: Sequence[str]) -> None:
    if names:
        more = f" and {len(names) - _NAMES} more" if len(names) > _NAMES else ""
        out.line(clean(f"Not served: {', '.join(names[:_NAMES])}{more}"))


def _print_problems(out: Out, problems: Sequence[Problem], command: str) -> None:
    print_problems(out, problems[:_PROBLEMS], apart=False)
    if len(problems) > _PROBLEMS:
        out.line(f"and {count(len(problems) - _PROBLEMS, 'problem')} more, which '{command} routes' shows")
