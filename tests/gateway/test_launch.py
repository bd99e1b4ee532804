from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from pilotage.core.errors import GatewayError
from pilotage.gateway.binary import find_envoy
from pilotage.gateway.launch import ChildLauncher, envoy_command, write_config

if TYPE_CHECKING:
    from pathlib import Path


def test_the_admin_interface_is_added_to_the_configuration(tmp_path: Path) -> None:
    write_config(tmp_path / "envoy.json", {"node": {"id": "a"}}, tmp_path / "admin.sock")
    written = json.loads((tmp_path / "envoy.json").read_text())
    assert written["node"] == {"id": "a"}
    assert written["admin"]["address"]["pipe"] == {"path": f"{tmp_path}/admin.sock", "mode": 0o600}


def test_a_configuration_that_cannot_be_written_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(GatewayError, match=r"cannot write .*set TMPDIR"):
        write_config(tmp_path / "none" / "envoy.json", {}, tmp_path)


@pytest.mark.parametrize(("workers", "added"), [(0, []), (3, ["--concurrency", "3"])])
def test_without_a_number_envoy_chooses_its_workers(tmp_path: Path, workers: int, added: list[str]) -> None:
    command = envoy_command(tmp_path / "envoy", tmp_path / "c", workers=workers, log_level="off")
    assert command[-2:] == (added or ["--drain-strategy", "immediate"])


@pytest.mark.process
async def test_a_child_is_read_to_the_end_of_its_log(tmp_path: Path) -> None:
    launcher = ChildLauncher({"unknown": 1}, tmp_path, binary=find_envoy(), workers=1, log_level="info")
    assert not launcher.keeps
    process = await launcher.start()
    lines: list[str] = []
    await launcher.read_log(process, lines.append)
    assert process.returncode == 1
    assert any("unknown" in line for line in lines), lines
