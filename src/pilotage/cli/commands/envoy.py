"""``pilotage envoy`` and ``pilotage stop``: an Envoy that outlives the daemon."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from pilotage.cli.options import OK, PROBLEMS, WithExamples, gateway_extra

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["envoy", "stop"]


def _daemon_options(function: Callable[..., int]) -> Callable[..., int]:
    """Add the options that select the daemon to which the Envoy belongs."""
    config = click.option(
        "--config",
        metavar="FILE",
        default="",
        help="The daemon's configuration file. [default: ./pilotage.yml or /etc/pilotage/pilotage.yml]",
    )
    api = click.option(
        "--api", metavar="ADDRESS", multiple=True, help="The daemon's --api. Envoy's folder is next to its socket."
    )
    return config(api(function))


@click.command(cls=WithExamples, examples=("pilotage envoy", "pilotage envoy --config /etc/pilotage/pilotage.yml"))
@_daemon_options
def envoy(config: str, api: tuple[str, ...]) -> int:
    """Run Envoy separately from the daemon, for pilotage serve --keep external.

    The daemon can then be restarted or replaced without interruption. On SIGTERM, Envoy finishes running requests
    before it stops. On SIGHUP, the configuration is read again. If the configuration or Envoy's binary has changed, a
    new Envoy takes over. The old one stops when its requests are finished, at the latest after gateway.drain.
    """
    import asyncio

    from pilotage.daemon.logging import configure_logging, detect_log_format

    with gateway_extra():
        from pilotage.daemon.keeper import run_envoy

    configure_logging(detect_log_format(os.environ), "info")
    asyncio.run(run_envoy(config, api, os.environ))
    return OK


@click.command(cls=WithExamples, examples=("pilotage stop", "pilotage stop --config /etc/pilotage/pilotage.yml"))
@_daemon_options
def stop(config: str, api: tuple[str, ...]) -> int:
    """Stop a daemon that keeps its Envoy (gateway.keep), and then the Envoy.

    Running requests may take up to gateway.drain to finish. The exit status is 1 if neither the daemon nor Envoy is
    running.
    """
    import asyncio

    with gateway_extra():
        from pilotage.daemon.keeper import stop_both

    ended = asyncio.run(stop_both(config, api, os.environ))
    names = [name for name, was_there in zip(("pilotage", "Envoy"), ended, strict=True) if was_there]
    click.echo(f"stopped: {', '.join(names)}" if names else "neither pilotage nor Envoy is running here", err=not names)
    return OK if names else PROBLEMS
