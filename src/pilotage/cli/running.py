"""Decides whether a command uses the running daemon instead of the engines, and follows the daemon's table."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import msgspec

from pilotage.api.snapshot import socket_candidates, unpack
from pilotage.api.table_updates import LENGTH, UPDATES_PATH, TableCopy
from pilotage.cli.daemon_client import Refused, closed_socket, find_daemon
from pilotage.config.engines import find_config_file
from pilotage.core.errors import ConfigError
from pilotage.engine.address import parse_address
from pilotage.engine.contexts import default_engine, resolved
from pilotage.output.console import Out, clean

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping
    from pathlib import Path

    from pilotage.api.snapshot import Snapshot
    from pilotage.discovery.update import Update
    from pilotage.engine.config import DockerProviderConfig

__all__ = ["daemon_updates", "running_daemon"]

_ENGINE_VARIABLES: Final = ("DOCKER_HOST", "DOCKER_CONTEXT", "CONTAINER_HOST")
_SILENCE: Final = 60.0  # seconds; the daemon writes something every 15


def running_daemon(env: Mapping[str, str], *, with_envoys: bool = False) -> tuple[Path, Snapshot] | None:
    """Return the socket and the snapshot of the running daemon; ``None`` if the command must ask the engines.

    This is so if no daemon of this version is accessible, if its configuration file is not the one that the command
    would use, or if an environment variable selects an engine that the daemon does not watch. Prints which daemon is
    used, and why one that is running cannot be used.

    Args:
        env: environment variables.
        with_envoys: also ask for the state of each route on each Envoy.

    """
    closed = closed_socket(env)
    if closed is None and not any(path.exists() for path in socket_candidates(env)):
        return None
    found = find_daemon(env, with_envoys=with_envoys)
    err = Out(sys.stderr)
    if found is None:
        if closed is not None:
            err.note(clean(f"Not using the running daemon: no permission for {closed}."))
        return None
    snapshot, file = found[1], find_config_file()
    if file and os.path.realpath(file) != snapshot.file:
        return None
    if any(map(env.get, _ENGINE_VARIABLES)) and not _is_watched((it.config for it in snapshot.snapshots), env):
        return None
    err.note(f"From the running daemon (process {snapshot.pid}).")
    return found


def _is_watched(configs: Iterable[DockerProviderConfig], env: Mapping[str, str]) -> bool:
    """Return whether one of these engines is the one that the environment selects."""
    try:
        wanted = _address(resolved(default_engine(env)[0], env), env)
        return any(_address(config, env) == wanted for config in configs)
    except ConfigError:
        return False


def _address(config: DockerProviderConfig, env: Mapping[str, str]) -> tuple[str, str]:
    address = parse_address(config, env)
    return (address.url, "") if address.scheme != "unix" else ("unix", os.path.realpath(address.path))


@contextlib.asynccontextmanager
async def daemon_updates(path: Path) -> AsyncIterator[AsyncIterator[Update]]:
    """Provide the updates of a daemon's table; the first one has the whole table.

    Args:
        path: the daemon's socket.

    Raises:
        Refused: the daemon has another version, has ended, or does not answer any more.

    """
    connector, timeout = aiohttp.UnixConnector(str(path)), aiohttp.ClientTimeout(total=None, sock_read=_SILENCE)
    async with contextlib.AsyncExitStack() as stack:
        given: dict[str, Any] = {"connector": connector, "timeout": timeout, "trust_env": False}
        session = await stack.enter_async_context(aiohttp.ClientSession(**given))
        try:
            response = await stack.enter_async_context(session.get(f"http://pilotage{UPDATES_PATH}"))
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _gone(path) from error
        if response.status != 200:
            raise Refused(f"the daemon at {path} has another version; restart it", is_unreachable=True)
        yield _updates(response.content, path)


async def _updates(stream: aiohttp.StreamReader, path: Path) -> AsyncIterator[Update]:
    table: TableCopy | None = None
    while True:
        try:
            size = int.from_bytes(await stream.readexactly(LENGTH), "big")
            body = await stream.readexactly(size)
            if not body:
                continue
            if table is not None:
                yield table.apply(body)
            elif (snapshot := unpack(body)) is not None:
                table = TableCopy(snapshot.table)
                yield table.first()
            else:
                raise Refused(f"the daemon at {path} has another version; restart it", is_unreachable=True)
        except (aiohttp.ClientError, TimeoutError, OSError, EOFError, msgspec.MsgspecError) as error:
            raise _gone(path) from error


def _gone(path: Path) -> Refused:
    return Refused(f"the daemon at {path} has ended or does not answer; run the command again", is_unreachable=True)
