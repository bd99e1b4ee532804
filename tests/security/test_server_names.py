"""A client learns of no certificate but that of the name it asks for, and no name leads past the rules of a route."""

from __future__ import annotations

import contextlib
import socket
import ssl
from typing import TYPE_CHECKING, Any

import pytest
import trustme
from cryptography import x509

from tests.support.front_door import Answer, front_door, raw_target, read_response

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.front_door import FrontDoor

pytestmark = [pytest.mark.process, pytest.mark.slow]


def _pair(folder: Path, authority: trustme.CA, name: str, *names: str, **more: bool) -> dict[str, Any]:
    made = authority.issue_cert(*names)
    made.cert_chain_pems[0].write_to_path(folder / f"{name}.pem")
    made.private_key_pem.write_to_path(folder / f"{name}-key.pem")
    return {"cert_file": f"{name}.pem", "key_file": f"{name}-key.pem", **more}


@contextlib.contextmanager
def _secured(door: FrontDoor, name: str | None, *, source: str = "127.0.0.1") -> Iterator[ssl.SSLSocket]:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    place = ("127.0.0.1", door.https_port)
    with socket.create_connection(place, timeout=30, source_address=(source, 0)) as plain:
        with context.wrap_socket(plain, server_hostname=name) as connection:
            yield connection


def _shown(door: FrontDoor, name: str | None) -> set[str]:
    """Return the names of the certificate that a client gets; an empty set if the handshake is refused."""
    try:
        with _secured(door, name) as connection:
            der = connection.getpeercert(binary_form=True)
    except (ssl.SSLError, ConnectionError):
        return set()
    assert der is not None
    found = x509.load_der_x509_certificate(der).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {str(name.value) for name in found}


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


_UNKNOWN = ["nowhere.test", "secret", "org", "com.example.org.evil", "x.y.shop.example.org", "127.0.0.1", None]


def test_without_a_default_an_unknown_name_gets_no_certificate(tmp_path: Path, authority: trustme.CA) -> None:
    pairs = [
        _pair(tmp_path, authority, "secret", "secret.example.com"),
        _pair(tmp_path, authority, "org", "*.example.org", "example.org"),
    ]
    with raw_target("shop") as shop:
        routes = {
            "shop": {"host": "127.0.0.1", "port": shop.port},
            "staff": {"host": "127.0.0.1", "port": shop.port, "inbound_mtls_profile": "staff"},
        }
        with front_door(tmp_path, routes, {"tls": pairs, "trusted_proxies": ["127.0.0.9"]}) as door:
            assert _shown(door, "secret.example.com") == {"secret.example.com"}
            assert _shown(door, "SECRET.example.com") == {"secret.example.com"}
            for known in ("shop.example.org", "example.org"):
                assert _shown(door, known) == {"*.example.org", "example.org"}
            assert {name: _shown(door, name) for name in _UNKNOWN} == {name: set() for name in _UNKNOWN}
            # A route that requires a client certificate is served under no name, whatever the server name.
            for name in ("shop.example.org", "secret.example.com", "staff.example.org"):
                assert _status(door, name, "staff.example.org") == 404
                assert _status(door, name, "shop.example.org") == 200
            assert _status(door, "shop.example.org", "shop.example.org@evil") == 400
            for source, is_trusted in (("127.0.0.9", True), ("127.0.0.8", False)):
                with _secured(door, "shop.example.org", source=source) as connection:
                    connection.sendall(b"GET / HTTP/1.1\r\nHost: shop\r\nX-Real-IP: 192.0.2.7\r\n\r\n")
                    assert Answer(read_response(connection)).status == 200
                assert ("x-real-ip" in shop.last().headers) is is_trusted


def _status(door: FrontDoor, name: str | None, host: str) -> int:
    with _secured(door, name) as connection:
        connection.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        answer = Answer(read_response(connection))
    assert answer.status < 500, f"{answer.status} {answer.body!r}\n{door.log}"
    return answer.status


def test_an_unknown_name_gets_the_operators_default(tmp_path: Path, authority: trustme.CA) -> None:
    pairs = [
        _pair(tmp_path, authority, "secret", "secret.example.com"),
        _pair(tmp_path, authority, "default", "gateway.example.com", default=True),
    ]
    with raw_target("shop") as shop:
        routes = {"shop": {"host": "127.0.0.1", "port": shop.port}}
        with front_door(tmp_path, routes, {"tls": pairs}) as door:
            for name in (*_UNKNOWN, "gateway.example.com"):
                assert _shown(door, name) == {"gateway.example.com"}
            assert _shown(door, "secret.example.com") == {"secret.example.com"}
            assert _status(door, None, "shop") == 200


def test_a_certificate_for_an_address_is_for_clients_without_a_name(tmp_path: Path, authority: trustme.CA) -> None:
    pairs = [
        _pair(tmp_path, authority, "secret", "secret.example.com"),
        _pair(tmp_path, authority, "address", "127.0.0.1"),
    ]
    with raw_target("shop") as shop:
        routes = {"shop": {"host": "127.0.0.1", "port": shop.port}}
        with front_door(tmp_path, routes, {"tls": pairs}) as door:
            assert _shown(door, None) == {"127.0.0.1"}
            for name in ("nowhere.test", "127.0.0.1.", "x.secret.example.com"):
                assert _shown(door, name) == set()
            assert _shown(door, "secret.example.com") == {"secret.example.com"}
