"""Certificates for a TLS engine, in the files that ``DOCKER_CERT_PATH`` expects."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trustme

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["make_certificates"]


def make_certificates(directory: Path) -> None:
    """Write ``ca.pem``, the client's ``cert.pem`` and ``key.pem``, and the same for a server on loopback."""
    directory.mkdir(parents=True, exist_ok=True)
    authority = trustme.CA(organization_name="pilotage tests")
    authority.cert_pem.write_to_path(directory / "ca.pem")
    authority.private_key_pem.write_to_path(
        directory / "ca-key.pem"
    )  # for tests that issue further certificates, including bad ones
    server = authority.issue_cert("localhost", "127.0.0.1", "::1")
    client = authority.issue_cert("client@pilotage.invalid")
    for leaf, certificate, key in ((server, "server.pem", "server-key.pem"), (client, "cert.pem", "key.pem")):
        (directory / certificate).write_bytes(b"".join(pem.bytes() for pem in leaf.cert_chain_pems))
        leaf.private_key_pem.write_to_path(directory / key)
        (directory / key).chmod(0o600)
