"""Two ends of a TLS connection in memory: data, and the end of one direction before the other."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import pytest

from pilotage.engine.credentials import AGENT_NAME, Credentials
from pilotage.engine.tls import agent_context
from pilotage.engine.tls_end import TLSEnd
from tests.support.agents import AgentCertificates

if TYPE_CHECKING:
    from pathlib import Path


def ends(
    folder: Path, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3, name: str = AGENT_NAME
) -> tuple[TLSEnd, TLSEnd]:
    made = AgentCertificates()
    server = made.server_context(folder)
    server.maximum_version = version
    server.set_alpn_protocols(["other", "chosen"])
    client = agent_context(Credentials(made.ca, made.cert, made.key), "chosen")
    return TLSEnd(client, name), TLSEnd(server)


def exchange(one: TLSEnd, other: TLSEnd) -> tuple[bytes, bytes]:
    """Pass on everything until nothing is left; return what each end has received."""
    found: dict[TLSEnd, bytes] = {one: b"", other: b""}
    while any(data := [(one, other.to_send()), (other, one.to_send())]) and any(text for _, text in data):
        for end, text in data:
            if text:
                found[end] += b"".join(end.receive(text))
    return found[one], found[other]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_each_direction_ends_by_itself(tmp_path: Path, version: ssl.TLSVersion) -> None:
    client, server = ends(tmp_path, version)
    client.begin()
    exchange(client, server)
    assert (client.is_open, server.is_open, client.protocol) == (True, True, "chosen")
    client.send(b"x" * 100_000)
    server.send(b"")
    assert exchange(client, server) == (b"", b"x" * 100_000)
    client.end()
    exchange(client, server)
    assert (client.has_ended, server.has_ended) == (False, True)
    server.send(memoryview(b"y" * 100_000))
    assert exchange(client, server) == (b"y" * 100_000, b"")
    server.end()
    exchange(client, server)
    assert client.has_ended


def test_data_and_the_end_may_arrive_byte_by_byte(tmp_path: Path) -> None:
    client, server = ends(tmp_path)
    client.begin()
    exchange(client, server)
    client.send(b"hello")
    client.end()
    found = b"".join(piece for byte in client.to_send() for piece in server.receive(bytes([byte])))
    assert (found, server.has_ended) == (b"hello", True)
    server.send(b"answer")
    assert exchange(client, server) == (b"answer", b"")


def test_a_server_of_another_name_is_refused(tmp_path: Path) -> None:
    client, server = ends(tmp_path, name="other.agent")
    client.begin()
    with pytest.raises(ssl.SSLCertVerificationError):
        exchange(client, server)


def test_a_server_of_another_ca_is_refused(tmp_path: Path) -> None:
    _, server = ends(tmp_path)
    client, _ = ends(tmp_path)
    client.begin()
    with pytest.raises(ssl.SSLCertVerificationError):
        exchange(client, server)


def test_old_versions_of_tls_are_not_offered() -> None:
    made = AgentCertificates()
    context = agent_context(Credentials(made.ca, made.cert, made.key), "any")
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


def test_an_invalid_record_is_an_error(tmp_path: Path) -> None:
    client, _ = ends(tmp_path)
    client.begin()
    with pytest.raises(ssl.SSLError):
        client.receive(b"HTTP/1.1 400 Bad Request\r\n\r\n")
