from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

import pytest

from pilotage.api.listen import Listen, is_loopback, parse_listen, port_error, remove_socket, start_socket
from pilotage.core.errors import ConfigError
from tests.support.ports import free_port


@pytest.mark.parametrize(
    ("text", "listen", "shown", "local"),
    [
        ("8888", Listen(host="127.0.0.1", port=8888), "http://127.0.0.1:8888", True),
        (":8888", Listen(host="127.0.0.1", port=8888), "http://127.0.0.1:8888", True),
        ("localhost:1", Listen(host="localhost", port=1), "http://localhost:1", True),
        ("http://[::1]:1/", Listen(host="::1", port=1), "http://[::1]:1", True),
        ("0.0.0.0:80", Listen(host="0.0.0.0", port=80), "http://0.0.0.0:80", False),
        ("unix:///run/x.sock", Listen(path="/run/x.sock"), "unix:///run/x.sock", True),
    ],
)
def test_places_are_read(text: str, listen: Listen, shown: str, *, local: bool) -> None:
    assert parse_listen(text) == listen
    assert (str(listen), listen.is_local) == (shown, local)


@pytest.mark.parametrize("text", ["", "host", "host:port", "1.2.3.4:99999", "unix://x.sock", "unix:///" + "x" * 108])
def test_an_invalid_listen_address_is_an_error_with_examples(text: str) -> None:
    with pytest.raises(ConfigError, match=r"is not an address for the API; write "):
        parse_listen(text)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost", "LOCALHOST", "shop.localhost"])
def test_these_mean_this_machine(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["", "0.0.0.0", "::", "10.0.0.1", "localhost.example.com", "example.com"])
def test_these_do_not(host: str) -> None:
    assert not is_loopback(host)


async def test_a_socket_is_for_its_owner_and_group_and_a_dead_one_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "api.sock"
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    mask = os.umask(0)
    try:
        server = await start_socket(asyncio.Protocol, str(path))
        assert path.stat().st_mode & 0o777 == 0o660
        assert os.umask(0) == 0
        server.close()
    finally:
        os.umask(mask)
    remove_socket(str(path))
    assert not path.exists()
    remove_socket(str(path))


async def test_the_folder_of_a_socket_is_made(tmp_path: Path) -> None:
    server = await start_socket(asyncio.Protocol, str(tmp_path / "pilotage" / "api.sock"))
    assert (tmp_path / "pilotage" / "api.sock").is_socket()
    server.close()


async def test_a_socket_in_use_is_left_alone(tmp_path: Path) -> None:
    closed = asyncio.Event()

    class Other(asyncio.Protocol):
        def connection_lost(self, exc: BaseException | None) -> None:
            closed.set()

    path = str(tmp_path / "api.sock")
    server = await start_socket(Other, path)
    with pytest.raises(OSError, match="another daemon listens there"):
        await start_socket(asyncio.Protocol, path)
    assert Path(path).is_socket()
    await closed.wait()
    server.close()


async def test_a_regular_file_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "precious"
    file.write_text("data")
    with pytest.raises(OSError, match="the path exists and is not a socket"):
        await start_socket(asyncio.Protocol, str(file))
    assert file.read_text() == "data"


def test_a_port_with_reuseport_counts_as_in_use() -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        assert port_error("127.0.0.1", other.getsockname()[1]) == "Address already in use"
    assert port_error("127.0.0.1", free_port()) == ""
    assert "assign requested address" in port_error("192.0.2.1", 80)
