from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

import grpc
import pytest
import trustme
from aiohttp import web

from pilotage.routes.route import Endpoint
from pilotage.xds.resources import CLUSTER
from tests.support.gateway import becomes, route, server_context, target
from tests.support.ports import free_port
from tests.support.rpc import grpc_server, grpc_upper

if TYPE_CHECKING:
    from pathlib import Path

    from tests.xds.conftest import Envoy


# ---- schemes -------------------------------------------------------------------------------------------------------


@pytest.mark.proves("scheme")
async def test_grpc_passes_to_h2c_targets(envoy: Envoy) -> None:
    server, port = await grpc_server()
    async with envoy() as gw:
        await gw.publish(route("rpc", port, scheme="h2c"))
        assert await grpc_upper(gw.options.http_port, "rpc.example.org") == b"ONE TWO"
    await server.stop(0)


@pytest.mark.parametrize("shared", [True, False], ids=["shared cluster", "own cluster"])
async def test_grpc_passes_to_tls_targets(envoy: Envoy, shared: bool, tmp_path: Path) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("rpc.internal")
    key, chain = issued.private_key_pem.bytes(), b"".join(it.bytes() for it in issued.cert_chain_pems)
    server, port = await grpc_server(grpc.ssl_server_credentials([(key, chain)]))
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    checked = {"ssl_server_name": "rpc.internal", "ssl_trusted_certificate": str(tmp_path / "ca.pem")}
    async with envoy() as gw:
        await gw.publish(route("rpc", port, scheme="https", **({"no_tls_verify": True} if shared else checked)))
        assert await grpc_upper(gw.options.http_port, "rpc.example.org") == b"ONE TWO"
    await server.stop(0)


@pytest.mark.proves("no_tls_verify", "ssl_trusted_certificate")
async def test_target_certificates_are_verified_unless_a_label_disables_it(
    envoy: Envoy, authority: trustme.CA, tmp_path: Path
) -> None:
    ca = {"ssl_trusted_certificate": str(tmp_path / "ca.pem")}
    async with target("address", ssl_context=server_context(authority, "127.0.0.1")) as by_address:
        async with target("name", ssl_context=server_context(authority, "app.internal")) as by_name, envoy() as gw:
            cases: list[tuple[dict[str, Any], int, int]] = [
                ({"no_tls_verify": True}, by_address.port, 200),
                ({}, by_address.port, 503),  # not by an authority that the system knows
                (ca, by_address.port, 200),
                (ca, by_name.port, 503),  # not for this address
                (ca | {"ssl_server_name": "app.internal"}, by_name.port, 200),
                (ca | {"ssl_server_name": "other.internal"}, by_name.port, 503),
                ({"no_tls_verify": True, "ssl_server_name": "off"}, by_name.port, 200),
            ]
            for settings, port, status in cases:
                await gw.publish(route("app", port, scheme="https", **settings))
                assert (settings, (await gw.ask("app")).status) == (settings, status)


@pytest.mark.proves("ssl_server_name")
async def test_the_server_name_comes_from_the_label(envoy: Envoy, authority: trustme.CA) -> None:
    names: list[str | None] = []
    context = server_context(authority, "127.0.0.1")
    context.sni_callback = lambda _socket, name, _context: names.append(name)
    async with target(ssl_context=context) as it, envoy() as gw:
        for given in (None, "off", "app.internal"):
            await gw.publish(
                route("app", it.port, scheme="https", no_tls_verify=True, ssl_server_name=given, max_conns_per_host=9)
            )
            assert (await gw.ask("app")).status == 200
        # An address is no name, so "off" changes nothing. pilotage's own test of the endpoint gives no name either, and
        # a route with the label is not tested.
        assert (set(names[:-1]), names[-1]) == ({None}, "app.internal")


@pytest.mark.proves("ssl_certificate", "ssl_certificate_key", "ssl_protocols")
async def test_a_target_can_require_a_client_certificate_and_a_tls_version(
    envoy: Envoy, authority: trustme.CA, tmp_path: Path
) -> None:
    context = server_context(authority, "127.0.0.1")
    context.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(context)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    own = authority.issue_cert("gateway")
    own.private_key_pem.write_to_path(tmp_path / "key.pem")
    own.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    shown = {"ssl_certificate": str(tmp_path / "cert.pem"), "ssl_certificate_key": str(tmp_path / "key.pem")}
    cases: list[tuple[dict[str, Any], int]] = [
        ({}, 503),
        (shown, 200),
        (shown | {"ssl_protocols": ("TLSv1.3",)}, 503),
        (shown | {"ssl_protocols": ("TLSv1.2", "TLSv1.3")}, 200),
    ]
    async with target(ssl_context=context) as it, envoy() as gw:
        for settings, status in cases:
            await gw.publish(route("app", it.port, scheme="https", no_tls_verify=True, **settings))
            assert (settings, (await gw.ask("app")).status) == (settings, status)


async def test_websockets_pass_to_https_targets(envoy: Envoy, authority: trustme.CA) -> None:
    async with target(ssl_context=server_context(authority, "127.0.0.1")) as it, envoy() as gw:

        async def echo(request: web.Request) -> web.WebSocketResponse:
            socket = web.WebSocketResponse()
            await socket.prepare(request)
            await socket.send_str((await socket.receive_str()).upper())
            return socket

        it.handlers["/ws"] = echo
        await gw.publish(route("app", it.port, scheme="https", no_tls_verify=True))
        async with gw.client.ws_connect(gw.url + "/ws", headers={"Host": "app"}) as socket:
            await socket.send_str("hello")
            assert await socket.receive_str() == "HELLO"


async def test_targets_can_be_host_names(envoy: Envoy) -> None:
    async with target() as it, envoy() as gw:
        await gw.publish(route("app", endpoints=(Endpoint("localhost", it.port),)))

        async def status() -> int:
            return (await gw.ask("app")).status

        await becomes(status, 200)


async def test_names_and_addresses_can_be_mixed_without_deprecation_warnings(envoy: Envoy) -> None:
    async with target("one") as one, target("two") as two, envoy() as gw:
        both = (Endpoint("127.0.0.1", one.port), Endpoint("localhost", two.port))
        await gw.publish(route("app", endpoints=both))

        async def answering() -> set[str]:
            return {(await gw.ask("app")).by for _ in range(8)}

        await becomes(answering, {"one", "two"})
        assert not [line for line in gw.log.splitlines() if "deprecated" in line and "dns" in line]


async def test_a_missing_certificate_file_affects_only_its_route(envoy: Envoy) -> None:
    async with target() as it, envoy() as gw:
        await gw.publish(
            route("good", it.port, max_conns_per_host=3),
            route("bad", free_port(), scheme="https", ssl_trusted_certificate="/nowhere/ca.pem"),
            *(route(f"more{n}", it.port, max_conns_per_host=3) for n in range(5)),
        )
        assert {problem.route for problem in gw.refused} == {"bad"}
        assert "/nowhere/ca.pem" in gw.refused[0].message
        assert [(await gw.ask(host)).status for host in ("good", "more4", "bad")] == [200, 200, 503]
        assert {problem.route for problem in gw.ads.problems} == {"bad"}
        assert (CLUSTER, "route/bad") in gw.ads.snapshot.resources
        await gw.publish(route("good", it.port), route("bad", it.port))
        assert gw.ads.problems == ()
        assert (await gw.ask("bad")).status == 200
