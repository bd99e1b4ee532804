from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from pilotage.testing import FakeEngine, container

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.commandline import Said


async def test_a_recording_of_an_engine_can_be_replayed(pilotage: Callable[..., Said], tmp_path: Path) -> None:
    async with FakeEngine([container("web", ports=(80,), labels={"proxy.web.port": "81"})]) as engine:
        where = ["--engine", f"local={engine.url}"]
        captured = await asyncio.to_thread(pilotage, "capture", *where)
        live = await asyncio.to_thread(pilotage, "routes", "--format", "json", *where)
    assert captured.status == 0
    assert "Recorded 1 container of 1 engine" in captured.err
    (tmp_path / "report.json").write_text(captured.out)
    assert pilotage("routes", "--format", "json", "--replay", "report.json").out == live.out


def test_nothing_to_record_is_status_2(pilotage: Callable[..., Said], tmp_path: Path) -> None:
    said = pilotage("capture", "--engine", f"gone=unix://{tmp_path}/gone.sock")
    assert (said.status, said.out) == (2, "")
