"""Where the server of the loading page listens, and who can connect."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
import stat
from typing import TYPE_CHECKING

import pytest
from aiohttp import ClientSession

from pilotage.sleep.page_server import MOST_STREAMS, PageServer
from pilotage.xds.sleeping_routes import ROUTE_HEADER

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


async def never(_: str) -> None:
    await asyncio.Event().wait()


@pytest.fixture
async def server() -> AsyncIterator[PageServer]:
    server = PageServer(lambda _: None, never, lambda _: None)
    yield server
    await server.close()


async def test_only_the_user_of_the_daemon_can_connect_to_the_socket(server: PageServer, tmp_path: Path) -> None:
    path = tmp_path / "page.sock"
    assert await server.start(str(path)) == str(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    await server.close()
    assert not path.exists()


async def test_a_rush_of_browsers_is_accepted(server: PageServer, tmp_path: Path) -> None:
    path = str(tmp_path / "page.sock")
    await server.start(path)
    with contextlib.ExitStack() as stack:
        rush = [stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(200)]
        for one in rush:
            one.settimeout(0)
        assert {one.connect_ex(path) for one in rush} == {0}  # before the event loop can accept any of them


async def test_a_socket_left_by_a_killed_daemon_is_replaced(server: PageServer, tmp_path: Path) -> None:
    path = tmp_path / "page.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    await server.start(str(path))
    _, writer = await asyncio.open_unix_connection(path)
    writer.close()


async def test_a_socket_in_use_and_other_files_are_left_alone(server: PageServer, tmp_path: Path) -> None:
    path, file = tmp_path / "page.sock", tmp_path / "file"
    file.write_text("kept")
    await server.start(str(path))
    other = PageServer(lambda _: None, never, lambda _: None)
    with pytest.raises(OSError, match="another daemon listens there"):
        await other.start(str(path))
    with pytest.raises(OSError, match="in use"):
        await other.start(str(file))
    await other.close()
    assert file.read_text() == "kept"
    assert path.is_socket()


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
async def test_it_listens_on_a_port_too(server: PageServer, host: str) -> None:
    place = await server.start(f"{host}:0")
    assert place.rpartition(":")[0] == host
    async with ClientSession() as client, client.get(f"http://{place}/", headers={ROUTE_HEADER: "shop"}) as response:
        assert response.status == 503


@pytest.mark.parametrize(
    "address", ["", "8080", "host:", ":80", "host:http", "page.sock", "host:\u0663", "host:65536", f"host:{9:099}"]
)
async def test_an_address_in_another_form_is_an_error(server: PageServer, address: str) -> None:
    with pytest.raises(ValueError, match=r"is neither HOST:PORT nor an absolute path"):
        await server.start(address)


@pytest.mark.parametrize(
    ("descriptors", "streams"),
    [(resource.RLIM_INFINITY, MOST_STREAMS), (1_000_000, MOST_STREAMS), (1024, 256), (2, 1)],
)
def test_streams_leave_descriptors_for_engines_and_envoys(
    monkeypatch: pytest.MonkeyPatch, descriptors: int, streams: int
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (descriptors, descriptors))
    assert PageServer(lambda _: None, never, lambda _: None)._most_streams == streams
