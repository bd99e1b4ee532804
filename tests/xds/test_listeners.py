from __future__ import annotations

import asyncio
import socket
import ssl
from functools import partial
from typing import TYPE_CHECKING

import aiohttp
import pytest
import trustme
from envoy.config.listener.v3 import listener_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2

from pilotage.routes.port_syntax import PortPair
from pilotage.routes.route import Endpoint
from pilotage.table.table import Table
from pilotage.xds.listeners import http_listeners
from pilotage.xds.options import CertificateFiles, GatewayOptions
from pilotage.xds.own_ports import listening_address
from pilotage.xds.snapshot import Snapshot
from tests.support.gateway import becomes, route, target
from tests.support.ports import free_port

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.gateway import Gateway
    from tests.xds.conftest import Envoy


def test_routes_do_not_change_the_shared_listeners() -> None:
    assert [it.name for it in http_listeners(GatewayOptions())] == ["http"]
    assert http_listeners(GatewayOptions(http_port=0, https_port=8443)) == []  # without certificates there is no TLS
    both = GatewayOptions(https_port=8443, certificates=(CertificateFiles("c", "k", default=True),))
    assert [it.name for it in http_listeners(both)] == ["http", "https"]


def test_slow_handshakes_and_headers_time_out() -> None:
    for made in http_listeners(
        GatewayOptions(https_port=8443, certificates=(CertificateFiles("c", "k", default=True),))
    ):
        (chain,) = listener_pb2.Listener.FromString(made.body).filter_chains
        manager = http_connection_manager_pb2.HttpConnectionManager()
        assert chain.filters[-1].typed_config.Unpack(manager)
        assert manager.stream_idle_timeout.seconds == 10
        assert chain.transport_socket_connect_timeout.seconds == (10 if made.name == "https" else 0)


def test_a_listening_address_names_protocol_host_and_port() -> None:
    assert listening_address(route("a", 1, scheme="tcp", port=PortPair(22, 1))) == "tcp/0.0.0.0:22"
    assert listening_address(route("a", 1, scheme="udp", bind="::1", port=PortPair(53, 1))) == "udp/[::1]:53"


async def _lines(port: int, *, host: str = "127.0.0.1") -> str:
    """Send a line over TCP and return the answer, or ``refused``."""
    try:
        reader, writer = await asyncio.open_connection(host, port)
    except ConnectionRefusedError:
        return "refused"
    writer.write(b"hello\n")
    try:
        return (await reader.readline()).decode().strip()
    except ConnectionResetError:
        return ""
    finally:
        writer.close()


async def _shouter() -> tuple[asyncio.Server, int]:
    async def shout(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        said = await reader.readuntil(b"\n")
        if said == b"\r\n":  # the PROXY protocol, version 2: 12 bytes of signature, two more, the length of the rest
            header = said + await reader.readexactly(14)
            assert header.startswith(b"\r\n\r\n\0\r\nQUIT\n")
            await reader.readexactly(int.from_bytes(header[14:]))  # addresses and ports, where any byte may occur
            said = b"PROXY " + await reader.readuntil(b"\n")
        writer.write(said.upper())
        writer.close()

    server = await asyncio.start_server(shout, "127.0.0.1", 0)
    return server, server.sockets[0].getsockname()[1]


@pytest.mark.proves("relay_proxy_protocol_header")
async def test_a_tcp_route_has_its_own_listener(envoy: Envoy) -> None:
    server, port = await _shouter()
    mine = free_port()
    async with server, envoy() as gw:
        tcp = {"scheme": "tcp", "bind": "127.0.0.1", "port": PortPair(mine, port)}
        await gw.publish(route("db", port, **tcp))

        answer = partial(_lines, mine)
        await becomes(answer, "HELLO")
        await gw.publish(route("db", port, **tcp, relay_proxy_protocol_header=True))
        await becomes(answer, "PROXY HELLO")
        await gw.publish()
        await becomes(answer, "refused")
        assert gw.refused == []


async def test_a_udp_route_has_its_own_listener(envoy: Envoy) -> None:
    class Shout(asyncio.DatagramProtocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = transport

        def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
            self.transport.sendto(data.upper(), address)  # type: ignore[attr-defined]

    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(Shout, local_addr=("127.0.0.1", 0))
    port = transport.get_extra_info("sockname")[1]
    mine = free_port(socket.SOCK_DGRAM)
    async with envoy() as gw:
        await gw.publish(route("dns", port, scheme="udp", bind="127.0.0.1", port=PortPair(mine, port)))

        async def ask() -> bytes:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.setblocking(False)
                client.connect(("127.0.0.1", mine))
                try:
                    await loop.sock_sendall(client, b"hello")
                    async with asyncio.timeout(0.2):
                        return await loop.sock_recv(client, 100)
                except (TimeoutError, OSError):
                    return b""

        await becomes(ask, b"HELLO")
        for size in (1_501, 9_000, 65_507):
            datagram = b"x" * size

            async def ask_much(datagram: bytes = datagram) -> bool:
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                    client.setblocking(False)
                    client.connect(("127.0.0.1", mine))
                    await loop.sock_sendall(client, datagram)
                    try:
                        async with asyncio.timeout(1):
                            return await loop.sock_recv(client, 70_000) == datagram.upper()
                    except TimeoutError:
                        return False

            await becomes(ask_much, expected=True)
    transport.close()


def test_the_engine_that_comes_first_gets_a_port_whatever_the_ages() -> None:
    forged = route("forged", 1, scheme="tcp", port=PortPair(2222, 22), provider="far", created=1)
    mine = route("mine", 2, scheme="tcp", port=PortPair(2222, 22), created=2_000_000_000)
    snapshot = Snapshot(GatewayOptions())
    snapshot.replace(Table({"forged": forged, "mine": mine}, engine_order=("local", "far")))
    (problem,) = (problem for found in snapshot.problems.values() for problem in found)
    expected = "tcp port 0.0.0.0:2222 belongs to mine, whose engine comes first"
    assert (problem.route, problem.message) == ("forged", expected)


async def test_the_older_of_two_routes_gets_the_port(envoy: Envoy) -> None:
    server, port = await _shouter()
    mine = free_port()
    async with server, envoy() as gw:
        tcp = {"scheme": "tcp", "bind": "127.0.0.1", "port": PortPair(mine, port)}
        old, new = route("old", port, created=1, **tcp), route("new", free_port(), created=2, **tcp)
        await gw.publish(new, old)
        assert [(problem.route, problem.path) for problem in gw.ads.problems] == [("new", "port")]

        answer = partial(_lines, mine)
        await becomes(answer, "HELLO")
        await gw.publish(new)
        assert gw.ads.problems == ()
        await becomes(answer, "")


async def test_a_port_in_use_is_a_problem_of_its_route(envoy: Envoy) -> None:
    server, port = await _shouter()
    async with server, target() as it, envoy() as gw:
        taken = route("db", it.port, scheme="tcp", bind="127.0.0.1", port=PortPair(port, it.port))
        await gw.publish(taken, route("app", it.port))
        assert {problem.route for problem in gw.refused} == {"db"}
        assert (await gw.ask("app")).status == 200


async def test_a_port_of_another_envoy_is_not_shared(envoy: Envoy) -> None:
    server, port = await _shouter()
    with socket.create_server(("127.0.0.1", 0), reuse_port=True) as other:
        taken = other.getsockname()[1]
        async with server, envoy() as gw:
            await gw.publish(route("db", port, scheme="tcp", bind="127.0.0.1", port=PortPair(taken, port)))
            assert {problem.route for problem in gw.refused} == {"db"}


async def test_a_tcp_route_listens_only_while_it_has_an_endpoint(envoy: Envoy) -> None:
    server, port = await _shouter()
    mine = free_port()
    async with server, envoy() as gw:
        tcp = {"scheme": "tcp", "bind": "127.0.0.1", "port": PortPair(mine, port)}

        answer = partial(_lines, mine)
        for _ in range(3):
            await gw.publish(route("db", endpoints=(Endpoint("127.0.0.1", port, state="waiting"),), **tcp))
            await becomes(answer, "refused")
            await gw.publish(route("db", port, **tcp))
            await becomes(answer, "HELLO")
        assert gw.refused == []


# ---- HTTPS ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


def _certificate(authority: trustme.CA, directory: Path, *names: str, file: str = "") -> CertificateFiles:
    issued, stem = authority.issue_cert(*names), file or names[0].replace("*", "any")
    chain, key = directory / f"{stem}.pem", directory / f"{stem}.key"
    chain.write_bytes(b"".join(it.bytes() for it in issued.cert_chain_pems))
    key.write_bytes(issued.private_key_pem.bytes())
    return CertificateFiles(str(chain), str(key))


async def _shown(gw: Gateway, name: str) -> set[str]:
    """Return the names of the certificate that a client is shown."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    _, writer = await asyncio.open_connection("127.0.0.1", gw.options.https_port, ssl=context, server_hostname=name)
    der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    from cryptography import x509

    names = x509.load_der_x509_certificate(der).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return set(names.value.get_values_for_type(x509.DNSName))


async def test_https_selects_the_certificate_by_name_and_uses_new_ones(
    envoy: Envoy, authority: trustme.CA, tmp_path: Path
) -> None:
    certificates = (
        _certificate(authority, tmp_path, "*.example.org", "example.org", file="org"),
        _certificate(authority, tmp_path, "*.example.com", file="com"),
    )
    options = {"https_address": "127.0.0.1", "https_port": free_port(), "certificates": certificates}
    async with target() as it, envoy(**options, hsts_max_age=3600) as gw:
        await gw.publish(route("app", it.port))
        assert await _shown(gw, "app.example.org") == {"*.example.org", "example.org"}
        assert await _shown(gw, "app.example.com") == {"*.example.com"}
        context = ssl.create_default_context()
        authority.configure_trust(context)
        url = f"https://127.0.0.1:{gw.options.https_port}"
        answer = await gw.ask("app.example.org", url=url, ssl=context, server_hostname="app.example.org")
        assert answer.json["headers"]["x-forwarded-proto"] == "https"
        assert answer.headers["Strict-Transport-Security"] == "max-age=3600"
        assert "Strict-Transport-Security" not in (await gw.ask("app")).headers
        _certificate(authority, tmp_path, "*.example.org", "new.example.org", file="org")
        await gw.ads.wait_for_acks(gw.ads.reload_certificates())

        async def shown() -> set[str]:
            return await _shown(gw, "app.example.org")

        await becomes(shown, {"*.example.org", "new.example.org"})
        assert gw.ads.reload_certificates() == frozenset()


async def test_http_2_is_negotiated(envoy: Envoy, authority: trustme.CA, tmp_path: Path) -> None:
    certificate = _certificate(authority, tmp_path, "app.example.org")
    options = {"https_address": "127.0.0.1", "https_port": free_port(), "certificates": (certificate,)}
    async with envoy(**options) as gw:
        context = ssl.create_default_context()
        authority.configure_trust(context)
        context.set_alpn_protocols(["h2", "http/1.1"])
        _, writer = await asyncio.open_connection(
            "127.0.0.1", gw.options.https_port, ssl=context, server_hostname="app.example.org"
        )
        assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == "h2"
        writer.close()


async def test_websockets_over_http_2_are_not_offered(envoy: Envoy) -> None:
    async with envoy() as gw:
        reader, writer = await asyncio.open_connection("127.0.0.1", gw.options.http_port)
        writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0)))
        head = await reader.readexactly(9)
        assert head[3] == 4  # SETTINGS
        body = await reader.readexactly(int.from_bytes(head[:3]))
        settings = {
            int.from_bytes(body[i : i + 2]): int.from_bytes(body[i + 2 : i + 6]) for i in range(0, len(body), 6)
        }
        writer.close()
    assert settings.get(8, 0) == 0  # SETTINGS_ENABLE_CONNECT_PROTOCOL


async def test_plain_http_is_redirected_to_https(envoy: Envoy, authority: trustme.CA, tmp_path: Path) -> None:
    certificate = _certificate(authority, tmp_path, "app.example.org")
    options = {"https_address": "127.0.0.1", "https_port": free_port(), "certificates": (certificate,)}
    async with target() as it, envoy(**options, redirect_to_https=True) as gw:
        await gw.publish(route("app", it.port))
        answer = await gw.ask("app.example.org:80", "/page?q=1")
        expected = f"https://app.example.org:{gw.options.https_port}/page?q=1"
        assert (answer.status, answer.headers["Location"]) == (308, expected)
        url = f"https://127.0.0.1:{gw.options.https_port}"
        asked = await gw.ask("app", url=url, ssl=False, server_hostname="app.example.org")
        assert asked.status == 200
        await gw.ads.close()
        assert (await gw.ask("app.example.org:80")).status == 308  # asks nobody


async def test_requests_are_logged_as_lines_of_json(envoy: Envoy, tmp_path: Path) -> None:
    import json

    log = tmp_path / "access.log"
    async with target() as it, envoy(access_log=str(log)) as gw:
        await gw.publish(route("app", it.port))
        await gw.ask("app", "/page")

        async def logged() -> bool:
            return log.exists() and b"/page" in log.read_bytes()

        await becomes(logged, expected=True)
        entry = json.loads(log.read_text().splitlines()[-1])
        assert (entry["host"], entry["path"], entry["status"]) == ("app", "/page", 200)


async def test_the_access_log_says_why_tls_to_a_target_failed(
    envoy: Envoy, authority: trustme.CA, tmp_path: Path
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    log = tmp_path / "access.log"
    async with target(ssl_context=context) as it, envoy(access_log=str(log)) as gw:
        await gw.publish(route("app", it.port, scheme="https"))
        assert (await gw.ask("app.x")).status == 503
        await becomes(lambda: asyncio.to_thread(lambda: "CERTIFICATE_VERIFY_FAILED" in log.read_text()), True)


async def test_unreadable_certificates_are_rejected_before_anything_changes(envoy: Envoy) -> None:
    from pilotage.core.errors import ConfigError

    async with target() as it, envoy() as gw:
        await gw.publish(route("app", it.port))
        options = GatewayOptions(https_port=1, certificates=(CertificateFiles("/nowhere/c.pem", "/nowhere/k.pem"),))
        with pytest.raises(ConfigError, match=r"cannot read /nowhere/c\.pem"):
            gw.ads.configure(options)
        assert (await gw.ask("app")).status == 200


async def test_other_settings_are_applied_while_serving(envoy: Envoy) -> None:
    async with target() as it, envoy() as gw:
        await gw.publish(route("app", it.port))
        settings = GatewayOptions(
            http_address="127.0.0.1", http_port=gw.options.http_port, match_domains=("example.org",)
        )
        await gw.ads.wait_for_acks(gw.ads.configure(settings))
        assert [(await gw.ask(host)).status for host in ("app.example.org", "app.other.org")] == [200, 404]
        assert gw.ads.configure(settings) == frozenset()
        async with aiohttp.ClientSession() as client, client.get(gw.url, headers={"Host": "app"}) as answer:
            assert answer.status == 200
