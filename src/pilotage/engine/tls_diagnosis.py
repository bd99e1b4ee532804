"""Diagnoses failed TLS connections to engines: names the certificate, the expected name or CA, and the file.

The failed connection does not report enough. A TLS 1.3 engine rejects a client certificate after the handshake, and its
alert is lost when the pending request meets the closed socket; Python does not expose a certificate that fails
verification. A second connection therefore inspects the peer: it accepts any certificate, sends no request, and waits
for the engine's alert.
"""

from __future__ import annotations

import asyncio
import ssl
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import msgspec

from pilotage.engine.address import bracketed
from pilotage.engine.archive import check_credentials, load_pair, read_archive
from pilotage.engine.config import TLSFiles
from pilotage.engine.credentials import CredentialsError
from pilotage.engine.diagnosis import Diagnosis
from pilotage.engine.sockets import open_tcp
from pilotage.engine.x509 import Certificate, read_certificate, read_certificates

if TYPE_CHECKING:
    import socket

__all__ = ["Peer", "Shown", "examine", "explain_tls", "tls_reason"]

_INSPECTION_TIMEOUT: Final = 2.0
"""Time limit of an inspection in seconds."""

_ALERT_TIMEOUT: Final = 0.5
"""Seconds to wait for an alert after the handshake. Engines that reject the client send it immediately."""

_NOT_TLS: Final = frozenset(
    "WRONG_VERSION_NUMBER RECORD_LAYER_FAILURE HTTP_REQUEST PACKET_LENGTH_TOO_LONG UNEXPECTED_MESSAGE".split()
)
_NO_COMMON_VERSION: Final = frozenset(
    "TLSV1_ALERT_PROTOCOL_VERSION UNSUPPORTED_PROTOCOL NO_PROTOCOLS_AVAILABLE VERSION_TOO_LOW".split()
)
_ABOUT_CLIENT: Final = frozenset(
    "SSLV3_ALERT_BAD_CERTIFICATE SSLV3_ALERT_CERTIFICATE_EXPIRED SSLV3_ALERT_CERTIFICATE_UNKNOWN"
    " SSLV3_ALERT_CERTIFICATE_REVOKED SSLV3_ALERT_UNSUPPORTED_CERTIFICATE SSLV3_ALERT_HANDSHAKE_FAILURE"
    " SSLV3_ALERT_NO_CERTIFICATE TLSV13_ALERT_CERTIFICATE_REQUIRED TLSV1_ALERT_UNKNOWN_CA TLSV1_ALERT_ACCESS_DENIED"
    " TLSV1_ALERT_CERTIFICATE_REQUIRED TLSV1_ALERT_DECRYPT_ERROR".split()
)
_CLOSED: Final = "closed"

_OTHER_AGENT: Final = "use the archive that was created for the agent at this address, and restart the agent with it"

_EXPIRED: Final = 10
_NOT_YET_VALID: Final = 9
_OTHER_NAME: Final = frozenset({62, 64})
_NOT_TRUSTED: Final = frozenset({7, 18, 19, 20, 21})


class Peer(msgspec.Struct, frozen=True):
    """The intended TLS peer.

    Attributes:
        host, port: its address.
        server_name: name that its certificate must contain.
        files: certificate files in use.

    """

    host: str
    port: int
    server_name: str
    files: TLSFiles | None

    def __str__(self) -> str:
        return f"{bracketed(self.host)}:{self.port}"


class Shown(msgspec.Struct, frozen=True):
    """The certificate and alert that an engine sent when :func:`examine` connected to it again.

    Attributes:
        certificate: the engine's certificate; ``None`` if the handshake did not get that far.
        alert: OpenSSL's name for the engine's alert or for the handshake error; ``"closed"`` if the engine closed the
            connection without an alert; ``""`` if there was no error.

    """

    certificate: Certificate | None = None
    alert: str = ""


def tls_reason(error: BaseException | None) -> ssl.SSLError | None:
    """Return the TLS error that caused an exception, if any."""
    while error is not None:
        if isinstance(error, ssl.SSLError):
            return error
        error = error.__cause__
    return None


async def examine(peer: Peer) -> Shown | None:
    """Connect again without sending a request, and record the engine's certificate and alert.

    Args:
        peer: peer of the failed attempt; its files are readable because that attempt loaded them.

    Returns:
        The result; ``None`` if no connection could be made.

    """
    files = peer.files
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # safe: sends nothing and does not trust what it reads
    try:
        if files is not None and files.zip_file:
            load_pair(context, read_archive(files.zip_file), files.zip_file)
        elif files is not None and files.cert_file:
            context.load_cert_chain(files.cert_file, files.key_file, password=lambda: "")
        async with asyncio.timeout(_INSPECTION_TIMEOUT):
            sock = await open_tcp(peer.host, peer.port)
            return await _listen(sock, context, peer.server_name)
    except (OSError, CredentialsError):
        return None


async def _listen(sock: socket.socket, context: ssl.SSLContext, server_name: str) -> Shown:
    try:
        reader, writer = await asyncio.open_connection(sock=sock, ssl=context, server_hostname=server_name)
    except ssl.SSLError as error:
        return Shown(alert=error.reason or type(error).__name__)
    except (ConnectionError, EOFError):
        return Shown(alert=_CLOSED)
    try:
        der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        certificate = read_certificate(der) if der else None
        try:
            async with asyncio.timeout(_ALERT_TIMEOUT):
                alert = "" if await reader.read(1) else _CLOSED
        except TimeoutError:
            alert = ""
        except ssl.SSLError as error:
            alert = error.reason or _CLOSED
        except ConnectionError:
            alert = _CLOSED
        return Shown(certificate, alert)
    except ValueError:  # the certificate is not parseable
        return Shown()
    finally:
        writer.transport.abort()


def explain_tls(error: ssl.SSLError | None, shown: Shown, peer: Peer) -> Diagnosis | None:
    """Return the diagnosis; ``None`` if TLS is not the cause.

    Args:
        error: TLS error of the failed attempt; ``None`` if it failed for another reason.
        shown: result of the inspection.
        peer: the intended peer.

    """
    if isinstance(error, ssl.SSLCertVerificationError):
        return _engine_certificate(error, shown.certificate, peer)
    reason = (error.reason if error is not None else "") or ""
    for alert in (reason, shown.alert):
        if alert in _NOT_TLS:
            return Diagnosis(
                f"{peer} does not speak TLS", "use tcp:// without `tls:`, or enable TLS on the engine (--tlsverify)"
            )
        if alert in _NO_COMMON_VERSION:
            return Diagnosis(f"{peer} supports no secure TLS version (1.2 or newer)", "upgrade the engine")
    if reason in _ABOUT_CLIENT or shown.alert in _ABOUT_CLIENT or shown.alert == _CLOSED:
        return _client_certificate(peer.files, shown)
    alert = reason or shown.alert
    return Diagnosis(f"TLS with {peer} failed: {alert.replace('_', ' ').lower()}") if alert else None


def _engine_certificate(error: ssl.SSLCertVerificationError, certificate: Certificate | None, peer: Peer) -> Diagnosis:
    """Explain why the engine's certificate failed verification."""
    its = f"the certificate of {peer}" + (f" ({certificate.subject!r})" if certificate else "")
    code = error.verify_code
    if code == _EXPIRED:
        if certificate is not None and certificate.not_after > datetime.now(UTC):
            return Diagnosis(f"a CA of {its} expired", "renew the CA, and the certificates that it issued")
        return Diagnosis(
            f"{its} expired{_on(certificate.not_after if certificate else None)}", "renew it on the engine"
        )
    if code == _NOT_YET_VALID:
        since = _on(certificate.not_before if certificate else None).replace(" on ", " before ")
        return Diagnosis(f"{its} is not valid{since}", "check the clocks of both machines")
    if code in _OTHER_NAME:
        names = ", ".join(certificate.names) if certificate and certificate.names else "no host"
        return Diagnosis(
            f"{its} is valid for {names}, not for {peer.server_name}",
            "use one of these names in the address, or reissue the certificate for this one",
        )
    if code in _NOT_TRUSTED:
        issuer = f"issued by {certificate.issuer!r}, which" if certificate else "issued by a CA that"
        files = peer.files
        if files is not None and files.zip_file:
            return Diagnosis(f"{its} was not issued by the CA in {files.zip_file}", _OTHER_AGENT)
        if files is None or not files.ca_file:
            return Diagnosis(f"{its} was {issuer} this system does not trust", "set ca_file under `tls:` to its CA")
        held = ", ".join(repr(ca.subject) for ca in read_certificates(files.ca_file)) or "no certificate"
        return Diagnosis(
            f"{its} was {issuer} is not in {files.ca_file} (it contains {held})",
            "set ca_file to the CA that issued the engine's certificate",
        )
    return Diagnosis(f"{its} cannot be trusted: {error.verify_message}", "issue a new one")


def _client_certificate(files: TLSFiles | None, shown: Shown) -> Diagnosis:
    """Explain why the engine rejects the client. Its alert is vague, so the client certificate is examined."""
    if files is not None and files.zip_file:
        try:
            check_credentials(files)
        except CredentialsError as error:
            return Diagnosis(error.what, error.remedy)
        return Diagnosis(f"the agent rejects the client certificate in {files.zip_file}", _OTHER_AGENT)
    if files is None or not files.cert_file:
        return Diagnosis(
            "the engine requires a client certificate, but `tls:` has none", "add cert_file and key_file to `tls:`"
        )
    own = next(iter(read_certificates(files.cert_file)), None)
    mine = f"the client certificate {files.cert_file}"
    if own is None:
        return Diagnosis(f"the engine rejects {mine}", "check the file")
    now = datetime.now(UTC)
    if own.not_after < now:
        return Diagnosis(f"{mine} ({own.subject!r}) expired{_on(own.not_after)}", "issue a new one")
    if own.not_before > now:
        since = _on(own.not_before).replace(" on ", " before ")
        return Diagnosis(f"{mine} ({own.subject!r}) is not valid{since}", "check the clocks of both machines")
    if not own.for_clients:
        return Diagnosis(
            f"{mine} ({own.subject!r}) is not valid for clients", "issue one with extendedKeyUsage=clientAuth"
        )
    theirs = f" (its own was issued by {shown.certificate.issuer!r})" if shown.certificate else ""
    return Diagnosis(
        f"the engine rejects {mine} ({own.subject!r}, issued by {own.issuer!r}){theirs}",
        "use one issued by the CA that the engine trusts (--tlscacert)",
    )


def _on(moment: datetime | None) -> str:
    return f" on {moment:%Y-%m-%d %H:%M} UTC" if moment else ""
