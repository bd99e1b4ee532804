"""Clients that take all they can get leave room for others, and Envoy lives on.

The daemon has 500 descriptors, fewer than any attack below asks for. The attacks come from many addresses, because one
address alone gets few connections (``test_one_client``).
"""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from tests.support.front_door import front_door, raw_target, read_response
from tests.support.http2 import CONTINUATION, END_HEADERS, GOAWAY, HEADERS, PING, RST_STREAM, SETTINGS, Http2, fields
from tests.support.ports import free_port
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.front_door import FrontDoor, RawTarget

pytestmark = [pytest.mark.process, pytest.mark.slow]

_DESCRIPTORS: Final = 500
_CLIENTS: Final = 600
_DATA: Final = 0
_WINDOW_UPDATE: Final = 8
_GROWTH: Final = 60 << 20
"""How many bytes Envoy may grow by under any of these attacks. Without limits, most take hundreds of megabytes."""


class Place:
    """A daemon with the routes ``app``, ``other``, one of tcp and one of udp; ``/silent`` of ``app`` never answers."""

    def __init__(self, door: FrontDoor, app: RawTarget, tcp: int, udp: int) -> None:
        self.door, self.app, self.tcp, self.udp = door, app, tcp, udp
        self.envoy = door.envoy
        self.held: list[socket.socket] = []

    def connect(self, port: int = 0) -> socket.socket:
        source = (f"127.0.1.{len(self.held) % 200 + 1}", 0)
        made = socket.create_connection(("127.0.0.1", port or self.door.port), timeout=5, source_address=source)
        self.held.append(made)
        return made

    def flood(self, said: bytes, *, port: int = 0) -> None:
        """Hold more connections than the daemon has descriptors, and say something on each."""
        for _ in range(_CLIENTS):
            with contextlib.suppress(ConnectionError):
                self.connect(port).sendall(said)

    def serves_others(self, *, within: float = 30.0) -> None:
        """Wait until another client is served, and then twice more."""

        def is_served() -> bool:
            with contextlib.suppress(OSError):  # while the gateway refuses connections
                return self.door.get("other").status == 200
            return False

        for _ in range(3):
            wait_until(is_served, lambda: f"others are not served: {self.door.log}", patience=within)
        assert self.door.envoy == self.envoy, "Envoy was started again"

    @property
    def memory(self) -> int:
        """Envoy's resident memory in bytes."""
        status = Path(f"/proc/{self.envoy}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) * 1024


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    tcp, udp = free_port(), free_port(socket.SOCK_DGRAM)
    with raw_target("app") as app, raw_target("other") as other:
        app.silent.add("/silent")
        on_loopback = {"host": "127.0.0.1", "bind": "127.0.0.1"}
        routes = {
            "app": {"host": "127.0.0.1", "port": app.port},
            "other": {"host": "127.0.0.1", "port": other.port},
            "tcp": {**on_loopback, "scheme": "tcp", "port": f"{tcp}:{app.port}"},
            "udp": {**on_loopback, "scheme": "udp", "port": f"{udp}:{app.port}"},
        }
        folder = tmp_path_factory.mktemp("exhaustion")
        # As short as an operator would not choose them, so that the tests need not wait as long.
        limits = {"body_timeout": "60s", "stream_timeout": "120s"}
        with front_door(folder, routes, limits, descriptors=_DESCRIPTORS) as door:
            yield Place(door, app, tcp, udp)


@pytest.fixture
def place(served: Place) -> Iterator[Place]:
    """The daemon, once the connections of the test before are gone."""
    served.serves_others()
    yield served
    for connection in served.held:
        connection.close()
    served.held.clear()
    served.serves_others()


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"GET / HTTP/1.1\r\nHost: ap",
        b"POST / HTTP/1.1\r\nHost: app\r\nContent-Length: 10\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: app\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
        b"GET /silent HTTP/1.1\r\nHost: app\r\n\r\n",
    ],
    ids=["silent", "slow headers", "bodies that never come", "GET with a body", "silent target"],
)
def test_more_clients_than_descriptors_do_not_keep_others_out(place: Place, said: bytes) -> None:
    before = place.memory
    place.flood(said)
    place.serves_others()
    assert place.memory - before < _GROWTH


def test_silent_clients_of_a_tcp_route_do_not_keep_others_out(place: Place) -> None:
    place.flood(b"", port=place.tcp)
    place.serves_others()


def test_datagrams_from_many_addresses_leave_envoy_its_descriptors(place: Place) -> None:
    for _ in range(_CLIENTS):
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        place.held.append(client)
        client.connect(("127.0.0.1", place.udp))
        with contextlib.suppress(ConnectionRefusedError):
            client.send(b"hello")
    place.serves_others()


def test_many_streams_to_a_target_that_never_answers_leave_others_theirs(place: Place) -> None:
    before = place.memory
    for _ in range(20):
        client = Http2(place.connect())
        for number in range(100):
            client.request(2 * number + 1, "app", path="/silent")
    place.serves_others()
    assert place.memory - before < _GROWTH


def test_readiness_is_denied_while_nothing_more_is_accepted(place: Place) -> None:
    _becomes(lambda: place.door.api("/readyz")[0], 200)  # as soon as the connections of earlier tests have ended
    place.flood(b"POST / HTTP/1.1\r\nHost: app\r\nContent-Length: 10\r\n\r\n")
    _becomes(lambda: place.door.api("/readyz")[0], 503)
    assert "refuses connections" in place.door.api("/readyz")[1]
    for connection in place.held:
        connection.close()
    _becomes(lambda: place.door.api("/readyz")[0], 200)


def _becomes(ask: Callable[[], int], expected: int) -> None:
    wait_until(lambda: ask() == expected, patience=20)


def test_beyond_the_heap_limit_requests_are_refused_and_envoy_lives(tmp_path: Path) -> None:
    """The limit is less than Envoy needs to start, so every action of the overload manager is in effect."""
    with raw_target("app") as app:
        route = {"host": "127.0.0.1", "port": app.port}
        with front_door(tmp_path, {"app": route}, {"idle_timeout": "1h"}, memory=8 << 20) as door:
            envoy = door.envoy
            _becomes(lambda: door.get("app").status, 503)
            served = len(app.seen)
            for _ in range(20):
                answer = door.get("app")
                assert (answer.status, answer.headers["connection"]) == (503, "close")
            assert len(app.seen) == served
            _becomes(lambda: door.api("/readyz")[0], 503)
            assert "its memory or its descriptors are nearly used up" in door.api("/readyz")[1]
            with door.connect() as silent:
                silent.settimeout(60)
                assert silent.recv(1) == b""  # it would be open for an hour
            assert door.envoy == envoy


# ---- one connection ------------------------------------------------------------------------------------------------


def test_a_connection_has_at_most_a_hundred_streams(place: Place) -> None:
    with place.door.connect() as connection:
        client = Http2(connection)
        settings = next(payload for kind, flags, _, payload in client.frames() if kind == SETTINGS and not flags)
        pairs = [settings[start : start + 6] for start in range(0, len(settings), 6)]
        found = {int.from_bytes(pair[:2]): int.from_bytes(pair[2:]) for pair in pairs}
        assert found[3] == 100  # SETTINGS_MAX_CONCURRENT_STREAMS
        for number in range(150):
            client.request(2 * number + 1, "app", path="/silent")
        kinds = [kind for kind, _, stream, _ in client.frames(patience=0.5) if kind in {GOAWAY, RST_STREAM}]
        assert len(kinds) == 1 or len(kinds) >= 50


def test_the_windows_of_http2_limit_what_a_client_sends_in_advance(place: Place) -> None:
    before = place.memory
    with place.door.connect() as connection:
        client = Http2(connection)
        granted = {0: 65_535, 1: 65_535}
        client.request(1, "app", end=False, path="/silent", method="POST")
        for kind, flags, stream, payload in client.frames(patience=1):
            if kind == SETTINGS and not flags:
                pairs = [payload[start : start + 6] for start in range(0, len(payload), 6)]
                granted[1] = next(int.from_bytes(it[2:]) for it in pairs if int.from_bytes(it[:2]) == 4)
            elif kind == _WINDOW_UPDATE:
                granted[stream] += int.from_bytes(payload)
        assert granted == {0: 1024 * 1024, 1: 256 * 1024}
        with contextlib.suppress(OSError):
            for _ in range(256):
                client.send(_DATA, 0, 1, b"x" * 16_384)
        assert client.statuses(1)[1] in {"reset", "goaway", "closed"}
    assert place.memory - before < _GROWTH
    place.serves_others()


def test_headers_beyond_60_kib_are_refused_without_keeping_them(place: Place) -> None:
    assert place.door.get("app", headers={"X-Large": "y" * 50_000}).status == 200
    assert place.door.get("app", headers={"X-Large": "y" * 70_000}).status == 431
    many = {f"x-{number}": "" for number in range(2_000)}
    assert place.door.get("app", headers=many).status == 431


def test_a_header_bomb_of_http2_ends_its_connection(place: Place) -> None:
    """One table entry of 4 KB, referred to by one byte each (RFC 7541, 6.1)."""
    before = place.memory
    bomb = b"\x40\x01a" + b"\x7f" + _varint(4_000 - 127) + b"x" * 4_000 + b"\xbe" * 16_000
    with place.door.connect() as connection:
        client = Http2(connection)
        pairs = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "app")]
        block = fields(pairs) + bomb
        with contextlib.suppress(OSError):
            client.send(HEADERS, 1, 1, block[:16_000])
            for start in range(16_000, len(block), 16_000):
                last = start + 16_000 >= len(block)
                client.send(CONTINUATION, END_HEADERS if last else 0, 1, block[start : start + 16_000])
        assert client.statuses(1)[1] in {"4xx", "reset", "goaway", "closed"}
    assert place.memory - before < _GROWTH
    place.serves_others()


def _varint(value: int) -> bytes:
    found = bytearray()
    while value >= 128:
        found.append(value % 128 + 128)
        value //= 128
    return bytes([*found, value])


@pytest.mark.parametrize(
    "frame",
    [
        Http2.frame(PING, 0, 0, b"12345678"),
        Http2.frame(SETTINGS, 0, 0, b""),
        Http2.frame(_DATA, 0, 1, b""),
    ],
    ids=["pings", "settings", "empty data"],
)
def test_a_flood_of_frames_ends_its_connection(place: Place, frame: bytes) -> None:
    before = place.memory
    with place.door.connect() as connection:
        client = Http2(connection)
        client.request(1, "app", end=False, path="/silent")
        connection.settimeout(10)
        assert not _takes(connection, frame * 1_000, 400)
    assert place.memory - before < _GROWTH
    place.serves_others()


def _takes(connection: socket.socket, data: bytes, times: int) -> bool:
    """Return whether all of this is read. Answers are not read, so a peer that stops reading has had enough, too."""
    try:
        for _ in range(times):
            connection.sendall(data)
    except OSError:
        return False
    return True


def test_rapid_resets_end_their_connection(place: Place) -> None:
    with place.door.connect() as connection:
        client = Http2(connection)
        connection.settimeout(10)
        with contextlib.suppress(OSError):
            for number in range(20_000):
                client.request(2 * number + 1, "app", path="/silent")
                client.send(RST_STREAM, 0, 2 * number + 1, (8).to_bytes(4))
        ended = [kind for kind, *_ in client.frames(patience=2) if kind == GOAWAY]
        assert ended or _is_closed(connection)
    place.serves_others()


def _is_closed(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except TimeoutError:
        return False
    except OSError:
        return True


def test_a_client_that_reads_nothing_costs_no_more_than_buffers(place: Place) -> None:
    before = place.memory
    place.app.answers["/large"] = b"HTTP/1.1 200 OK\r\nX-Large: " + b"z" * 30_000 + b"\r\n"
    ask = b"GET /large HTTP/1.1\r\nHost: app\r\n\r\n"
    for _ in range(40):
        connection = place.connect()
        connection.setblocking(False)
        with contextlib.suppress(OSError):
            connection.send(ask * 500)
    place.serves_others()
    assert place.memory - before < _GROWTH


def test_few_allowed_connections_are_freed_though_there_are_descriptors(tmp_path: Path) -> None:
    with raw_target("other") as other:
        routes = {"other": {"host": "127.0.0.1", "port": other.port}}
        with front_door(tmp_path, routes, {"max_connections": 40}) as door:
            place = Place(door, other, 0, 0)
            for _ in range(80):
                with contextlib.suppress(ConnectionError):
                    place.connect()
            place.serves_others()
            for connection in place.held:
                connection.close()


# ---- what lasts -----------------------------------------------------------------------------------------------------


def test_idle_limits_differ_for_bodies_event_streams_and_tcp_connections(
    tmp_path: Path,
) -> None:
    tcp = free_port()
    with raw_target("app") as app:
        app.silent.add("/events")
        app.answers["/chat"] = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        route = {"host": "127.0.0.1", "port": app.port}
        stream = {**route, "bind": "127.0.0.1", "scheme": "tcp", "port": f"{tcp}:{app.port}"}
        limits = {"idle_timeout": "1s", "body_timeout": "1s", "stream_timeout": "5s"}
        with front_door(tmp_path, {"app": route, "tcp": stream}, limits) as door, contextlib.ExitStack() as stack:
            lasting = []
            idle = stack.enter_context(socket.create_connection(("127.0.0.1", tcp), timeout=30))
            for said in (
                b"GET /chat HTTP/1.1\r\nHost: app\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
                b"GET /events HTTP/1.1\r\nHost: app\r\nAccept: text/event-stream\r\n\r\n",
            ):
                connection = stack.enter_context(door.connect())
                connection.sendall(said)
                if b"/chat" in said:
                    assert b" 101 " in connection.recv(4096)
                lasting.append(connection)
            body = stack.enter_context(door.connect())
            body.sendall(b"POST / HTTP/1.1\r\nHost: app\r\nContent-Length: 10\r\n\r\n")
            silent = stack.enter_context(door.connect())
            assert b" 408 " in read_response(body)
            assert read_response(silent) == b""
            for connection in lasting:
                connection.settimeout(0.5)
                with pytest.raises(TimeoutError):
                    connection.recv(1)
            for connection in lasting:
                connection.settimeout(30)
                assert b" 200 " not in read_response(connection)
            idle.sendall(b"GET / HTTP/1.1\r\nHost: app\r\n\r\n")
            assert b" 200 " in read_response(idle)
