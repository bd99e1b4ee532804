"""What Envoys report about odd messages of targets and clients: a real Envoy, and a target that sends bytes."""

from __future__ import annotations

import asyncio
import contextlib
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from envoy.data.accesslog.v3 import accesslog_pb2

from pilotage.xds.failures import CAUSES, Failure, read_failure
from tests.support.gateway import route
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.gateway import Gateway
    from tests.xds.conftest import Envoy

TROUBLESHOOTING = Path(__file__).parents[2] / "docs" / "how-to" / "troubleshooting.md"
OK = b"HTTP/1.1 200 OK\r\n"
INVALID = "the target sent an invalid response"
BROKEN = "the target broke off a response"
CLOSED = "the target closed the connection without a response"
LATE = "the target did not respond in time"
RESPONSES = {
    "two-lengths": (OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab", 502, INVALID),
    "length-and-chunks": (OK + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 502, INVALID),
    "gzip": (OK + b"Transfer-Encoding: gzip\r\n\r\nabc", 502, INVALID),
    "body-of-204": (b"HTTP/1.1 204 No\r\nContent-Length: 3\r\n\r\nabc", 502, INVALID),
    "large": (OK + b"X: " + b"a" * 300_000 + b"\r\n\r\n", 502, INVALID),
    "many": (OK + b"X: a\r\n" * 1_001 + b"\r\n", 502, INVALID),
    "character": (OK + b"X: a\x01b\r\nContent-Length: 0\r\n\r\n", 502, INVALID),
    "ssh": (b"SSH-2.0-OpenSSH_9.2\r\n", 502, INVALID),
    "closed": (b"", 503, CLOSED),
    "short": (OK + b"Content-Length: 100\r\n\r\nabc", 200, BROKEN),
    "chunk": (OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nabc", 200, BROKEN),
}
NOT_HTTP = "something that is not valid HTTP"
REQUESTS = {
    b"GET / HTTP/1.1\r\nHost: app\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n": NOT_HTTP,
    b"\x16\x03\x01\x00\x02\x02\x16\r\n\r\n": NOT_HTTP,
    b"POST / HTTP/1.1\r\nHost: app\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n": (
        "both Content-Length and Transfer-Encoding"
    ),
    b"GET / HTTP/1.1\r\nHost: app\r\nX: " + b"a" * 70_000 + b"\r\n\r\n": "headers of more than 60 KiB",
    b"GET / HTTP/1.1\r\nHost: app\r\n" + b"X: a\r\n" * 1_001 + b"\r\n": "more than 1,000 headers",
    b"GET / HTTP/1.1\r\nHost: app\r\nX: a\x01\r\n\r\n": "a control character in a header",
    b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n": "an invalid Host",
    b"POST / HTTP/1.1\r\nHost: app\r\nTransfer-Encoding: gzip\r\n\r\n": "an unknown Transfer-Encoding",
    b"GET /a%00b HTTP/1.1\r\nHost: app\r\n\r\n": "an invalid path",
}


@contextlib.asynccontextmanager
async def odd_target() -> AsyncIterator[int]:
    """Run a target that responds with the bytes in ``RESPONSES`` to ``/NAME``, and not at all to ``/late``."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError), contextlib.closing(writer):
            first = await reader.read(1)
            if first != b"\x16":
                head = first + await reader.readuntil(b"\r\n\r\n")
                name = head.split(b" ")[1].decode().strip("/").partition("?")[0]
                if name == "late":
                    await reader.read()
                    return
                writer.write(RESPONSES[name][0] if name in RESPONSES else OK + b"\r\n")
            else:
                writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            await writer.drain()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


async def _send(gw: Gateway, message: bytes) -> int:
    """Send a request as it is, and return the status of the response."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(gw.url.rpartition(":")[2]))
    writer.write(message)
    await writer.drain()
    line = await reader.readline()
    writer.close()
    return int(line.split(b" ")[1])


@pytest.mark.slow
async def test_every_odd_message_is_reported_in_words(envoy: Envoy) -> None:
    found: dict[str, Failure] = {}
    async with odd_target() as port, envoy(body_timeout=1.0, retries=1) as gw:
        gw.ads.failures.on_failure = lambda it: found.setdefault(it.request or it.cause.words, it)
        await gw.publish(
            route("app", port),
            route("late", port, response_header_timeout=0.3),
            route("tls", port, scheme="https", ssl_server_name="x"),
            route("h2", port, scheme="h2c"),
        )
        for name, (_, status, _) in RESPONSES.items():
            request = f"GET /{name}?token=secret HTTP/1.1\r\nHost: App:80\r\n\r\n"
            assert await _send(gw, request.encode()) == status, name
        statuses = [(await gw.ask(name, f"/{name}")).status for name in ("late", "tls", "h2")]
        assert statuses == [504, 503, 502]
        assert {await _send(gw, message) for message in REQUESTS} == {400, 431, 501}
        assert await _send(gw, b"POST /late HTTP/1.1\r\nHost: app\r\nContent-Length: 9\r\n\r\na") == 408
        wanted = {f"GET App:80/{name}": words for name, (_, _, words) in RESPONSES.items()}
        wanted |= {"GET late/late": LATE, "GET tls/tls": "the TLS handshake with the target failed"}
        wanted |= {"GET h2/h2": INVALID, "POST app/late": "a client stopped sending its request"}
        clients = {f"a client sent {words}" for words in REQUESTS.values()}
        await until(lambda: len(found) >= len(wanted) + len(clients))
        assert {request: found.pop(request).cause.words for request in wanted} == wanted
        assert {it.cause.words for it in found.values()} == clients


def test_all_causes_are_in_the_documentation() -> None:
    text = TROUBLESHOOTING.read_text()
    assert [it.words for it in CAUSES if f"| {it.words} |" not in text] == []


def entry(details: str = "", status: int = 502, **flags: bool) -> accesslog_pb2.HTTPAccessLogEntry:
    found = accesslog_pb2.HTTPAccessLogEntry()
    found.response.response_code_details = details
    found.response.response_code.value = status
    for name in flags:
        setattr(found.common_properties.response_flags, name, True)
    return found


def test_what_is_not_an_odd_message_is_no_failure() -> None:
    assert read_failure(entry()) is None
    assert read_failure(entry(status=101, stream_idle_timeout=True)) is None  # such as an idle WebSocket
    assert read_failure(entry(no_healthy_upstream=True)) is None


@pytest.mark.parametrize(
    ("details", "status", "flag", "words"),
    [
        ("upstream_reset_before_response_started{remote_reset}", 503, "upstream_remote_reset", CLOSED),
        ("upstream_reset_after_response_started{remote_reset}", 200, "upstream_remote_reset", BROKEN),
        ("stream_idle_timeout", 504, "stream_idle_timeout", LATE),
        ("upstream_response_timeout", 504, "upstream_request_timeout", LATE),
        ("http2.unknown", 400, "downstream_protocol_error", f"a client sent {NOT_HTTP}"),
        ("http2.headers_too_large{x}", 431, "downstream_protocol_error", "a client sent headers of more than 60 KiB"),
    ],
)
def test_flags_and_details_have_a_cause(details: str, status: int, flag: str, words: str) -> None:
    failure = read_failure(entry(details, status, **{flag: True}))
    assert failure is not None
    assert (failure.cause.words, failure.status) == (words, status)
    assert failure.cause.is_clients is words.startswith("a client")


def test_what_others_have_sent_is_escaped_and_cut() -> None:
    given = entry(downstream_protocol_error=True)
    given.request.authority = "a\x1b[31m\nb" * 1_000
    given.request.path = "/\u202eevil?token=secret"
    given.common_properties.upstream_cluster = "route/shop\n"
    given.common_properties.upstream_remote_address.pipe.path = "/tmp/\n" * 100
    given.common_properties.downstream_remote_address.socket_address.address = "::1"
    failure = read_failure(given)
    assert failure is not None
    texts = (failure.route, failure.request, failure.target, failure.client)
    assert all(it.isprintable() and len(it) <= 210 for it in texts)
    assert (failure.route, failure.client) == ("shop\\n", "::1")
    assert "secret" not in failure.request
    assert re.match(r"a\\x1b", failure.request)
    given.common_properties.custom_tags["route"] = "*.shop"
    given.request.original_path = "/before"
    again = read_failure(given)
    assert again is not None
    assert again.route == "*.shop"
    assert again.request.endswith("/before")


@pytest.mark.parametrize(("cluster", "name"), [("pool/all", "all"), ("shared/http/safe", ""), ("", "")])
def test_the_cluster_names_the_route_that_is_not_counted(cluster: str, name: str) -> None:
    given = entry(upstream_protocol_error=True)
    given.common_properties.upstream_cluster = cluster
    failure = read_failure(given)
    assert failure is not None
    assert failure.route == name
