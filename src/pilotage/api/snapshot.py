"""Serializes the snapshot that a daemon serves to ``pilotage routes|ps|explain``, and finds the daemon's unix socket.

The JSON of the HTTP API is for people and other programs. Commands of the same pilotage version as the daemon get the
daemon's own data structures instead, so they print the same output whether they ask a daemon or the engines.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from pilotage import __version__
from pilotage.core.problems import Problem
from pilotage.core.yaml import Located
from pilotage.routes.file import RouteFile
from pilotage.routes.route import EndpointHealth, Route
from pilotage.table.envoys import RouteState
from pilotage.table.self_signed import SelfSigned
from pilotage.table.snapshot import EngineSnapshot
from pilotage.table.table import EngineStatus, Table
from pilotage.table.wakefulness import Wakefulness

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["SNAPSHOT_PATH", "Snapshot", "pack", "socket_candidates", "unpack"]

SNAPSHOT_PATH: Final = "/v1/snapshot"


class Snapshot(msgspec.Struct, frozen=True):
    """The engines, route files and route table of a daemon at one moment.

    Attributes:
        version: version of the daemon; in other versions, a snapshot may have other fields.
        pid: process ID of the daemon.
        file: absolute path of the configuration file; ``""`` if there is none.
        snapshots: engines and their containers.
        files: route files.
        routes, problems_by_key, engines, table_version, health, pool_members, engine_order, wakefulness, self_signed:
            fields of a :class:`~pilotage.Table`.
        on_envoys: alias -> node ID -> state of the route on this Envoy; empty unless the command asked for it.

    """

    version: str
    pid: int
    file: str
    snapshots: tuple[EngineSnapshot, ...]
    files: tuple[RouteFile, ...]
    routes: dict[str, Route]
    problems_by_key: list[tuple[str, str, tuple[Problem, ...]]]
    engines: dict[str, EngineStatus]
    table_version: int
    health: dict[str, dict[str, EndpointHealth]] = {}
    pool_members: dict[str, tuple[str, ...]] = {}
    engine_order: tuple[str, ...] = ()
    wakefulness: dict[str, Wakefulness] = {}
    self_signed: dict[str, SelfSigned] = {}
    on_envoys: dict[str, dict[str, RouteState]] = {}

    @property
    def table(self) -> Table:
        """The route table."""
        problems_by_key = {(provider, whose): problems for provider, whose, problems in self.problems_by_key}
        return Table(
            self.routes,
            problems_by_key,
            self.engines,
            self.table_version,
            self.health,
            self.pool_members,
            self.engine_order,
            self.wakefulness,
            self.self_signed,
        )


class _Version(msgspec.Struct):
    version: str


def pack(
    snapshots: Iterable[EngineSnapshot],
    table: Table,
    problems: Iterable[Problem] = (),
    *,
    files: Iterable[RouteFile] = (),
    file: str = "",
    on_envoys: Mapping[str, dict[str, RouteState]] | None = None,
) -> bytes:
    """Return a snapshot of this daemon as MessagePack.

    Args:
        snapshots: the engines and their containers.
        table: the route table.
        problems: problems that are not in the table: problems with the configuration, and what Envoy rejected.
        files: the route files.
        file: absolute path of the configuration file; ``""`` if the daemon uses none.
        on_envoys: alias -> node ID -> state of the route on this Envoy.

    """
    problems_by_key = [(provider, whose, found) for (provider, whose), found in table.problems_by_key.items()]
    others = tuple(problems)
    if others:
        problems_by_key.append(("", "", others))
    snapshot = Snapshot(
        __version__,
        os.getpid(),
        file,
        tuple(snapshots),
        tuple(files),
        dict(table.routes),
        problems_by_key,
        dict(table.engines),
        table.version,
        {alias: dict(found) for alias, found in table.health.items()},
        dict(table.pool_members),
        table.engine_order,
        dict(table.wakefulness),
        dict(table.self_signed),
        dict(on_envoys or {}),
    )
    return msgspec.msgpack.encode(snapshot)


def unpack(body: bytes) -> Snapshot | None:
    """Parse a snapshot. Return ``None`` if another version of pilotage wrote it.

    Raises:
        msgspec.MsgspecError: the body is not a snapshot.

    """
    if msgspec.msgpack.decode(body, type=_Version).version != __version__:
        return None
    snapshot = msgspec.msgpack.decode(body, type=Snapshot)
    return msgspec.structs.replace(snapshot, files=tuple(map(_restored, snapshot.files)))


def _restored(file: RouteFile) -> RouteFile:
    fields = {
        alias: {name: _located(located) for name, located in written.items()} for alias, written in file.fields.items()
    }
    return msgspec.structs.replace(file, fields=fields)


def _located(located: Located) -> Located:
    """Restore nested :class:`Located` values, which msgspec decodes as plain data because their type is ``Any``."""
    value = located.value
    if isinstance(value, dict):
        value = {key: _located(msgspec.convert(item, Located)) for key, item in value.items()}
    elif isinstance(value, list):
        value = [_located(msgspec.convert(item, Located)) for item in value]
    return msgspec.structs.replace(located, value=value)


def socket_candidates(env: Mapping[str, str]) -> list[Path]:
    """Return possible paths of a daemon's socket: ``PILOTAGE_SOCKET`` if set, or else the user's and the system's."""
    named = env.get("PILOTAGE_SOCKET")
    if named:
        return [Path(named)]
    places = [Path(env["XDG_RUNTIME_DIR"]) / "pilotage.sock"] if env.get("XDG_RUNTIME_DIR") else []
    return [*places, Path("/run/pilotage/pilotage.sock")]
