"""Why TLS to an engine failed: each fault in its own words, with what was shown, what was expected, and which file.

What the failed connection reports is not enough. A TLS 1.3 engine refuses a client certificate after the handshake,
and its alert is lost when the request that is on its way meets the closed socket; a certificate that does not verify
is not shown. So a failure is examined by one more connection that asks for nothing: it accepts any certificate in order
to read it, sends no request, and listens for what the engine objects to.
"""

from __future__ import annotations

import asyncio
import ssl
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import msgspec

from pilotage.engine.address import bracketed
from pilotage.engine.config import TLSFiles
from pilotage.engine.diagnosis import Diagnosis
from pilotage.engine.sockets import open_tcp
from pilotage.engine.x509 import Certificate, read_certificate, read_certificates

if TYPE_CHECKING:
    import socket

__all__ = ["Peer", "Shown", "examine", "explain_tls", "tls_reason"]

_PATIENCE: Final = 2.0
"""Seconds for the whole examination."""

_OBJECTION: Final = 0.5
"""Seconds to wait for an objection after the handshake: an engine has none, or voices it at once."""

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

_EXPIRED: Final = 10
_NOT_YET_VALID: Final = 9
_OTHER_NAME: Final = frozenset({62, 64})
_NOT_TRUSTED: Final = frozenset({18, 19, 20, 21})


class Peer(msgspec.Struct, frozen=True):
    """Whom we meant to speak TLS with, and how.

    Attributes:
        host, port: where it is.
        server_name: the name that its certificate must bear.
        files: the certificate files in use.

    """

    host: str
    port: int
    server_name: str
    files: TLSFiles | None

    def __str__(self) -> str:
        return f"{bracketed(self.host)}:{self.port}"


class Shown(msgspec.Struct, frozen=True):
    """What the examination brought to light.

    Attributes:
        certificate: the engine's; ``None`` when it came to none.
        objection: OpenSSL's name for the engine's alert or for the failure of the handshake; ``"closed"`` when the
            engine hung up without a word; ``""`` when it had nothing to object to.

    """

    certificate: Certificate | None = None
    objection: str = ""


def tls_reason(error: BaseException | None) -> ssl.SSLError | None:
    """Return the TLS error behind an exception, if there is one."""
    while error is not None:
        if isinstance(error, ssl.SSLError):
            return error
        error = error.__cause__
    return None


async def examine(peer: Peer) -> Shown | None:
    """Connect once more, ask for nothing, and see what the engine shows and what it objects to.

    Args:
        peer: as in the failed attempt; its files have been read before, so they can be.

    Returns:
        What was found; ``None`` when no connection came about this time.

    """
    files = peer.files
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # nothing is sent, and nothing that is read is believed
    try:
        if files is not None and files.cert_file:
            context.load_cert_chain(files.cert_file, files.key_file, password=lambda: "")
        async with asyncio.timeout(_PATIENCE):
            sock = await open_tcp(peer.host, peer.port)
            return await _listen(sock, context, peer.server_name)
    except OSError:
        return None


async def _listen(sock: socket.socket, context: ssl.SSLContext, server_name: str) -> Shown:
    try:
        reader, writer = await asyncio.open_connection(sock=sock, ssl=context, server_hostname=server_name)
    except ssl.SSLError as error:
        return Shown(objection=error.reason or type(error).__name__)
    except (ConnectionError, EOFError):
        return Shown(objection=_CLOSED)
    try:
        der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        certificate = read_certificate(der) if der else None
        try:
            async with asyncio.timeout(_OBJECTION):
                objection = "" if await reader.read(1) else _CLOSED
        except TimeoutError:
            objection = ""
        except ssl.SSLError as error:
            objection = error.reason or _CLOSED
        except ConnectionError:
            objection = _CLOSED
        return Shown(certificate, objection)
    except ValueError:  # a certificate that cannot be read
        return Shown()
    finally:
        writer.transport.abort()


def explain_tls(error: ssl.SSLError | None, shown: Shown, peer: Peer) -> Diagnosis | None:
    """Say what went wrong; ``None`` when TLS is not to blame.

    Args:
        error: what the failed attempt reported; ``None`` when it was not a TLS error.
        shown: by the examination.
        peer: whom we meant to speak with.

    """
    if isinstance(error, ssl.SSLCertVerificationError):
        return _engine_certificate(error, shown.certificate, peer)
    reason = (error.reason if error is not None else "") or ""
    for said in (reason, shown.objection):
        if said in _NOT_TLS:
            return Diagnosis(
                f"{peer} does not speak TLS", "use tcp:// without `tls:`, or enable TLS on the engine (--tlsverify)"
            )
        if said in _NO_COMMON_VERSION:
            return Diagnosis(f"{peer} supports no secure TLS version (1.2 or newer)", "upgrade the engine")
    if reason in _ABOUT_CLIENT or shown.objection in _ABOUT_CLIENT or shown.objection == _CLOSED:
        return _client_certificate(peer.files, shown)
    said = reason or shown.objection
    return Diagnosis(f"TLS with {peer} failed: {said.replace('_', ' ').lower()}") if said else None


def _engine_certificate(error: ssl.SSLCertVerificationError, certificate: Certificate | None, peer: Peer) -> Diagnosis:
    """Explain why we do not accept the engine's certificate."""
    its = f"the certificate of {peer}" + (f" ({certificate.subject!r})" if certificate else "")
    code = error.verify_code
    if code == _EXPIRED:
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
        if files is None or not files.ca_file:
            return Diagnosis(f"{its} was {issuer} this system does not trust", "set ca_file under `tls:` to its CA")
        held = ", ".join(repr(ca.subject) for ca in read_certificates(files.ca_file)) or "no certificate"
        return Diagnosis(
            f"{its} was {issuer} is not in {files.ca_file} (it contains {held})",
            "set ca_file to the CA that issued the engine's certificate",
        )
    return Diagnosis(f"{its} cannot be trusted: {error.verify_message}", "issue a new one")


def _client_certificate(files: TLSFiles | None, shown: Shown) -> Diagnosis:
    """Explain why the engine does not accept us. Engines hardly say; our own file tells more."""
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
