from __future__ import annotations

import pytest

from pilotage.config.host_names import is_host


@pytest.mark.parametrize(
    "text", ["nas", "nas.example.com", "my_host", "a.b.", "10.0.0.1", "fd00::1", "[fd00::1]", "x" * 63]
)
def test_names_and_addresses_are_hosts(text: str) -> None:
    assert is_host(text)


@pytest.mark.parametrize("text", ["", "a b", "nas:80", "http://nas", "nas/x", "-nas", "a..b", "x" * 64, "[nas]"])
def test_other_texts_are_not(text: str) -> None:
    assert not is_host(text)
