from __future__ import annotations

from typing import TYPE_CHECKING

import trustme

from pilotage.xds import client_authorities
from pilotage.xds.client_authorities import read_profile
from pilotage.xds.client_profiles import ClientProfile

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_the_authorities_of_all_files_are_read(tmp_path: Path) -> None:
    files = []
    for name in ("a", "b"):
        trustme.CA().cert_pem.write_to_path(tmp_path / name)
        files.append(str(tmp_path / name))
    profile, pem, _ = read_profile(ClientProfile("staff", tuple(files), problem="an earlier one"))
    assert profile.problem == ""
    assert pem.count(b"BEGIN CERTIFICATE") == 2


def test_the_authorities_of_the_system_count_only_if_they_are_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trustme.CA().cert_pem.write_to_path(tmp_path / "system")
    monkeypatch.setattr(client_authorities, "_system_file", lambda: str(tmp_path / "system"))
    assert read_profile(ClientProfile("staff", use_system_cas=True))[1].count(b"BEGIN") == 1
    monkeypatch.setattr(client_authorities, "_system_file", lambda: "")
    assert "the system has no file" in read_profile(ClientProfile("staff", use_system_cas=True))[0].problem


def test_a_profile_with_any_unusable_file_verifies_nothing(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "good")
    leaf = authority.issue_cert("app.example.org")
    leaf.cert_chain_pems[0].write_to_path(tmp_path / "leaf")
    (tmp_path / "text").write_text("no certificate")
    (tmp_path / "large").write_bytes(b"x" * 3_000_000)
    (tmp_path / "empty").write_bytes(b"")
    for name, message in (
        ("missing", "cannot read {}: No such file or directory"),
        (".", "cannot read {}: Is a directory"),
        ("text", "{} is not a PEM file with certificates"),
        ("large", "{} is not a PEM file with certificates"),
        ("empty", "{} is not a PEM file with certificates"),
        ("leaf", "{} has no certificate of an authority"),
    ):
        path = str(tmp_path / name)
        profile, pem, _ = read_profile(ClientProfile("staff", (str(tmp_path / "good"), path)))
        assert (profile.problem, pem) == (message.format(path), b"")
    assert read_profile(ClientProfile("staff"))[0].problem == "it has no authority"
