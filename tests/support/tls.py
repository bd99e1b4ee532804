"""Valid and invalid certificates, and TLS contexts of servers that present them."""

from __future__ import annotations

import datetime as dt
import ssl
from typing import TYPE_CHECKING

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from pilotage.engine.config import TLSFiles

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Authority", "bare_recipe", "server_context", "xds_files"]

_DAY = dt.timedelta(days=1)


class Authority:
    """A CA, and the files of the certificates that it issues.

    Args:
        directory: for the files.
        name: name of the CA, which messages show.
        ca: an existing CA instead of a new one.

    """

    def __init__(self, directory: Path, name: str, ca: trustme.CA | None = None) -> None:
        self.directory = directory
        self.name = name
        self.ca = ca or trustme.CA(organization_name=name)
        self.ca_file = str(directory / f"{name}-ca.pem")
        self.ca.cert_pem.write_to_path(self.ca_file)

    @classmethod
    def of_engine(cls, cert_dir: Path, directory: Path) -> Authority:
        """Return the CA that a test engine trusts."""
        ca = trustme.CA.from_pem((cert_dir / "ca.pem").read_bytes(), (cert_dir / "ca-key.pem").read_bytes())
        return cls(directory, "engine", ca)

    def issue(self, name: str, *identities: str, expired: bool = False, future: bool = False) -> tuple[str, str]:
        """Issue a certificate for hosts or people; return the paths of the certificate and its key."""
        now = dt.datetime.now(dt.UTC)
        begin, end = (now - 30 * _DAY, now - _DAY) if expired else (now - _DAY, now + 30 * _DAY)
        if future:
            begin, end = now + _DAY, now + 30 * _DAY
        leaf = self.ca.issue_cert(*identities, common_name=name, not_before=begin, not_after=end)
        cert, key = self.directory / f"{self.name}-{name}.pem", self.directory / f"{self.name}-{name}-key.pem"
        cert.write_bytes(b"".join(pem.bytes() for pem in leaf.cert_chain_pems))
        leaf.private_key_pem.write_to_path(key)
        return str(cert), str(key)

    def files(self, pair: tuple[str, str] = ("", "")) -> TLSFiles:
        """Return the files with which a client trusts this CA and presents a certificate."""
        return TLSFiles(ca_file=self.ca_file, cert_file=pair[0], key_file=pair[1])


def server_context(
    pair: tuple[str, str], clients: Authority | None = None, version: ssl.TLSVersion | None = None
) -> ssl.SSLContext:
    """Return the context of a server that presents ``pair`` and, if ``clients`` is given, requires its certificates."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*pair)
    if version is not None:
        context.minimum_version = context.maximum_version = version
    if clients is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(clients.ca_file)
    return context


def bare_recipe(directory: Path, *, server_only: bool = True) -> tuple[TLSFiles, tuple[str, str]]:
    """Make a CA and a leaf by Docker's documented recipe, which has neither key IDs nor key usage.

    Returns the client's files (it uses the leaf, too) and the server's pair. By default the leaf is for servers only.
    """
    ca_key, leaf_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "recipe ca")])
    leaf_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "recipe leaf")])
    now = dt.datetime.now(dt.UTC)

    def builder(subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        begun = x509.CertificateBuilder().subject_name(subject).issuer_name(ca_name).public_key(key.public_key())
        begun = begun.serial_number(x509.random_serial_number())
        return begun.not_valid_before(now - _DAY).not_valid_after(now + 30 * _DAY)

    ca = builder(ca_name, ca_key).add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    purposes = [ExtendedKeyUsageOID.SERVER_AUTH]
    if not server_only:
        purposes.append(ExtendedKeyUsageOID.CLIENT_AUTH)
    leaf = (
        builder(leaf_name, leaf_key)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
    )
    pem = serialization.Encoding.PEM
    paths = {name: directory / f"recipe-{name}.pem" for name in ("ca", "leaf", "key")}
    paths["ca"].write_bytes(ca.sign(ca_key, hashes.SHA256()).public_bytes(pem))
    paths["leaf"].write_bytes(leaf.sign(ca_key, hashes.SHA256()).public_bytes(pem))
    paths["key"].write_bytes(
        leaf_key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    pair = (str(paths["leaf"]), str(paths["key"]))
    return TLSFiles(ca_file=str(paths["ca"]), cert_file=pair[0], key_file=pair[1]), pair


def xds_files(folder: Path) -> dict[str, str]:
    """Write an authority and a certificate for an xDS server on 127.0.0.1; return the settings ``gateway.xds.tls``."""
    authority = trustme.CA()
    own = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(str(folder / "xds-ca.pem"))
    own.cert_chain_pems[0].write_to_path(str(folder / "xds.pem"))
    own.private_key_pem.write_to_path(str(folder / "xds-key.pem"))
    return {"ca_file": "xds-ca.pem", "cert_file": "xds.pem", "key_file": "xds-key.pem"}
