"""Listeners of tcp routes that end TLS, with a real Envoy."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import TYPE_CHECKING, Any

import pytest

from pilotage.routes.port_syntax import PortPair
from pilotage.xds.capabilities import check_capabilities
from pilotage.xds.options import CertificateFiles, GatewayOptions
from tests.support.gateway import becomes, route
from tests.support.ports import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import trustme

    from pilotage.routes.route import Route
    from tests.xds.conftest import Envoy


@contextlib.asynccontextmanager
async def _shouter() -> AsyncIterator[int]:
    """Run a TCP server that answers each line in capitals."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while line := await reader.readline():
                writer.write(line.upper())
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


def _ending(listening: int, target: int, **fields: Any) -> Route:
    ports = PortPair(listening, target)
    return route("db", target, scheme="tcp", port=ports, bind="127.0.0.1", tls_termination=True, **fields)


@pytest.fixture
def options(authority: trustme.CA, tmp_path: Path) -> dict[str, Any]:
    found = []
    for name, default in (("db.example.com", True), ("*.example.org", False)):
        made = authority.issue_cert(name)
        file = tmp_path / f"{name.replace('*', 'any')}.pem"
        made.private_key_and_cert_chain_pem.write_to_path(file)
        found.append(CertificateFiles(str(file), str(file), default=default))
    return {"https_address": "127.0.0.1", "https_port": free_port(), "certificates": tuple(found)}


async def _said(port: int, context: ssl.SSLContext | None, name: str | None, *, line: bytes = b"hello\n") -> Any:
    """Send a line; return the answer, the names in the certificate and the protocol that the server chose."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name)
    try:
        writer.write(line)
        answer = await reader.readline()
        found = writer.get_extra_info("ssl_object")
        names = [value for _, value in found.getpeercert().get("subjectAltName", ())] if found is not None else []
        return answer, names, found.selected_alpn_protocol() if found is not None else None
    finally:
        writer.close()


async def test_a_tcp_route_can_end_tls_with_the_certificates_of_the_gateway(
    envoy: Envoy, options: dict[str, Any], tmp_path: Path
) -> None:
    context = ssl.create_default_context(cafile=tmp_path / "ca.pem")
    async with envoy(**options) as gw, _shouter() as port:
        listening = free_port()
        await gw.publish(_ending(listening, port))
        assert await _said(listening, context, "db.example.com") == (b"HELLO\n", ["db.example.com"], None)
        assert await _said(listening, context, "a.example.org") == (b"HELLO\n", ["*.example.org"], None)
        lax = ssl.create_default_context(cafile=tmp_path / "ca.pem")
        lax.check_hostname = False
        for name in ("unknown.example.net", ""):  # without a certificate of its own, or without any name
            assert await _said(listening, lax, name) == (b"HELLO\n", ["db.example.com"], None)
        with pytest.raises(ssl.SSLCertVerificationError):
            await _said(listening, ssl.create_default_context(), "db.example.com")
        assert (await _said(listening, None, None))[0].startswith(b"\x15")  # plain TCP gets an alert of TLS
        await gw.publish(route("db", port, scheme="tcp", port=PortPair(listening, port), bind="127.0.0.1"))
        await becomes(lambda: _said(listening, None, None), (b"HELLO\n", [], None))


async def test_protocols_that_clients_insist_on_are_confirmed_and_those_of_http_are_not(
    envoy: Envoy, options: dict[str, Any], tmp_path: Path
) -> None:
    async with envoy(**options) as gw, _shouter() as port:
        listening = free_port()
        await gw.publish(_ending(listening, port))
        for offered, chosen in (
            (["postgresql"], "postgresql"),
            (["h2", "http/1.1"], None),
            (["own/1", "imap"], "imap"),
        ):
            context = ssl.create_default_context(cafile=tmp_path / "ca.pem")
            context.set_alpn_protocols(offered)
            assert await _said(listening, context, "db.example.com") == (b"HELLO\n", ["db.example.com"], chosen)


def test_without_a_certificate_the_route_is_not_served() -> None:
    (problem,), served = check_capabilities(_ending(9000, 5432))
    assert (problem.path, problem.refused, served) == ("tls_termination", True, False)
    assert problem.hint == "set gateway.tls, or remove it if the target itself speaks TLS"
    certificates = (CertificateFiles("c", "k"),)
    assert check_capabilities(_ending(9000, 5432), GatewayOptions(https_port=443, certificates=certificates)) == (
        (),
        True,
    )
