from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

from pilotage.testing import FakeEngine

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.commandline import Said


async def test_engines_are_listed_with_their_answers(pilotage: Callable[..., Said], tmp_path: Path) -> None:
    async with FakeEngine(api="1.45") as engine:
        args = ["--engine", f"here={engine.url}", "--engine", f"gone=unix://{tmp_path}/gone.sock"]
        said = await asyncio.to_thread(pilotage, "engines", *args)
        machine = await asyncio.to_thread(pilotage, "engines", "--format", "json", *args)
    assert said.status == machine.status == 1
    here, gone = said.out.splitlines()[1:3]
    assert "Docker" in here
    assert "no socket at" in gone
    assert [each["answers"] for each in json.loads(machine.out)] == [True, False]


def test_without_an_engine_the_searched_places_are_listed(pilotage: Callable[..., Said]) -> None:
    said = pilotage("engines")
    assert said.status == 2
    assert "no container engine found" in said.err
