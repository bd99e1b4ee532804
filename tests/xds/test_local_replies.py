from __future__ import annotations

import asyncio
import contextlib
import json
import re
import socket
import ssl
import threading
from typing import TYPE_CHECKING, Any

import grpc.aio
import pytest
import trustme
from aiohttp import web
from envoy.config.cluster.v3 import cluster_pb2

from pilotage.routes.route import Endpoint
from pilotage.xds.clusters import own_clusters
from pilotage.xds.local_replies import local_replies
from pilotage.xds.options import GatewayOptions
from pilotage.xds.resources import CLUSTER, Resource, resource
from tests.support.gateway import Gateway, becomes, route, server_context, target
from tests.support.ports import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from pilotage.xds.backend import Backend
    from tests.xds.conftest import Envoy

BROWSER = {"Accept": "text/html,application/xhtml+xml,application/json;q=0.9,*/*;q=0.8"}
PROGRAM = {"Accept": "application/json"}


def _bodies(options: GatewayOptions) -> list[str]:
    found = [it.body_format_override for it in local_replies(options).mappers]
    return [it.text_format_source.inline_string or str(dict(it.json_format)) for it in found]


@pytest.mark.parametrize("debug", [False, True])
def test_pages_load_no_external_resources_and_only_debug_pages_mention_commands(*, debug: bool) -> None:
    bodies = _bodies(GatewayOptions(debug=debug))
    pages = [body for body in bodies if body.startswith("<!doctype html>")]
    assert len(pages) > 10
    for page in pages:
        assert not re.search(r"https?:|src=|@import|url\(", page)
        assert "color-scheme:light dark" in page
        assert ("pilotage explain NAME" in page) is debug
    assert any("pilotage explain NAME" in body for body in bodies if body not in pages) is debug


def test_no_response_passes_on_texts_or_details_of_envoy() -> None:
    for body in _bodies(GatewayOptions(debug=True)):
        assert "DETAILS" not in body
        assert "TRANSPORT_FAILURE" not in body


def test_what_may_soon_change_is_not_stored_and_says_when_to_ask_again() -> None:
    found: dict[bool, list[dict[str, str]]] = {True: [], False: []}
    for it in local_replies(GatewayOptions()).mappers:
        body = it.body_format_override.text_format_source.inline_string
        if body.startswith("<!doctype html>"):
            headers = {added.header.key: added.header.value for added in it.headers_to_add}
            found['<meta http-equiv="refresh" content="5">' in body].append(headers)
    assert found[False] == [{}, {}]  # no such name, at all or at this address
    assert len(found[True]) > 10
    assert all(headers == {"retry-after": "5", "cache-control": "no-store"} for headers in found[True])


async def _check(gw: Gateway, host: str, sentence: str, status: int = 503, **how: Any) -> None:
    """Check what a browser, a program and others are told."""
    page = await gw.ask(host, headers=BROWSER, **how)
    assert (page.status, page.headers["Content-Type"]) == (status, "text/html; charset=utf-8")
    assert f"<small>{status}</small><h1>{sentence}</h1>".encode() in page.body
    assert (b'http-equiv="refresh" content="5"' in page.body) is (status != 404)
    assert page.headers.get("Retry-After") == (None if status == 404 else "5")
    document = await gw.ask(host, headers=PROGRAM, **how)
    assert (document.status, document.headers["Content-Type"]) == (status, "application/json")
    assert document.json == {"status": status, "error": sentence}
    text = await gw.ask(host, **how)
    assert (text.status, text.headers["Content-Type"]) == (status, "text/plain; charset=utf-8")
    assert text.body.decode().startswith(f"{sentence} ")
    assert text.body.endswith(b".\n")
    for answer in (page, document, text):
        assert b"upstream" not in answer.body


async def test_a_host_without_a_route_is_unknown(envoy: Envoy) -> None:
    async with envoy() as gw:
        await _check(gw, "nothing", "No service has this name.", 404)


@pytest.mark.parametrize("own", [False, True])
async def test_a_service_that_refuses_connections(envoy: Envoy, *, own: bool) -> None:
    async with envoy() as gw:
        await gw.publish(route("app", free_port(), **({"max_conns_per_host": 9} if own else {})))
        await _check(gw, "app", "This service refuses connections.")


@pytest.mark.parametrize(
    ("sentence", "fields"),
    [
        ("This service has no endpoint.", {"endpoints": ()}),
        ("This service is asleep, and the gateway may not wake it.", {"endpoints": (), "idle_watcher": True}),
        ("This service is starting.", {"endpoints": (Endpoint("127.0.0.1", 9, state="waiting"),)}),
    ],
)
async def test_a_service_without_an_endpoint_says_why(envoy: Envoy, sentence: str, fields: dict[str, Any]) -> None:
    async with envoy() as gw:
        await gw.publish(route("app", **fields))
        await _check(gw, "app", sentence)


async def test_a_cluster_without_a_healthy_endpoint(envoy: Envoy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Envoy sends requests to failing endpoints if there are no others, so this leaves it none."""

    def empty(backend: Backend, options: GatewayOptions) -> list[Resource]:
        found = []
        for it in own_clusters(backend, options):
            message = cluster_pb2.Cluster.FromString(it.body)
            message.ClearField("load_assignment")
            message.load_assignment.cluster_name = it.name
            found.append(resource(CLUSTER, it.name, message, answers=it.answers))
        return found

    monkeypatch.setattr("pilotage.xds.stream_filters.own_clusters", empty)
    async with envoy() as gw:
        await gw.publish(route("app", 9, max_conns_per_host=9))
        await _check(gw, "app", "This service has no healthy endpoint.")


async def test_a_service_that_does_not_respond_in_time(envoy: Envoy) -> None:
    checked = asyncio.Event()

    async def slow(_: web.Request) -> web.Response:
        await checked.wait()
        return web.Response()

    async with target() as it, envoy() as gw:
        it.handlers["/"] = slow
        await gw.publish(route("app", it.port, response_header_timeout=0.1))
        await _check(gw, "app", "This service did not respond in time.", 504)
        checked.set()


async def test_a_service_that_accepts_no_connection_in_time(envoy: Envoy) -> None:
    with socket.socket() as full, contextlib.ExitStack() as stack:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(3):  # fill its queue
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        async with envoy(connect_timeout=0.4, retries=0) as gw:
            await gw.publish(route("app", full.getsockname()[1]))
            await _check(gw, "app", "This service did not accept a connection in time.")


async def test_a_service_that_closes_the_connection(envoy: Envoy) -> None:
    async def close(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(close, "127.0.0.1", 0)
    async with server, envoy() as gw:
        await gw.publish(route("app", server.sockets[0].getsockname()[1]))
        await _check(gw, "app", "This service closed the connection without a response.")


_ODD = {
    "another protocol": b"220 mail ESMTP\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc",
    "a length and chunks": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a header that is too long": b"HTTP/1.1 200 OK\r\nX: " + b"y" * 300_000 + b"\r\n\r\n",
    "too many headers": b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1100 + b"\r\n",
    "a header without a name": b"HTTP/1.1 200 OK\r\n: x\r\n\r\n",
    "a space in a name": b"HTTP/1.1 200 OK\r\nX Y: z\r\n\r\n",
    "a control character": b"HTTP/1.1 200 OK\r\nX: a\x01\r\n\r\n",
    "a body with status 204": b"HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nok",
    "another encoding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
}
"""The faults that the section "Odd messages" of the troubleshooting page lists."""


async def test_a_service_whose_responses_are_invalid(envoy: Envoy, tmp_path: Path) -> None:
    said = b""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(said)
        await writer.drain()
        writer.close()

    log = tmp_path / "access.log"
    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server, envoy(access_log=str(log)) as gw:
        await gw.publish(route("app", server.sockets[0].getsockname()[1]))
        for fault, said in _ODD.items():  # noqa: B007  the server sends it
            answer = await gw.ask("app", f"/{fault.replace(' ', '-')}", "POST")  # not repeated, unlike GET
            assert (answer.status, answer.body.decode()) == (502, "This service sent an invalid response. " + _AGAIN)
        said = _ODD["another protocol"]
        await _check(gw, "app", "This service sent an invalid response.", 502, method="POST")
        await becomes(lambda: _reasons(log), {"upstream_reset_before_response_started{protocol_error}"})


_AGAIN = "Try again in a moment.\n"


async def _reasons(log: Path) -> set[str]:
    """Return what the access log says about failures once it has all of them."""
    found = [json.loads(line) for line in log.read_text().splitlines()]
    return {line["why"] for line in found if line["status"] >= 500} if len(found) >= len(_ODD) else set()


async def test_a_service_whose_certificate_is_refused(envoy: Envoy, authority: trustme.CA, tmp_path: Path) -> None:
    trustme.CA().cert_pem.write_to_path(tmp_path / "other.pem")
    async with _tls_server(server_context(authority, "127.0.0.1")) as port, envoy() as gw:
        await gw.publish(route("app", port, scheme="https", ssl_trusted_certificate=str(tmp_path / "other.pem")))
        await _check(gw, "app", "The secure connection to this service failed, because a certificate was refused.")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("sends", [False, True])
async def test_a_service_that_refuses_the_certificate_of_the_gateway(
    envoy: Envoy, authority: trustme.CA, tmp_path: Path, version: ssl.TLSVersion, *, sends: bool
) -> None:
    context = server_context(authority, "127.0.0.1")
    context.verify_mode, context.maximum_version = ssl.CERT_REQUIRED, version
    authority.configure_trust(context)
    mine = trustme.CA().issue_cert("gateway")
    mine.cert_chain_pems[0].write_to_path(tmp_path / "mine.pem")
    mine.private_key_pem.write_to_path(tmp_path / "mine.key")
    pair = {"ssl_certificate": str(tmp_path / "mine.pem"), "ssl_certificate_key": str(tmp_path / "mine.key")}
    with _refusing(context) as port:
        async with envoy() as gw:
            await gw.publish(route("app", port, scheme="https", no_tls_verify=True, **(pair if sends else {})))
            # Without a certificate, it says no more than that the handshake failed.
            why = ", because a certificate was refused." if sends else "."
            await _check(gw, "app", f"The secure connection to this service failed{why}")


@contextlib.contextmanager
def _refusing(context: ssl.SSLContext) -> Iterator[int]:
    """Run a server that sends its alert before it closes the connection, which asyncio's does not."""

    def refuse() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                try:
                    context.wrap_socket(connection, server_side=True)
                except ssl.SSLError:
                    connection.shutdown(socket.SHUT_WR)
                    while connection.recv(4096):
                        pass

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=refuse)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


async def test_a_service_that_does_not_speak_tls(envoy: Envoy) -> None:
    async with target() as it, envoy() as gw:
        await gw.publish(route("app", it.port, scheme="https", ssl_server_name="app", no_tls_verify=True))
        await _check(gw, "app", "The secure connection to this service failed.")


@contextlib.asynccontextmanager
async def _tls_server(context: ssl.SSLContext) -> AsyncIterator[int]:
    async def close(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(close, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def test_a_service_that_does_not_come_back_while_its_requests_wait(envoy: Envoy) -> None:
    async with envoy() as gw:
        await gw.publish(route("app", endpoints=(), hold=0.2))
        await _check(gw, "app", "This service did not start in time.")


async def test_a_route_that_envoy_rejects(envoy: Envoy) -> None:
    async with target() as it, envoy() as gw:
        await gw.publish(route("app", it.port, scheme="https", ssl_trusted_certificate="/nowhere.pem"))
        await _check(gw, "app", "The gateway rejected the configuration of this service.")


async def test_an_auth_service_that_fails_and_what_one_responds(envoy: Envoy) -> None:
    status = 403

    async def mine(_: web.Request) -> web.Response:
        return web.Response(status=status, text="closed for today")

    guarded = {"forwardauth": {"route": "auth", "auth_endpoint": "/check"}}
    async with target() as it, target("auth") as auth, envoy() as gw:
        auth.handlers["/check"] = mine
        await gw.publish(route("app", it.port, middlewares=guarded), route("auth", auth.port))
        answer = await gw.ask("app", headers=BROWSER)
        assert (answer.status, answer.body) == (403, b"closed for today")
        status = 503
        await _check(gw, "app", "The gateway could not check whether you may use this service.")
        await auth.stop()
        await _check(gw, "app", "The gateway could not check whether you may use this service.")


async def test_grpc_clients_get_a_status_and_the_sentence(envoy: Envoy) -> None:
    async with envoy() as gw:
        await gw.publish(route("app", free_port(), scheme="h2c"))
        for host, code, sentence in (
            ("app", grpc.StatusCode.UNAVAILABLE, "This service refuses connections."),
            ("nothing", grpc.StatusCode.UNIMPLEMENTED, "No service has this name."),
        ):
            options = [("grpc.default_authority", host)]
            async with grpc.aio.insecure_channel(gw.url.removeprefix("http://"), options=options) as channel:
                call: Any = channel.unary_unary("/a.B/C")
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await call(b"")
            assert (caught.value.code(), caught.value.details()) == (code, sentence)


async def test_a_grpc_service_whose_scheme_is_http_is_recognized(envoy: Envoy) -> None:
    server = grpc.aio.server()
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with envoy() as gw:
        await gw.publish(route("app", port))
        options = [("grpc.default_authority", "app")]
        async with grpc.aio.insecure_channel(gw.url.removeprefix("http://"), options=options) as channel:
            call: Any = channel.unary_unary("/a.B/C")
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call(b"")
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert "If it speaks gRPC without TLS, set its scheme to h2c." in str(caught.value.details())
    await server.stop(None)


async def test_a_debug_page_names_the_response_flags(envoy: Envoy) -> None:
    async with envoy(debug=True) as gw:
        await gw.publish(route("app", free_port()))
        assert b"<code>URX,UF</code>" in (await gw.ask("app", headers=BROWSER)).body
        assert b"'URX,UF'" in (await gw.ask("app")).body


async def test_responses_of_a_service_are_unchanged(envoy: Envoy) -> None:
    async def down(_: web.Request) -> web.Response:
        return web.Response(status=503, text="mine")

    async with target() as it, envoy() as gw:
        it.handlers["/down"] = down
        await gw.publish(route("app", it.port))
        for headers in (BROWSER, PROGRAM, {}):
            answer = await gw.ask("app", "/down", headers=headers)
            assert (answer.status, answer.body) == (503, b"mine")
            assert "Retry-After" not in answer.headers
