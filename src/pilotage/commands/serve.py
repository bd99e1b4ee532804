"""``pilotage serve``: routes become traffic."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING, Any

import click

from pilotage.options import OK, WithExamples, engine_options, gateway_extra

if TYPE_CHECKING:
    from pilotage.daemon import Daemon
    from pilotage.plan import Flags

__all__ = ["serve"]


@click.command(
    cls=WithExamples,
    examples=(
        "pilotage serve",
        "pilotage serve --config /etc/pilotage/pilotage.yml --port 80",
        "pilotage serve --demo",
    ),
)
@engine_options
@click.option("--port", type=click.IntRange(1, 65535), help="Answer plain HTTP on this port. [default: 8080]")
@click.option(
    "--api", metavar="PLACE", multiple=True, help="Where the HTTP API listens: HOST:PORT or unix:///PATH. Repeatable."
)
@click.option("--no-gateway", is_flag=True, help="Run no Envoy; others ask for their configuration (gateway.xds).")
@click.option("--demo", is_flag=True, help="The built-in demonstration, as containers that answer.")
@click.option("--or-demo", is_flag=True, help="The demonstration if no engine can be found or reached.")
@click.option("--log-format", type=click.Choice(["text", "journal", "json"]), help="Of the log on standard error.")
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    help="From which level on.",
)
def serve(
    *,
    port: int | None,
    api: tuple[str, ...],
    no_gateway: bool,
    demo: bool,
    or_demo: bool,
    log_format: str | None,
    log_level: str,
    **where: Any,
) -> int:
    """Serve the routes: watch engines, and keep a real proxy (Envoy) in step with them.

    A route called shop answers for http://shop.ANYTHING:8080. SIGTERM and Ctrl-C stop in good order: requests are
    finished first; a second one stops at once. SIGHUP reads the configuration again, as does changing the file.
    """
    from pilotage import logs, sources

    with gateway_extra():
        from pilotage.plan import Flags

    logs.set_up(log_format or logs.suitable_format(os.environ), log_level)  # type: ignore[arg-type]  # click checked it
    flags = Flags(choice=sources.Choice(**where), gateway=not no_gateway, port=port, api=api)
    if demo and flags.choice:
        raise click.UsageError("--demo and naming engines exclude each other.")
    _run(flags, demo=demo, or_demo=or_demo and not flags.choice and not sources.config_file())
    return OK


def _run(flags: Flags, *, demo: bool, or_demo: bool) -> None:
    import asyncio

    import msgspec

    from pilotage.engine.address import DockerProviderConfig
    from pilotage.testing.demo_site import demo_site

    with gateway_extra():
        from pilotage import daemon

    async def run() -> None:
        if not demo and not (or_demo and await _is_without_engine()):
            await daemon.serve(flags, os.environ, ready=_tell)
            return
        async with demo_site() as engine:
            with_demo = msgspec.structs.replace(flags, demo=DockerProviderConfig(engine.url, name="demo"))
            await daemon.serve(with_demo, os.environ, ready=_tell)

    asyncio.run(run())


async def _is_without_engine() -> bool:
    """Tell whether there is no engine here, and say so."""
    from pilotage import sources
    from pilotage.console import Out
    from pilotage.engine.pool import Pool, new_client
    from pilotage.errors import PilotageError

    try:
        (config,) = sources.choose(sources.Choice(), os.environ).configs
        async with Pool() as pool, await new_client(config, pool=pool):
            return False
    except PilotageError:
        Out(sys.stderr).note("No container engine answers here, so this is the built-in demonstration.")
        return True


_SHOWN = 5


def _tell(daemon: Daemon) -> None:
    """Print what is served, from where, and how to ask about it. Whoever has stopped reading does not stop us."""
    with contextlib.suppress(OSError):
        _print(daemon)


def _print(daemon: Daemon) -> None:
    from pilotage.console import Out, clean, count

    out = Out()
    plan, table = daemon.plan, daemon.discovery.table
    options = plan.options
    served = [route for route in table.sorted_routes() if not route.excluded]
    names = ", ".join(f"{engine.name} ({engine.url})" for engine in plan.engines)
    out.line(clean(f"Watching {names}{f': {plan.why}' if plan.why else ''}."))
    away = [name for name, status in table.engines.items() if status.state != "live"]
    if away:
        out.line(clean(f"Not there yet: {', '.join(away)}; 'pilotage engines' tells more."))
    if plan.with_gateway:
        places = [f"http://{options.http_address}:{options.http_port}"] if options.http_port else []
        if options.serves_https:
            places.append(f"https://{options.https_address}:{options.https_port}")
        out.line(f"Serving {count(len(served), 'route')} on {' and '.join(places) or 'no port'}:")
    else:
        out.line(f"{count(len(served), 'route')} for the Envoys that ask on {daemon.xds_place or 'no port'}:")
    for line in _addresses(daemon, served):
        out.line(clean(line))
    if daemon.api.places:
        out.line(f"The API is at {' and '.join(map(str, daemon.api.places))}.")
    sys.stdout.flush()


def _addresses(daemon: Daemon, served: list[Any]) -> list[str]:
    options = daemon.plan.options
    secure = options.serves_https and (options.redirect_to_https or not options.http_port)
    scheme, port = ("https", options.redirect_port) if secure else ("http", options.http_port)
    shown = "" if port == {"http": 80, "https": 443}[scheme] else f":{port}"
    domain = options.match_domains[0] if options.match_domains else "localhost"
    lines = []
    for route in served:
        if route.is_stream:
            lines.append(f"  {route.listen}  {route.alias}")
        else:
            host = route.alias if "." in route.alias else f"{route.alias}.{domain}"
            lines.append(f"  {scheme}://{host}{shown}")
    if len(lines) > _SHOWN:
        lines[_SHOWN:] = [f"  and {len(lines) - _SHOWN} more, which 'pilotage routes' lists"]
    return lines
