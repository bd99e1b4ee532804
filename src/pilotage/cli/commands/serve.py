"""``pilotage serve``: routes become traffic."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING, Any

import click

from pilotage.cli.options import OK, WithExamples, engine_options, gateway_extra

if TYPE_CHECKING:
    import asyncio

    from pilotage.daemon.daemon import Daemon
    from pilotage.daemon.settings import Flags
    from pilotage.discovery.manager import Update
    from pilotage.output.banner import GatewayPorts
    from pilotage.output.changelog import ChangeLine
    from pilotage.table.table import Table
    from pilotage.xds.options import GatewayOptions

__all__ = ["gateway_ports", "serve"]


@click.command(
    cls=WithExamples,
    examples=(
        "pilotage serve",
        "pilotage serve --config /etc/pilotage/pilotage.yml --port 80",
        "pilotage serve --demo",
    ),
)
@engine_options
@click.option(
    "--port", metavar="PORT", type=click.IntRange(1, 65535), help="Answer plain HTTP on this port. [default: 8080]"
)
@click.option(
    "--api", metavar="PLACE", multiple=True, help="Where the HTTP API listens: HOST:PORT or unix:///PATH. Repeatable."
)
@click.option("--no-gateway", is_flag=True, help="Run no Envoy; others ask for their configuration (gateway.xds).")
@click.option("--demo", is_flag=True, help="The built-in demonstration, as containers that answer.")
@click.option(
    "--or-demo",
    is_flag=True,
    help="For trying: the demonstration if no engine can be found or reached, and the next free port from 8080 on.",
)
@click.option("--log-format", type=click.Choice(["text", "journal", "json"]), help="Of the log on standard error.")
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    help="From which level on. [default: info]",
)
def serve(
    *,
    port: int | None,
    api: tuple[str, ...],
    no_gateway: bool,
    demo: bool,
    or_demo: bool,
    log_format: str | None,
    log_level: str | None,
    **where: Any,
) -> int:
    """Serve the routes through a real proxy, Envoy.

    Engines are watched, and Envoy is kept in step with the routes of their containers: one called shop answers for
    http://shop.ANYTHING:8080. SIGTERM and Ctrl-C stop in good order: requests are finished first; a second one stops at
    once. SIGHUP reads the configuration again, as does changing the file.
    """
    from pilotage.config.engines import EngineChoice, find_config_file
    from pilotage.daemon import logging as logs

    with gateway_extra():
        from pilotage.daemon.settings import Flags

    flags = Flags(choice=EngineChoice(**where), gateway=not no_gateway, port=port, api=api)
    if demo and flags.choice:
        raise click.UsageError("--demo and naming engines exclude each other.")
    screen = _Screen() if sys.stdout.isatty() and sys.stderr.isatty() and not (log_format or log_level) else None
    if screen is None:
        logs.configure(log_format or logs.detect_format(os.environ), log_level or "info")  # type: ignore[arg-type]  # click checked it
    _run(flags, screen, demo=demo, or_demo=or_demo and not flags.choice and not find_config_file())
    return OK


def _run(flags: Flags, screen: _Screen | None, *, demo: bool, or_demo: bool) -> None:
    import asyncio

    import msgspec

    from pilotage.demo.site import demo_site
    from pilotage.engine.address import DockerProviderConfig

    with gateway_extra():
        from pilotage.daemon import daemon

    async def run() -> None:
        is_demo = demo or (or_demo and await _is_without_engine())
        chosen = _with_free_port(flags) if is_demo or or_demo else flags
        async with contextlib.AsyncExitStack() as stack:
            if is_demo:
                if demo:
                    _note("This is the built-in demonstration.")
                engine = await stack.enter_async_context(demo_site(_note))
                config = DockerProviderConfig(engine.url, name="demo")
                chosen = msgspec.structs.replace(chosen, demo=config)
            if screen is not None:
                await stack.enter_async_context(screen)

            def on_ready(daemon: Daemon) -> None:
                _print_banner(daemon, is_demo=is_demo)
                if screen is not None:
                    screen.follow(daemon)

            await daemon.serve(chosen, os.environ, ready=on_ready)

    asyncio.run(run())


def _note(text: str) -> None:
    from pilotage.output.console import Out

    Out(sys.stderr).note(text)


async def _is_without_engine() -> bool:
    """Tell whether there is no engine here, and say so; also why not, where one is named or found."""
    from pilotage.config.engines import EngineChoice, choose_engines
    from pilotage.core.errors import EngineError, PilotageError
    from pilotage.engine.pool import Pool, new_client
    from pilotage.output.console import Out, clean

    try:
        (config,) = choose_engines(EngineChoice(), os.environ).configs
        async with Pool() as pool, await new_client(config, pool=pool):
            return False
    except PilotageError as error:
        named = os.environ.get("DOCKER_HOST") or os.environ.get("DOCKER_CONTEXT")
        if named or isinstance(error, EngineError):
            Out(sys.stderr).error(clean(str(error)))
        _note("No container engine answers here, so this is the built-in demonstration.")
        return True


_PORTS = range(8080, 8100)


def _with_free_port(flags: Flags) -> Flags:
    """Take the next port where the usual one is taken and none was asked for: who tries things wants to see them."""
    import msgspec

    from pilotage.api.listen import port_error

    usual = _PORTS[0]
    if flags.port is not None or not flags.gateway or not port_error("0.0.0.0", usual):  # noqa: S104  # a gateway's place
        return flags
    free = next((port for port in _PORTS if not port_error("0.0.0.0", port)), None)  # noqa: S104
    if free is None:
        return flags  # the error about the usual one says it all
    _note(f"Port {usual} is taken, so this is port {free}; --port chooses another.")
    return msgspec.structs.replace(flags, port=free)


def _print_banner(daemon: Daemon, *, is_demo: bool) -> None:
    """Print what the daemon serves. A closed standard output does not stop the daemon."""
    from pilotage.output.banner import Banner, print_banner
    from pilotage.output.console import Out, command_name

    settings = daemon.settings
    banner = Banner(
        engines=settings.engines,
        files=settings.files,
        why=settings.why,
        table=daemon.discovery.table,
        problems=daemon.problems(),
        gateway=gateway_ports(settings.options) if settings.with_gateway else None,
        xds_address=daemon.xds_address,
        api=tuple(map(str, daemon.api.places)),
        is_demo=is_demo,
    )
    with contextlib.suppress(OSError):
        print_banner(Out(), banner, command=command_name())
        sys.stdout.flush()


def gateway_ports(options: GatewayOptions) -> GatewayPorts:
    """Return where a gateway with these options listens."""
    from pilotage.output.banner import GatewayPorts

    return GatewayPorts(
        http_address=options.http_address,
        http_port=options.http_port,
        https_address=options.https_address,
        https_port=options.https_port if options.serves_https else 0,
        public_https_port=options.public_https_port,
        redirect_to_https=options.redirect_to_https,
        match_domains=options.match_domains,
    )


def _is_news(line: ChangeLine, update: Update) -> bool:
    """Tell whether a line is worth a look: that the first probes pass is what everybody expects."""
    if line.kind != "health":
        return True
    seen = [health for table in (update.old, update.new) for health in table.health_of(line.alias).values()]
    return any(health.state == "unhealthy" for health in seen)


class _Screen:
    """A terminal that people look at while pilotage serves: after the table, one line for each change of it.

    The log keeps quiet about what is told here: until all is served about all but failures, later about changes.
    """

    def __init__(self) -> None:
        import logging

        from pilotage.daemon import logging as logs

        logs.configure("terminal", "error")
        self._log = logging.getLogger("pilotage")
        self._changes = logging.getLogger("pilotage.daemon.change_log")
        self._following: asyncio.Task[None] | None = None

    def follow(self, daemon: Daemon) -> None:
        """Tell what changes from now on, until the engines are no longer watched."""
        import asyncio
        import logging

        self._log.setLevel(logging.INFO)
        self._changes.setLevel(logging.CRITICAL)
        self._following = asyncio.create_task(self._follow(daemon, daemon.discovery.table))

    async def _follow(self, daemon: Daemon, shown: Table) -> None:
        import time

        from pilotage.cli.watch import Columns
        from pilotage.output.changelog import ChangeFormatter
        from pilotage.output.console import Out

        columns, formatter = Columns(Out(), [engine.name for engine in daemon.settings.engines]), ChangeFormatter()
        with contextlib.suppress(OSError):  # the terminal has gone away; what is served goes on
            async for update in daemon.discovery:
                lines = formatter.format(update)
                if update.new is not shown:
                    columns.print([line for line in lines if _is_news(line, update)], time.time())

    async def __aenter__(self) -> None:
        return

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        import asyncio

        if self._following is None:
            return
        self._following.cancel()
        await asyncio.wait([self._following])
        failed = None if self._following.cancelled() else self._following.exception()
        if failed is not None and kind is None:  # what ended the daemon comes first
            raise failed
