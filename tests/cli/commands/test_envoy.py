from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.mark.parametrize("command", ["envoy", "stop"])
def test_errors_of_the_configuration_are_reported(pilotage: Callable[..., Any], tmp_path: Path, command: str) -> None:
    (tmp_path / "pilotage.yml").write_text("gateway: {keep: maybe}")
    done = pilotage(command, "--config", f"{tmp_path}/pilotage.yml")
    assert done.status == 2
    assert "gateway.keep" in done.err


def test_there_may_be_nothing_to_stop(pilotage: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "pilotage.yml").write_text("gateway: {http: 8080}")
    done = pilotage("stop", "--config", f"{tmp_path}/pilotage.yml", "--api", f"unix://{tmp_path}/api.sock")
    assert done.status == 1
    assert "neither pilotage nor Envoy is running here" in done.err
