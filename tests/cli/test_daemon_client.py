from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from pilotage.api.snapshot import SNAPSHOT_PATH, pack
from pilotage.cli.daemon_client import closed_socket, fetch
from pilotage.cli.sources import demonstration

if TYPE_CHECKING:
    from collections.abc import Iterator

VIEW = demonstration()
PACKED = pack(VIEW.snapshots, VIEW.table)


def test_an_inaccessible_socket_is_distinguished_from_a_missing_one(
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


def test_the_snapshot_of_a_running_daemon_is_fetched(tmp_path: Path) -> None:
    path = tmp_path / "pilotage.sock"
    with daemon(path, PACKED):
        snapshot = fetch({"PILOTAGE_SOCKET": str(path)})
    assert snapshot is not None
    assert snapshot.snapshots == VIEW.snapshots


@pytest.mark.parametrize(("body", "status"), [(b"nonsense", 200), (b"", 200), (PACKED, 500)])
def test_an_invalid_response_is_not_a_daemon(tmp_path: Path, body: bytes, status: int) -> None:
    path = tmp_path / "pilotage.sock"
    with daemon(path, body, status):
        assert fetch({"PILOTAGE_SOCKET": str(path)}) is None


def test_a_missing_dead_or_regular_file_is_not_a_daemon(tmp_path: Path) -> None:
    import socket

    path = tmp_path / "pilotage.sock"
    assert fetch({"PILOTAGE_SOCKET": str(path)}) is None
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    assert fetch({"PILOTAGE_SOCKET": str(path)}) is None
    path.unlink()
    path.write_text("")
    assert fetch({"PILOTAGE_SOCKET": str(path)}) is None
