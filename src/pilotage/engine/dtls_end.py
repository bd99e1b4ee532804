"""Encrypts and decrypts datagrams at one end of a DTLS 1.2 connection, without a socket. Pure.

Python's ``ssl`` has no DTLS, so this module needs pyOpenSSL. Import it only where a udp tunnel is opened.
"""

from __future__ import annotations

import contextlib
import secrets
import ssl
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL, crypto

from pilotage.core.text import shorten
from pilotage.engine.credentials import CredentialsError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pilotage.engine.credentials import Credentials

__all__ = ["LARGEST_DATAGRAM", "DTLSEnd", "dtls_context"]

LARGEST_DATAGRAM: Final = 16_384
"""Maximum number of bytes in one DTLS record, and thus in one datagram (RFC 6347, section 4.1)."""

_CIPHERS: Final = b"ECDHE-ECDSA-AES128-GCM-SHA256"  # the only one that agents accept; it needs DTLS 1.2
_PACKET: Final = 1200  # bytes of a handshake message that fit into one datagram on every network
_RECORD_HEADER: Final = 13


def dtls_context(credentials: Credentials, *, is_server: bool = False) -> SSL.Context:
    """Return the settings of connections between a client and an agent.

    Args:
        credentials: the only CA to trust, and this end's certificate and key.
        is_server: whether this end is the agent.

    Raises:
        CredentialsError: the credentials are not valid.

    """
    context = SSL.Context(SSL.DTLS_SERVER_METHOD if is_server else SSL.DTLS_CLIENT_METHOD)
    try:
        for authority in x509.load_pem_x509_certificates(credentials.ca):
            context.get_cert_store().add_cert(crypto.X509.from_cryptography(authority))  # type: ignore[union-attr]
        own, *others = x509.load_pem_x509_certificates(credentials.cert)
        context.use_certificate(own)
        for other in others:
            context.add_extra_chain_cert(other)
        context.use_privatekey(load_pem_private_key(credentials.key, None))  # type: ignore[arg-type]
        context.check_privatekey()
    except (ValueError, TypeError, SSL.Error, crypto.Error) as error:
        why = shorten(str(error), 80) or type(error).__name__
        raise CredentialsError(f"its certificates cannot be used for udp ({why})", "create new ones") from error
    context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT)
    context.set_cipher_list(_CIPHERS)
    if is_server:
        cookie = secrets.token_bytes(16)
        context.set_options(SSL.OP_COOKIE_EXCHANGE or 0)
        context.set_cookie_generate_callback(lambda _: cookie)
        context.set_cookie_verify_callback(lambda _, sent: sent == cookie)
    return context


class DTLSEnd:
    """One end of a connection.

    Args:
        context: from :func:`dtls_context`.
        server_hostname: the name that the server's certificate must have; ``None`` on the server.

    Attributes:
        is_open: whether the handshake is complete.
        has_ended: whether the other end has closed the connection.

    """

    def __init__(self, context: SSL.Context, server_hostname: str | None = None) -> None:
        self.is_open = False
        self.has_ended = False
        self._name = server_hostname
        self._ssl = SSL.Connection(context, None)
        self._ssl.set_ciphertext_mtu(_PACKET)
        if server_hostname is None:
            self._ssl.set_accept_state()
        else:
            self._ssl.set_connect_state()
            self._ssl.set_tlsext_host_name(server_hostname.encode())

    def begin(self) -> None:
        """Begin or continue the handshake.

        Raises:
            ssl.SSLError: the handshake fails.

        """
        with _errors():
            try:
                self._ssl.do_handshake()
            except SSL.WantReadError:
                return
        if self._name is not None and self._name not in _names_of(self._ssl):
            raise _error(f"the certificate is not for {self._name}")
        self.is_open = True

    @property
    def patience(self) -> float | None:
        """Seconds until :meth:`repeat` must be called; ``None`` if no answer is pending."""
        return self._ssl.DTLSv1_get_timeout()

    def repeat(self) -> None:
        """Send the last part of the handshake again if the answer to it is overdue.

        Raises:
            ssl.SSLError: it has been repeated too often.

        """
        with _errors():
            self._ssl.DTLSv1_handle_timeout()

    def receive(self, packet: bytes) -> list[bytes]:
        """Take a packet from the network, and return the datagrams in it. Forged and damaged packets are ignored.

        Raises:
            ssl.SSLError: the handshake fails, or the other end refuses the connection.

        """
        if not packet or self.has_ended:
            return []
        self._ssl.bio_write(packet)
        if not self.is_open:
            self.begin()
        found: list[bytes] = []
        with _errors():
            try:
                while self.is_open:
                    found.append(self._ssl.recv(LARGEST_DATAGRAM))
            except SSL.WantReadError:
                pass
            except SSL.ZeroReturnError:
                self.has_ended = True
        return found

    def send(self, datagram: bytes) -> None:
        """Encrypt a datagram of 1 to :data:`LARGEST_DATAGRAM` bytes. The connection must be open.

        Raises:
            ssl.SSLError: the datagram is too large, or the connection is closed.

        """
        if len(datagram) > LARGEST_DATAGRAM:
            raise _error("the datagram is too large")
        with _errors():
            self._ssl.send(datagram)

    def end(self) -> None:
        """Close the connection."""
        with contextlib.suppress(SSL.Error):
            self._ssl.shutdown()

    def packets(self) -> list[bytes]:
        """Return the packets to send over the network, and forget them."""
        try:
            data = self._ssl.bio_read(1 << 20)
        except SSL.WantReadError:
            return []
        if len(data) <= _PACKET + _RECORD_HEADER:
            return [data]
        return _split(data)


def _split(data: bytes) -> list[bytes]:
    """Split records into packets of limited size. A record that exceeds the limit gets a packet of its own."""
    found: list[bytes] = []
    begin = end = 0
    while end < len(data):
        after = end + _RECORD_HEADER + int.from_bytes(data[end + 11 : end + 13], "big")
        if after - begin > _PACKET and end > begin:
            found.append(data[begin:end])
            begin = end
        end = after
    return [*found, data[begin:]]


def _names_of(connection: SSL.Connection) -> list[str]:
    certificate = connection.get_peer_certificate(as_cryptography=True)
    if certificate is None:
        return []
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except (x509.ExtensionNotFound, ValueError):
        return []
    return found.value.get_values_for_type(x509.DNSName)


@contextlib.contextmanager
def _errors() -> Iterator[None]:
    """Convert pyOpenSSL's errors to ``ssl.SSLError``."""
    try:
        yield
    except SSL.Error as error:
        parts = error.args[0] if error.args and isinstance(error.args[0], list) else []
        raise _error(str(parts[-1][-1]) if parts else "the connection has failed") from error


def _error(reason: str) -> ssl.SSLError:
    made = ssl.SSLError(1, reason)
    made.reason = reason
    return made
