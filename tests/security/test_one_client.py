"""One client that opens all the connections it can get keeps no other client out.

Forty connections are allowed, eight of one client; the attacker opens sixty. Every client is an address of loopback.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Final

import pytest
import trustme

from tests.support.front_door import Answer, front_door, raw_target, read_response
from tests.support.http2 import Http2
from tests.support.ports import free_port
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.front_door import FrontDoor

pytestmark = [pytest.mark.process, pytest.mark.slow]

_OTHER: Final = "127.0.0.3"
_TRUSTED: Final = "127.0.0.9"
_CLIENTS: Final = 60
_ALLOWED: Final = 8
_TRIES: Final = 34
_REQUEST: Final = b"GET / HTTP/1.1\r\nHost: app\r\n\r\n"


class Place:
    """A daemon with the routes ``app`` and ``tcp``, on IPv4, IPv6 and TLS; ``/silent`` of ``app`` never answers."""

    def __init__(self, door: FrontDoor, tcp: int) -> None:
        self.door, self.tcp = door, tcp
        self.held: list[socket.socket] = []
        self.attackers = 0

    @property
    def attacker(self) -> str:
        """The attacker's address; another one for each test, so that no connection of the test before counts."""
        return f"127.0.1.{self.attackers}"

    def connect(self, source: str, port: int) -> socket.socket:
        made = socket.create_connection(("127.0.0.1", port), timeout=10, source_address=(source, 0))
        self.held.append(made)
        return made

    def flood(
        self, source: str, port: int, said: bytes = b"", number: int = _CLIENTS, *, most: int = _ALLOWED
    ) -> list[socket.socket]:
        """Open connections and say something on each; return those that are open once at most ``most`` are."""
        made = []
        for _ in range(number):
            with contextlib.suppress(ConnectionError):
                made.append(self.connect(source, port))
                made[-1].sendall(said)
        deadline = time.monotonic() + 20
        while len(made := [connection for connection in made if not _is_closed(connection)]) > most:
            if time.monotonic() > deadline:
                self.release()
                raise AssertionError(f"{len(made)} connections stay open")
        return made

    def get(self, source: str) -> int:
        """Return the status that a client gets; 0 if it is refused."""
        try:
            with socket.create_connection(("127.0.0.1", self.door.port), timeout=10, source_address=(source, 0)) as it:
                it.sendall(b"GET / HTTP/1.1\r\nHost: app\r\nConnection: close\r\n\r\n")
                return Answer(read_response(it)).status
        except OSError:
            return 0

    def get_securely(self, source: str) -> int:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with self.connect(source, self.door.https_port) as plain:
            with context.wrap_socket(plain, server_hostname="app.example.org") as connection:
                connection.sendall(b"GET / HTTP/1.1\r\nHost: app\r\nConnection: close\r\n\r\n")
                return Answer(read_response(connection)).status

    def release(self) -> None:
        for connection in self.held:
            connection.close()
        self.held.clear()


def _answers(connection: socket.socket) -> bool:
    connection.settimeout(10)
    try:
        return Answer(read_response(connection)).status == 200
    except OSError:
        return False


def _is_closed(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        return connection.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("one-client")
    made = trustme.CA().issue_cert("app.example.org")
    made.cert_chain_pems[0].write_to_path(folder / "app.pem")
    made.private_key_pem.write_to_path(folder / "app-key.pem")
    tcp = free_port()
    with raw_target("app") as app:
        app.silent.add("/silent")
        app.answers["/chat"] = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        routes = {
            "app": {"host": "127.0.0.1", "port": app.port},
            "tcp": {"host": "127.0.0.1", "bind": "127.0.0.1", "scheme": "tcp", "port": f"{tcp}:{app.port}"},
        }
        settings = {
            "max_connections": 40,
            "trusted_proxies": [f"{_TRUSTED}/32"],
            "tls": [{"cert_file": "app.pem", "key_file": "app-key.pem"}],
        }
        with front_door(folder, routes, settings) as door:
            yield Place(door, tcp)


@pytest.fixture
def place(served: Place) -> Iterator[Place]:
    """The daemon, without connections of the test before."""
    served.attackers += 1
    yield served
    served.release()
    deadline = time.monotonic() + 20
    while not all(map(_answers, served.flood(served.attacker, served.door.port, _REQUEST, number=_ALLOWED))):
        assert time.monotonic() < deadline, "connections are counted though they are closed"
        served.release()
    served.release()


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"GET / HTTP/1.1\r\nHost: ap",
        b"POST / HTTP/1.1\r\nHost: app\r\nContent-Length: 10\r\n\r\n",
        b"GET /silent HTTP/1.1\r\nHost: app\r\n\r\n",
        b"GET /chat HTTP/1.1\r\nHost: app\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    ],
    ids=["silent", "slow headers", "bodies that never come", "silent target", "websockets"],
)
def test_a_client_with_many_connections_keeps_no_other_out(place: Place, said: bytes) -> None:
    assert len(place.flood(place.attacker, place.door.port, said)) <= _ALLOWED
    assert [place.get(_OTHER) for _ in range(_TRIES)] == [200] * _TRIES


@pytest.mark.parametrize("said", [b"", b"\x16\x03\x01\x02"], ids=["silent", "half a greeting"])
def test_a_client_that_begins_many_handshakes_keeps_no_other_out(place: Place, said: bytes) -> None:
    assert len(place.flood(place.attacker, place.door.https_port, said)) == _ALLOWED
    assert [place.get_securely(_OTHER) for _ in range(_TRIES)] == [200] * _TRIES


def test_many_clients_that_begin_handshakes_keep_no_other_out_for_long(place: Place) -> None:
    for number in range(_CLIENTS):
        place.flood(f"127.0.2.{number + 1}", place.door.https_port, number=1)
    deadline, served = time.monotonic() + 15, 0
    while served < 3:
        assert time.monotonic() < deadline
        with contextlib.suppress(OSError):
            served += place.get_securely(_OTHER) == 200


def test_a_client_with_many_connections_to_a_tcp_route_keeps_no_other_out(place: Place) -> None:
    assert len(place.flood(place.attacker, place.tcp)) == _ALLOWED
    for _ in range(_TRIES):
        with place.connect(_OTHER, place.tcp) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: app\r\n\r\n")
            assert Answer(read_response(connection)).status == 200


def test_the_connections_of_a_client_to_all_listeners_count_together(place: Place) -> None:
    assert len(place.flood(place.attacker, place.tcp, number=5)) == 5
    assert len(place.flood(place.attacker, place.door.https_port, most=3)) == 3
    assert place.get(place.attacker) == 0
    assert place.get(_OTHER) == 200
    for connection in place.held[:5]:
        connection.close()
    wait_until(lambda: place.get(place.attacker) == 200, patience=10)


def test_many_streams_on_the_connections_of_one_client_keep_no_other_out(place: Place) -> None:
    for _ in range(_ALLOWED):
        client = Http2(place.connect(place.attacker, place.door.port))
        for number in range(100):
            client.request(2 * number + 1, "app", path="/silent")
    assert [place.get(_OTHER) for _ in range(_TRIES)] == [200] * _TRIES


def test_a_trusted_proxy_may_open_as_many_connections_as_it_needs(place: Place) -> None:
    connections = place.flood(_TRUSTED, place.door.port, _REQUEST, number=3 * _ALLOWED, most=3 * _ALLOWED)
    assert [_answers(connection) for connection in connections] == [True] * 3 * _ALLOWED


def test_the_log_says_once_that_a_client_is_refused(place: Place) -> None:
    place.flood(place.attacker, place.door.port)
    wait_until(lambda: "gateway.max_connections_per_client" in place.door.log, patience=20)
    place.flood(place.attacker, place.door.port)
    for number in range(5):  # until all connections are in use, which the daemon notices when it looks again
        place.flood(f"127.0.3.{number}", place.door.port, number=_ALLOWED)
    wait_until(lambda: place.door.api("/readyz")[0] == 503, patience=20)
    assert place.door.log.count("gateway.max_connections_per_client") == 1


def test_the_limit_holds_for_connections_that_several_threads_accept_at_the_same_time(served: Place) -> None:
    for number in range(1, 101):
        served.flood(f"127.0.2.{number}", served.door.port, b"GET /silent HTTP/1.1\r\nHost: app\r\n\r\n")
        served.release()


def test_an_envoy_that_outlives_the_daemon_limits_clients_after_its_adoption_too(tmp_path: Path) -> None:
    with raw_target("app") as app:
        app.silent.add("/silent")
        routes = {"app": {"host": "127.0.0.1", "port": app.port}}
        try:
            for _ in range(2):
                with front_door(tmp_path, routes, {"max_connections": 40, "keep": True}) as door:
                    place = Place(door, 0)
                    assert (
                        len(place.flood(place.attacker, door.port, b"GET /silent HTTP/1.1\r\nHost: app\r\n\r\n"))
                        == _ALLOWED
                    )
                    assert place.get(_OTHER) == 200
                    place.release()
            assert "adopted the Envoy" in (tmp_path / "log").read_text()
        finally:
            options = ["--config", f"{tmp_path}/pilotage.yml", "--api", f"unix://{tmp_path}/api.sock"]
            subprocess.run([sys.executable, "-m", "pilotage", "stop", *options], check=True, capture_output=True)
