from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from pilotage.cli.doctor import examine
from pilotage.cli.doctor.finding import Finding
from pilotage.testing import FakeEngine

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.commandline import Said


@pytest.fixture(autouse=True)
def no_resolver(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask no name server, which may be on another machine."""
    monkeypatch.setattr(examine, "check_name", lambda domain: Finding(f"names *.{domain}", "ok", "they resolve"))


async def test_the_exit_status_says_whether_there_is_a_problem(pilotage: Callable[..., Said], tmp_path: Path) -> None:
    async with FakeEngine() as engine:
        fine = await asyncio.to_thread(pilotage, "doctor", "--no-gateway", "--engine", f"here={engine.url}")
    assert (fine.status, "✗" in fine.out) == (0, False)
    assert "✓ ok       engine here: Docker" in fine.out
    bad = await asyncio.to_thread(pilotage, "doctor", "--no-gateway", "--engine", f"gone=unix://{tmp_path}/gone.sock")
    assert bad.status == 1
    assert "✗ problem  engine gone: no socket at" in bad.out
    assert "\n           → start the engine" in bad.out


async def test_json_has_every_check(pilotage: Callable[..., Said]) -> None:
    said = await asyncio.to_thread(pilotage, "doctor", "--format", "json", "--no-gateway")
    checks = {each["check"]: each for each in json.loads(said.out)["checks"]}
    assert checks["engines"]["state"] == "problem"
    assert checks["engines"]["remedy"]
    assert {"configuration", "clock", "names *.localhost", "state folder", "daemon"} <= checks.keys()
