"""Makes the daemon's own Envoy, which stops with the daemon, outlives it, or is started by ``pilotage envoy``."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from pilotage.core.errors import GatewayError
from pilotage.core.tempdirs import MAX_SOCKET_PATH, lock_file, owned_tempdir, private_folder_of
from pilotage.core.text import count
from pilotage.daemon.settings import check_ports
from pilotage.gateway.admin import AdminClient
from pilotage.gateway.adoption import OUTPUT, KeepingLauncher
from pilotage.gateway.binary import find_envoy
from pilotage.gateway.client_limit import module_folder
from pilotage.gateway.external import ExternalLauncher
from pilotage.gateway.launch import ADMIN_SOCKET
from pilotage.gateway.log_tail import relay_output
from pilotage.gateway.process import Gateway
from pilotage.xds.bootstrap import build_bootstrap

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pilotage.config.serve import GatewaySettings
    from pilotage.daemon.settings import DaemonSettings
    from pilotage.xds.overload import Limits

__all__ = [
    "DAEMON_LOCK",
    "ENVOY_LOCK",
    "NODE",
    "PAGES_SOCKET",
    "envoy_folder",
    "free_ports",
    "kept_folder",
    "make_gateway",
    "shut_down",
    "xds_address",
]

log = logging.getLogger(__name__)

NODE: Final = "pilotage"
"""The xDS node ID of the daemon's own Envoy. Other Envoys have other IDs."""

PAGES_SOCKET: Final = "pages.sock"
"""Name of the socket that serves the events of loading pages."""

DAEMON_LOCK: Final = "daemon.lock"
ENVOY_LOCK: Final = "envoy.lock"
"""Files in the kept folder that the daemon and ``pilotage envoy`` hold locked. They contain a process ID."""

_LONGEST_NAME: Final = "h_udp_parent_1234567890"  # longest name of a socket in the folder
_ANSWER: Final = 2.0


def xds_address(folder: Path) -> str:
    """Return the ``unix:`` address from which the daemon's own Envoy gets its configuration."""
    return f"unix:{folder}/xds.sock"


@contextlib.contextmanager
def envoy_folder(settings: DaemonSettings) -> Iterator[Path]:
    """Hold the folder for sockets and Envoy's files. It is temporary, unless Envoy may outlive the daemon.

    Raises:
        GatewayError: the folder cannot be created, or another daemon uses it.

    """
    if settings.keep_folder:
        with kept_folder(settings.keep_folder, DAEMON_LOCK) as folder:
            yield folder
        return
    with contextlib.ExitStack() as stack:
        try:
            folder = stack.enter_context(owned_tempdir("pilotage-", _LONGEST_NAME))
        except OSError as error:
            remedy = "make /tmp writable (in a container: --tmpfs /tmp), or set TMPDIR to another folder"
            raise GatewayError(f"cannot create a folder for temporary files: {error.strerror}", remedy) from error
        yield folder


@contextlib.contextmanager
def kept_folder(path: str, lock: str) -> Iterator[Path]:
    """Hold a lock in the private folder of an Envoy that outlives the daemon. Create the folder if it is missing.

    Args:
        path: absolute path of the folder.
        lock: :data:`DAEMON_LOCK` or :data:`ENVOY_LOCK`.

    Raises:
        GatewayError: the folder cannot be used, or another process holds the lock.

    """
    folder = Path(path)
    if len(os.fsencode(folder / _LONGEST_NAME)) > MAX_SOCKET_PATH:
        raise GatewayError(f"the path {folder} is too long for sockets", "choose a shorter one with api.listen")
    try:
        private_folder_of(str(folder / lock))
        held = lock_file(folder / lock)
    except OSError as error:
        remedy = "gateway.keep needs a folder for Envoy's sockets next to the API's socket; see api.listen"
        raise GatewayError(f"cannot use {folder}: {error.strerror}", remedy) from error
    if held is None:
        raise GatewayError(
            f"another pilotage process uses the Envoy in {folder}", "run 'pilotage stop' first, or change api.listen"
        )
    try:
        os.truncate(held, 0)
        os.write(held, str(os.getpid()).encode())
        yield folder
    finally:
        os.close(held)


async def free_ports(settings: DaemonSettings, folder: Path) -> None:
    """Check that each port of the gateway is free or in use by the Envoy that an earlier daemon left running.

    Raises:
        ConfigError: a port is in use, or this user cannot listen on it.

    """
    ours = await AdminClient(folder / ADMIN_SOCKET, _ANSWER).ports() if settings.keep_folder else frozenset()
    check_ports(settings, ours=ours)


def make_gateway(folder: Path, gateway: GatewaySettings, limits: Limits, *, external: bool = False) -> Gateway:
    """Return the daemon's own Envoy.

    Args:
        folder: from :func:`envoy_folder`.
        gateway: how to run Envoy.
        limits: the resources that Envoy may use.
        external: whether another process starts Envoy.

    Raises:
        GatewayError: there is no Envoy binary, or a file in the folder cannot be written.

    """
    if external:
        return Gateway({}, folder, binary=folder, launcher=ExternalLauncher(folder))
    binary = find_envoy(gateway.envoy)
    limits = msgspec.structs.replace(limits, pressure=str(folder))
    bootstrap = build_bootstrap(
        xds_address(folder), NODE, limits=limits, pages=f"{folder}/{PAGES_SOCKET}", client_limit=module_folder()
    )
    workers, level = gateway.workers, gateway.log_level
    if not gateway.keep:
        return Gateway(bootstrap, folder, binary=binary, workers=workers, log_level=level)
    keeping = KeepingLauncher(bootstrap, folder, binary=binary, workers=workers, log_level=level, drain=gateway.drain)
    relay_output(folder / OUTPUT)
    return Gateway(bootstrap, folder, binary=binary, launcher=keeping)


async def shut_down(gateway: Gateway, limit: float, now: asyncio.Event) -> None:
    """Drain Envoy, then stop it. Once ``now`` is set, stop it immediately.

    Args:
        gateway: the Envoy.
        limit: how long requests may take to finish, in seconds.
        now: set to stop Envoy without waiting any longer.

    """
    log.info("stopping: active requests have %g s to finish (send the signal again to stop now)", limit)
    drain = asyncio.create_task(gateway.drain(limit))
    hurry = asyncio.create_task(now.wait())
    await asyncio.wait({drain, hurry}, return_when=asyncio.FIRST_COMPLETED)
    hurry.cancel()
    if drain.done():
        aborted = drain.result()
        log.log(logging.WARNING if aborted else logging.INFO, "Envoy stopped; %s aborted", count(aborted, "request"))
    else:
        drain.cancel()
        await gateway.stop()
        log.warning("Envoy stopped without waiting for active requests")
