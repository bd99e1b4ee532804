"""``pilotage serve``: run the daemon and, on a terminal, show what changes."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING, Any, Final

import click

from pilotage.cli.options import OK, WithExamples, engine_options, gateway_extra, warn_if_unverified

if TYPE_CHECKING:
    import asyncio

    from pilotage.daemon.daemon import Daemon
    from pilotage.daemon.settings import Flags
    from pilotage.discovery.update import Update
    from pilotage.output.changelog import ChangeLine
    from pilotage.table.table import Table

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
@click.option("--port", metavar="PORT", type=click.IntRange(1, 65535), help="Port for plain HTTP. [default: 8080]")
@click.option(
    "--api", metavar="ADDRESS", multiple=True, help="Serve the HTTP API on HOST:PORT or unix:///PATH. Repeatable."
)
@click.option("--no-gateway", is_flag=True, help="Run no Envoy; configure external ones (gateway.xds).")
@click.option(
    "--keep",
    type=click.Choice(["no", "yes", "external"]),
    help="Keep Envoy running when pilotage stops; external: 'pilotage envoy' runs it. [default: gateway.keep]",
)
@click.option("--demo", is_flag=True, help="Serve the built-in demonstration.")
@click.option(
    "--or-demo",
    is_flag=True,
    help="For a first try: use the first free port from 8080 up, and the demonstration if no engine responds.",
)
@click.option(
    "--log-format", type=click.Choice(["text", "journal", "json"]), help="Format of the log on standard error."
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    help="Lowest level to log. [default: info]",
)
def serve(
    *,
    port: int | None,
    api: tuple[str, ...],
    no_gateway: bool,
    keep: str | None,
    demo: bool,
    or_demo: bool,
    log_format: str | None,
    log_level: str | None,
    **where: Any,
) -> int:
    """Watch engines and serve the routes through Envoy.

    A container named shop is served at http://shop.ANYTHING:8080. On SIGTERM or Ctrl-C, running requests are finished
    first; a second signal stops immediately. The configuration file is reloaded on SIGHUP and when it changes.
    """
    from pilotage.config.engines import EngineChoice, find_config_file
    from pilotage.daemon.logging import configure_logging, detect_log_format

    with gateway_extra():
        from pilotage.daemon.settings import Flags

    flags = Flags(choice=EngineChoice(**where), gateway=not no_gateway, port=port, api=api, keep=_KEEP.get(keep))
    if (demo or or_demo) and flags.choice:
        name = "--demo" if demo else "--or-demo"
        raise click.UsageError(f"{name} cannot be combined with options that select engines.")
    screen = _Screen() if sys.stdout.isatty() and sys.stderr.isatty() and not (log_format or log_level) else None
    if screen is None:
        configure_logging(log_format or detect_log_format(os.environ), log_level or "info")  # type: ignore[arg-type]  # click checked it
    _run(flags, screen, demo=demo, or_demo=or_demo and not find_config_file())
    return OK


_KEEP: Final[dict[str | None, Any]] = {"no": False, "yes": True, "external": "external"}


def _run(flags: Flags, screen: _Screen | None, *, demo: bool, or_demo: bool) -> None:
    import asyncio

    import msgspec

    from pilotage.demo.site import demo_site
    from pilotage.engine.config import DockerProviderConfig

    with gateway_extra():
        from pilotage.daemon.run import serve as run_daemon

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

            await run_daemon(chosen, os.environ, ready=on_ready)

    asyncio.run(run())


def _note(text: str) -> None:
    from pilotage.output.console import Out

    Out(sys.stderr).note(text)


async def _is_without_engine() -> bool:
    """Return whether no engine responds. If so, print that and the error of the engine that was selected or found."""
    from pilotage.config.engines import EngineChoice, choose_engines
    from pilotage.core.errors import EngineError, PilotageError
    from pilotage.engine.pool import Pool, new_client
    from pilotage.output.console import Out, clean

    try:
        (config,) = choose_engines(EngineChoice(), os.environ).configs
        async with Pool() as pool, await new_client(config, pool=pool):
            return False
    except PilotageError as error:
        named = any(map(os.environ.get, ("DOCKER_HOST", "DOCKER_CONTEXT", "CONTAINER_HOST")))
        if named or isinstance(error, EngineError):
            Out(sys.stderr).error(clean(str(error)))
        _note("No container engine responds here, so this is the built-in demonstration.")
        return True


_PORTS = range(8080, 8100)


def _with_free_port(flags: Flags) -> Flags:
    """Return the flags, with the next free port if the default port is in use and the user requested no port."""
    import msgspec

    from pilotage.api.listen import port_error

    default = _PORTS[0]
    if flags.port is not None or not flags.gateway or not port_error("0.0.0.0", default):  # noqa: S104  # as a gateway listens
        return flags
    free = next((port for port in _PORTS if not port_error("0.0.0.0", port)), None)  # noqa: S104
    if free is None:
        return flags  # the gateway reports that the default port is in use
    _note(f"Port {default} is in use; using port {free}. To use another one, set --port.")
    return msgspec.structs.replace(flags, port=free)


def _print_banner(daemon: Daemon, *, is_demo: bool) -> None:
    """Print what the daemon serves. A closed standard output does not stop the daemon."""
    from pilotage.output.banner import Banner, print_banner
    from pilotage.output.console import Out, command_name

    settings = daemon.settings
    warn_if_unverified(settings.engines)
    banner = Banner(
        engines=settings.engines,
        files=settings.files,
        why=settings.why,
        table=daemon.discovery.table,
        problems=daemon.problems(),
        gateway=daemon.gateway_ports,
        xds_address=daemon.xds_address,
        api=tuple(map(str, daemon.api.places)),
        is_demo=is_demo,
    )
    with contextlib.suppress(OSError):
        print_banner(Out(), banner, command=command_name())
        sys.stdout.flush()


def _is_news(line: ChangeLine, update: Update) -> bool:
    """Return whether to show a line. A health change is shown only if an endpoint is or was unhealthy."""
    if line.kind != "health":
        return True
    seen = [health for table in (update.old, update.new) for health in table.health_of(line.alias).values()]
    return any(health.state == "unhealthy" for health in seen)


class _Screen:
    """The terminal while pilotage serves: the banner, then one line for each change.

    Until the banner is printed, only errors are logged. From then on, changes are printed here instead of being logged.
    """

    def __init__(self) -> None:
        import logging

        from pilotage.daemon.logging import configure_logging

        configure_logging("terminal", "error")
        self._log = logging.getLogger("pilotage")
        self._changes = logging.getLogger("pilotage.daemon.change_log")
        self._following: asyncio.Task[None] | None = None

    def follow(self, daemon: Daemon) -> None:
        """Print changes from now on, until the daemon stops watching engines."""
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
        with contextlib.suppress(OSError):  # the terminal was closed; serving continues
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
        if failed is not None and kind is None:  # the daemon's own error takes precedence
            raise failed
