"""Runs the daemon in this process until a signal ends it."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

from pilotage.daemon.daemon import Daemon
from pilotage.daemon.loop_errors import LoopErrors
from pilotage.daemon.settings import build_settings, rebuild_settings
from pilotage.gateway.capacity import raise_descriptor_limit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pilotage.daemon.settings import Flags

__all__ = ["serve"]


async def serve(flags: Flags, env: Mapping[str, str], *, ready: Callable[[Daemon], object] = lambda _: None) -> None:
    """Run the daemon until SIGTERM or SIGINT.

    The first signal shuts down gracefully, the second immediately. SIGHUP reloads the configuration.

    Args:
        flags: the command-line options.
        env: the environment.
        ready: called once the first table is served.

    Raises:
        PilotageError: the daemon cannot start: the configuration has errors, or a resource is missing or in use.

    """
    raise_descriptor_limit()
    settings = build_settings(flags, env)
    daemon = Daemon(settings, lambda: rebuild_settings(flags, env, settings), env, ready)
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(LoopErrors())
    handlers = {signal.SIGTERM: daemon.stop, signal.SIGINT: daemon.stop, signal.SIGHUP: daemon.reload}
    for number, handler in handlers.items():
        loop.add_signal_handler(number, handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})  # a request that came during startup takes effect now
    try:
        await daemon.run()
    finally:
        for number in handlers:
            loop.remove_signal_handler(number)
