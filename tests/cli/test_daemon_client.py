from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest
from aiohttp import web

from pilotage.cli.daemon_client import SNAPSHOT_PATH, Snapshot, closed_socket, fetch, pack, socket_candidates, unpack
from pilotage.cli.sources import demonstration
from pilotage.core.problems import Problem
from pilotage.routes.file import read_route_file
from pilotage.routes.route import EndpointHealth

if TYPE_CHECKING:
    from collections.abc import Iterator

VIEW = demonstration()
HEALTH = {"shop": {"10.0.0.1:80": EndpointHealth("unhealthy", 12.5)}}
PACKED = pack(VIEW.rosters, msgspec.structs.replace(VIEW.table, health=HEALTH))


def test_what_is_packed_comes_out_the_same() -> None:
    snapshot = unpack(PACKED)
    assert snapshot is not None
    assert snapshot.rosters == VIEW.rosters
    table = snapshot.table
    assert dict(table.routes) == dict(VIEW.table.routes)
    assert table.problems == VIEW.table.problems
    assert dict(table.engines) == dict(VIEW.table.engines)
    assert table.version == VIEW.table.version
    assert table.health == HEALTH


def test_problems_beside_the_table_are_in_it() -> None:
    snapshot = unpack(pack(VIEW.rosters, VIEW.table, [Problem(message="of the configuration")]))
    assert snapshot is not None
    assert len(snapshot.table.problems) == len(VIEW.table.problems) + 1


def test_files_of_routes_come_out_with_every_place_in_them() -> None:
    text = "nas:\n  host: 10.0.0.9\n  port: 80\n  healthcheck: {path: /up}\n  middlewares: {set_headers: {x: [a]}}\n"
    file = read_route_file(text, "routes.yml")
    snapshot = unpack(pack((), VIEW.table, files=[file]))
    assert snapshot is not None
    assert snapshot.files == (file,)
    assert snapshot.files[0].fields["nas"]


def test_another_version_is_not_understood() -> None:
    other = msgspec.msgpack.decode(PACKED, type=Snapshot)
    assert unpack(msgspec.msgpack.encode(msgspec.structs.replace(other, version="99"))) is None


def test_sockets_are_looked_for_where_daemons_of_this_user_and_the_system_have_them() -> None:
    assert [str(path) for path in socket_candidates({"XDG_RUNTIME_DIR": "/run/user/7"})] == [
        "/run/user/7/pilotage.sock",
        "/run/pilotage/pilotage.sock",
    ]
    assert socket_candidates({}) == [Path("/run/pilotage/pilotage.sock")]
    assert socket_candidates({"PILOTAGE_SOCKET": "/x", "XDG_RUNTIME_DIR": "/run/user/7"}) == [Path("/x")]


def test_a_socket_that_is_closed_to_this_user_is_told_from_one_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = {"PILOTAGE_SOCKET": str(tmp_path / "socket")}
    assert closed_socket(here) is None
    (tmp_path / "socket").touch()
    assert closed_socket(here) is None
    # Root may do everything, and tests run as root too: what others meet is made up.
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert closed_socket(here) == tmp_path / "socket"

    def closed(_: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "lstat", closed)
    assert closed_socket(here) == tmp_path / "socket"
    monkeypatch.setattr(Path, "is_socket", closed)
    assert fetch(here) is None


@contextlib.contextmanager
def daemon(path: Path, body: bytes, status: int = 200) -> Iterator[None]:
    """Something on a socket that answers, in a thread of its own: ``fetch`` runs a loop itself."""
    started, ended = threading.Event(), threading.Event()

    async def answer(request: web.Request) -> web.Response:
        assert request.path == SNAPSHOT_PATH
        return web.Response(body=body, status=status)

    async def run() -> None:
        app = web.Application()
        app.router.add_get("/{any:.*}", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.UnixSite(runner, str(path)).start()
        started.set()
        await asyncio.to_thread(ended.wait)
        await runner.cleanup()

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    started.wait(10)
    try:
        yield
    finally:
        ended.set()
        thread.join()


def test_a_running_daemon_is_asked(tmp_path: Path) -> None:
    path = tmp_path / "pilotage.sock"
    with daemon(path, PACKED):
        snapshot = fetch({"PILOTAGE_SOCKET": str(path)})
    assert snapshot is not None
    assert snapshot.rosters == VIEW.rosters


@pytest.mark.parametrize(("body", "status"), [(b"nonsense", 200), (b"", 200), (PACKED, 500)])
def test_what_cannot_be_understood_is_no_daemon(tmp_path: Path, body: bytes, status: int) -> None:
    path = tmp_path / "pilotage.sock"
    with daemon(path, body, status):
        assert fetch({"PILOTAGE_SOCKET": str(path)}) is None


def test_no_socket_a_dead_one_or_a_file_is_no_daemon(tmp_path: Path) -> None:
    import socket

    path = tmp_path / "pilotage.sock"
    assert fetch({"PILOTAGE_SOCKET": str(path)}) is None
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    assert fetch({"PILOTAGE_SOCKET": str(path)}) is None
    path.unlink()
    path.write_text("")
    assert fetch({"PILOTAGE_SOCKET": str(path)}) is None
