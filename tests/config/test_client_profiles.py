from __future__ import annotations

from typing import TYPE_CHECKING

import trustme

from pilotage.config.load import read_config
from pilotage.xds.client_profiles import ClientProfile

if TYPE_CHECKING:
    from pathlib import Path


def test_profiles_are_read_as_godoxy_writes_them(tmp_path: Path) -> None:
    trustme.CA().cert_pem.write_to_path(tmp_path / "ca.pem")
    text = """
inbound_mtls_profiles:
  corp: {use_system_cas: false, ca_files: [ca.pem]}
  guests: {ca_files: ca.pem, optional: true}
"""
    config = read_config(text, file="pilotage.yml", folder=tmp_path, env={})
    path = str(tmp_path / "ca.pem")
    assert config.options.client_profiles == (
        ClientProfile("corp", (path,)),
        ClientProfile("guests", (path,), optional=True),
    )
    assert not config.problems


def test_an_unusable_profile_loses_nothing_else(tmp_path: Path) -> None:
    text = "debug: true\ninbound_mtls_profiles:\n  staff: {ca_files: [gone.pem]}\n  none: {}\n"
    config = read_config(text, file="pilotage.yml", folder=tmp_path, env={})
    assert config.options.debug
    found = [(it.line, it.severity, it.message) for it in config.problems]
    path = tmp_path / "gone.pem"
    served = "routes with this profile are not served"
    assert found == [
        (3, "warning", f"{served}: cannot read {path}: No such file or directory"),
        (4, "warning", f"{served}: it has no authority"),
    ]
    assert [bool(it.problem) for it in config.options.client_profiles] == [True, True]
