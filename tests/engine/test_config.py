from __future__ import annotations

import pytest

from pilotage.engine.config import DockerProviderConfig, TLSFiles


@pytest.mark.parametrize(("name", "explicit_only"), [("", False), ("main", False), ("main!", True), ("ma!in", False)])
def test_an_engine_is_explicit_only_if_its_name_ends_with_an_exclamation_mark(name: str, explicit_only: bool) -> None:
    assert DockerProviderConfig("unix:///x", name=name).explicit_only is explicit_only


def test_certificates_are_verified_by_default() -> None:
    assert TLSFiles().verify


def test_configurations_with_equal_fields_are_equal_and_hashable() -> None:
    one = DockerProviderConfig("tls://h", TLSFiles(ca_file="/ca"))
    assert len({one, DockerProviderConfig("tls://h", TLSFiles(ca_file="/ca"))}) == 1
