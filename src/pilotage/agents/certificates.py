"""Makes the certificates for a new agent: a CA for this agent only, a server certificate and a client certificate."""

from __future__ import annotations

import datetime as dt
import os
import zipfile
from io import BytesIO
from typing import TYPE_CHECKING, Final

import msgspec

from pilotage.core.certificate_builder import key_usage, new_certificate
from pilotage.core.errors import PilotageError
from pilotage.engine.credentials import AGENT_NAME

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

__all__ = ["AgentCertificates", "make_certificates", "write_archive"]

_YEARS: Final = 10
"""Years for which the certificates are valid. To renew them, restart the agent with new ones."""

_ORGANIZATION: Final = "pilotage"
_EARLY: Final = dt.timedelta(minutes=5)  # clocks differ


class AgentCertificates(msgspec.Struct, frozen=True):
    """The certificates and keys for one agent, as PEM. The ``repr`` hides all of them.

    Attributes:
        ca, ca_key: certificate and key of the CA, which signs the other two certificates.
        server, server_key: the certificate and key that the agent presents to pilotage.
        client, client_key: the certificate and key that pilotage presents to the agent.

    """

    ca: bytes
    ca_key: bytes
    server: bytes
    server_key: bytes
    client: bytes
    client_key: bytes

    def __repr__(self) -> str:
        return "AgentCertificates(<hidden>)"


def make_certificates() -> AgentCertificates:
    """Make a CA, a server and a client certificate with ECDSA P-256 keys. All three pass OpenSSL's strict checks.

    Raises:
        PilotageError: the package ``cryptography`` is not installed.

    """
    try:
        from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415  # an optional package
        from cryptography.x509.oid import ExtendedKeyUsageOID  # noqa: PLC0415
    except ImportError as error:
        message = "certificates cannot be made, because cryptography is not installed"
        raise PilotageError(f"{message}; run pip install 'pilotage[agents]'") from error
    ca_key, server_key, client_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
    ca = _certificate(ca_key, ca_key, "")
    server = _certificate(server_key, ca_key, "Server", ExtendedKeyUsageOID.SERVER_AUTH)
    client = _certificate(client_key, ca_key, "Client", ExtendedKeyUsageOID.CLIENT_AUTH)
    return AgentCertificates(ca, _pem(ca_key), server, _pem(server_key), client, _pem(client_key))


def _certificate(
    key: ec.EllipticCurvePrivateKey,
    ca_key: ec.EllipticCurvePrivateKey,
    unit: str,
    purpose: x509.ObjectIdentifier | None = None,
) -> bytes:
    """Return a PEM certificate for ``key``, signed with ``ca_key``. Without ``purpose``, it is the CA's own."""
    from cryptography import x509  # noqa: PLC0415
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415

    now = dt.datetime.now(dt.UTC)
    builder = (
        new_certificate(_name(unit), _name(""), key.public_key(), now - _EARLY, now + dt.timedelta(days=365 * _YEARS))
        .add_extension(x509.BasicConstraints(ca=purpose is None, path_length=None if purpose else 0), critical=True)
        .add_extension(key_usage(ca=purpose is None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
    )
    if purpose is not None:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(AGENT_NAME)]), critical=False)
        builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
    return builder.sign(ca_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _name(unit: str) -> x509.Name:
    from cryptography import x509  # noqa: PLC0415
    from cryptography.x509.oid import NameOID  # noqa: PLC0415

    parts = [(NameOID.ORGANIZATION_NAME, _ORGANIZATION), (NameOID.ORGANIZATIONAL_UNIT_NAME, unit)]
    parts.append((NameOID.COMMON_NAME, AGENT_NAME))
    return x509.Name([x509.NameAttribute(kind, text) for kind, text in parts if text])


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return a private key as unencrypted PEM in SEC1 format, which agents expect."""
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415

    form = serialization.PrivateFormat.TraditionalOpenSSL
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


def write_archive(path: Path, certificates: AgentCertificates, *, replace: bool = False) -> None:
    """Write the files that pilotage needs to reach an agent into a zip archive that only this user can read.

    Args:
        path: the zip archive; its folder is created if necessary.
        certificates: the result of :func:`make_certificates`; the CA's certificate and the client's certificate and key
            are written.
        replace: whether to replace an existing archive.

    Raises:
        FileExistsError: the archive exists, and ``replace`` is false.
        OSError: the archive cannot be written.

    """
    body = BytesIO()
    members = {"ca.pem": certificates.ca, "cert.pem": certificates.client, "key.pem": certificates.client_key}
    with zipfile.ZipFile(body, "w") as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not replace and path.exists():
        raise FileExistsError(path)
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(body.getvalue())
    temporary.replace(path)
