"""TLS clients that report the certificate that they get."""

from __future__ import annotations

import socket
import ssl
from typing import Final, NamedTuple

from cryptography import x509

from tests.support.front_door import Answer, read_response

__all__ = ["REFUSED", "Shown", "context", "shown", "status"]

REFUSED: Final = -1
"""What :func:`status` returns if the handshake fails."""


class Shown(NamedTuple):
    """What a client sees of a server's certificate."""

    name: str
    serial: int
    protocol: str | None
    issuer: str


def context(*protocols: str, certificate: str = "", key: str = "") -> ssl.SSLContext:
    """Return the settings of a client that trusts every server.

    Args:
        protocols: the protocols that it offers (ALPN).
        certificate: the file with its own certificate.
        key: the file with the key of its certificate.

    """
    made = ssl.create_default_context()
    made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    if protocols:
        made.set_alpn_protocols(list(protocols))
    if certificate:
        made.load_cert_chain(certificate, key or None)
    return made


def shown(port: int, name: str | None, *protocols: str) -> Shown | None:
    """Return what a client on loopback gets that asks for a server name; ``None`` if it is refused."""
    try:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=30) as plain,
            context(*protocols).wrap_socket(plain, server_hostname=name) as connection,
        ):
            der = connection.getpeercert(binary_form=True)
            protocol = connection.selected_alpn_protocol()
    except ConnectionRefusedError:
        raise  # nothing listens
    except (ssl.SSLError, ConnectionError):
        return None
    assert der is not None
    found = x509.load_der_x509_certificate(der)
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return Shown(names.get_values_for_type(x509.DNSName)[0], found.serial_number, protocol, _word(found.issuer))


def _word(name: x509.Name) -> str:
    """Return the first word of a name."""
    return next((str(attribute.value).split()[0] for attribute in name), "")


def status(port: int, settings: ssl.SSLContext, name: str | None, host: str, *headers: str) -> int:
    """Return the status of a request over TLS on loopback; :data:`REFUSED` if the server refuses the handshake.

    Args:
        port: where the server listens.
        settings: the client's.
        name: the server name (SNI).
        host: the ``Host`` header.
        headers: further header lines.

    """
    head = "\r\n".join(["GET / HTTP/1.1", f"Host: {host}", *headers, "Connection: close", "", ""])
    try:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=30) as plain,
            settings.wrap_socket(plain, server_hostname=name) as connection,
        ):
            connection.sendall(head.encode())
            return Answer(read_response(connection)).status
    except ConnectionRefusedError:
        raise  # nothing listens
    except (ssl.SSLError, ConnectionError):
        return REFUSED
