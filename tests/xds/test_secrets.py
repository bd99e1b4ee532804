from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trustme

from pilotage.core.errors import ConfigError
from pilotage.xds.options import CertificateFiles, GatewayOptions
from pilotage.xds.secrets import read_certificates

if TYPE_CHECKING:
    from pathlib import Path


def written(folder: Path, name: str, certificate: trustme.LeafCert | None = None) -> CertificateFiles:
    made = certificate or trustme.CA().issue_cert(f"{name}.example.com")
    chain, key = folder / f"{name}.pem", folder / f"{name}-key.pem"
    made.cert_chain_pems[0].write_to_path(chain)
    made.private_key_pem.write_to_path(key)
    return CertificateFiles(str(chain), str(key))


def options(*files: CertificateFiles) -> GatewayOptions:
    return GatewayOptions(https_port=8443, certificates=files)


def test_each_certificate_becomes_a_secret(tmp_path: Path) -> None:
    pairs = written(tmp_path, "one"), written(tmp_path, "two")
    assert [it.name for it in read_certificates(options(*pairs))[1]] == ["certificate/0", "certificate/1"]
    assert read_certificates(GatewayOptions(certificates=pairs))[1] == []  # no HTTPS, no certificates


def test_all_unusable_certificates_are_reported_together_with_their_files(tmp_path: Path) -> None:
    good, other, garbage = written(tmp_path, "good"), written(tmp_path, "other"), tmp_path / "garbage.pem"
    garbage.write_text("no certificate")
    pairs = (
        good,
        CertificateFiles("/nowhere/c.pem", good.key),
        CertificateFiles(str(garbage), good.key),
        CertificateFiles(good.certificate, other.key),
    )
    with pytest.raises(ConfigError) as caught:
        read_certificates(options(*pairs))
    absent, senseless, foreign = (problem.message for problem in caught.value.problems)
    assert absent.startswith("cannot read /nowhere/c.pem: ")
    assert senseless.startswith(f"{garbage} and {good.key} are not a valid certificate and key: ")
    assert foreign == f"the key {other.key} does not belong to the certificate {good.certificate}"


def test_an_encrypted_key_is_rejected_without_a_prompt(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization

    files = written(tmp_path, "locked")
    path = tmp_path / "locked-key.pem"
    key = serialization.load_pem_private_key(path.read_bytes(), None)
    locked = serialization.BestAvailableEncryption(b"secret")
    kinds = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    path.write_bytes(key.private_bytes(*kinds, locked))
    with pytest.raises(ConfigError, match="without a password"):
        read_certificates(options(files))
