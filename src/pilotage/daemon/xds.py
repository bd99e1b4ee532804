"""Starts the xDS server on the addresses in the settings."""

from __future__ import annotations

import asyncio
import functools
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from pilotage.core.errors import ConfigError, GatewayError
from pilotage.core.problems import Problem
from pilotage.daemon.change_log import log_problems
from pilotage.daemon.failed_requests import FailedRequests

if TYPE_CHECKING:
    from pilotage.daemon.settings import DaemonSettings
    from pilotage.routes.as_written import AsWritten
    from pilotage.xds.server import AdsServer

__all__ = ["start_xds"]

log = logging.getLogger(__name__)


async def start_xds(ads: AdsServer, address: str, settings: DaemonSettings, *, public: str, written: AsWritten) -> None:
    """Listen on ``address``, a unix socket, for the daemon's own Envoy, and on ``public``, if given, for others.

    ``written`` names the labels in the problems that are logged.

    Raises:
        ConfigError: the server cannot listen on ``public``, or a file of its TLS settings cannot be read.
        GatewayError: the server cannot listen on the unix socket.

    """
    ads.failures.on_failure = FailedRequests().add
    ads.snapshot.problems.listener = functools.partial(log_problems, written=written)
    ads.envoys.on_silent = lambda problem: log.error("%s", problem)
    try:
        await ads.start(address)
    except OSError as error:
        raise GatewayError(str(error), "set TMPDIR to a folder that supports sockets") from error
    if not public:
        return
    files = settings.gateway.xds.tls
    try:
        names = (files.ca_file, files.cert_file, files.key_file) if files is not None else ()
        read = [await asyncio.to_thread(Path(name).read_bytes) for name in names]
        await ads.start(public, tls=(read[0], read[1], read[2]) if read else None)
    except OSError as error:
        hint = "change gateway.xds in the configuration"
        raise ConfigError([Problem(message=f"cannot serve other Envoys on {public}: {error}", hint=hint)]) from error
