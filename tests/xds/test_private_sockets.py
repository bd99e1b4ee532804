"""What an address must be like before the xDS server listens there."""

from __future__ import annotations

import socket
import stat
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import grpc
import pytest

from pilotage.core.errors import ConfigError
from pilotage.xds.private_sockets import bind
from tests.support.rights import public_folder

if TYPE_CHECKING:
    from pathlib import Path


def a_server() -> grpc.Server:
    return grpc.server(ThreadPoolExecutor(1))


def test_tcp_without_tls_is_refused() -> None:
    with pytest.raises(ConfigError, match="would give all routes and private keys to everyone who can connect"):
        bind(a_server(), "127.0.0.1:0", None)


def test_a_socket_is_private_even_before_its_mode_is_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pilotage.xds.private_sockets.Path.chmod", lambda *_: None)
    server = a_server()
    bind(server, f"unix:{tmp_path}/a.sock", None)
    assert stat.S_IMODE((tmp_path / "a.sock").stat().st_mode) == 0o600
    server.stop(0).wait()


def test_a_socket_in_an_open_folder_is_refused() -> None:
    with (
        public_folder() as folder,
        pytest.raises(PermissionError, match="must belong to this user, have mode 0700"),
    ):
        bind(a_server(), f"unix:{folder}/a.sock", None)


def test_the_socket_of_another_daemon_is_not_replaced_but_an_abandoned_one_is(tmp_path: Path) -> None:
    path = str(tmp_path / "a.sock")
    server = a_server()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(path)
        other.listen()
        with pytest.raises(OSError, match="another daemon listens there"):
            bind(server, f"unix:{path}", None)
    bind(server, f"unix:{path}", None)
    server.stop(0).wait()
