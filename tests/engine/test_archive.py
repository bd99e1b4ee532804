"""Archives with an agent's certificates: what is read, and what is refused before anything is connected."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives import serialization

from pilotage.engine.archive import check_credentials, read_archive, read_credentials
from pilotage.engine.config import TLSFiles
from pilotage.engine.credentials import CredentialsError
from pilotage.engine.tls import TLSMaterial
from tests.support.agents import AgentCertificates

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_MADE = AgentCertificates()
_OTHER = AgentCertificates()


def _locked() -> bytes:
    key = serialization.load_pem_private_key(_MADE.key, None)
    pem = serialization.Encoding.PEM
    how = serialization.PrivateFormat.TraditionalOpenSSL
    return key.private_bytes(pem, how, serialization.BestAvailableEncryption(b"secret"))


def failure(files: TLSFiles) -> tuple[str, str]:
    with pytest.raises(CredentialsError) as caught:
        check_credentials(files)
    return caught.value.what, caught.value.remedy


def test_an_archive_of_godoxy_is_read_and_accepted(tmp_path: Path) -> None:
    path = _MADE.write_zip(tmp_path / "10.0.0.2:8890.zip")
    found = check_credentials(TLSFiles(zip_file=str(path)))
    assert (found.ca, found.cert, found.key) == (_MADE.ca, _MADE.cert, _MADE.key)
    assert "PRIVATE" not in repr(found)
    assert found.client is not None
    assert found.client.subject == "godoxy.agent"


def test_a_comment_in_another_alphabet_does_not_matter(tmp_path: Path) -> None:
    comment = "# für den Dachboden\n".encode()
    path = _MADE.write_zip(tmp_path / "a.zip", ca=comment + _MADE.ca, cert=comment + _MADE.cert)
    files = TLSFiles(zip_file=str(path))
    assert check_credentials(files).ca == comment + _MADE.ca
    assert TLSMaterial(files).context().get_ca_certs()


def test_separate_files_are_the_same(tmp_path: Path) -> None:
    for name in ("ca", "cert", "key"):
        (tmp_path / name).write_bytes(getattr(_MADE, name))
    files = TLSFiles(ca_file=f"{tmp_path}/ca", cert_file=f"{tmp_path}/cert", key_file=f"{tmp_path}/key")
    assert check_credentials(files) == read_credentials(files)


@pytest.mark.parametrize(
    ("members", "what"),
    [
        ({"key": None}, "has no key.pem"),
        ({"ca": None, "cert": None}, "has no ca.pem and no cert.pem"),
        ({"ca": b"no PEM"}, "has no CA certificate in PEM form"),
        ({"ca": _MADE.ca + _OTHER.ca.replace(b"MII", b"MIJ")}, "has no CA certificate in PEM form"),
        ({"key": b"no PEM"}, "has no valid certificate and key in PEM form"),
        ({"key": _OTHER.key}, "does not belong to its certificate"),
        ({"key": _locked()}, "is encrypted with a passphrase"),
        ({"ca": _OTHER.ca}, "does not verify against its CA"),
        ({"cert": _MADE.server_cert, "key": _MADE.server_key}, "because it is not valid for clients"),
        ({"ca": b"x" * 200_000}, "ca.pem in .* is larger than 128 KiB"),
    ],
)
def test_an_archive_that_no_agent_would_accept_is_refused(tmp_path: Path, members: Any, what: str) -> None:
    import re

    message, remedy = failure(TLSFiles(zip_file=str(_MADE.write_zip(tmp_path / "a.zip", **members))))
    assert re.search(what, message)
    assert "a.zip" in message
    assert remedy


def test_expired_certificates_are_refused_with_their_dates(tmp_path: Path) -> None:
    path = AgentCertificates(expired=True).write_zip(tmp_path / "a.zip")
    message, _ = failure(TLSFiles(zip_file=str(path)))
    assert "is not valid now (valid 20" in message


def _absent(_: Path) -> None:
    return None


def _text(path: Path) -> None:
    path.write_text("not an archive")


def _cut(path: Path) -> None:
    _MADE.write_zip(path)
    path.write_bytes(path.read_bytes()[:-30])


def _folder(path: Path) -> None:
    path.mkdir()


def _bomb(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("ca.pem", "cert.pem", "key.pem"):
            archive.writestr(name, b"0" * 50_000_000)


@pytest.mark.parametrize("make", [_absent, _text, _cut, _folder, _bomb])
def test_a_file_that_is_no_archive_is_refused(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "a.zip")
    with pytest.raises(CredentialsError) as caught:
        read_archive(str(tmp_path / "a.zip"))
    assert str(tmp_path / "a.zip") in caught.value.what
    assert caught.value.remedy
