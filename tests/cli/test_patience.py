from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from pilotage.cli.patience import ask_all
from pilotage.testing import FakeEngine, container
from tests.support.faults import Exchange, puppet

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.commandline import Said


async def after(seconds: float, result: str) -> str:
    await asyncio.sleep(seconds)
    return result


@pytest.mark.looptime
async def test_quick_results_are_shown_after_two_seconds_and_slow_engines_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    shown: list[tuple[float, list[str]]] = []
    now = asyncio.get_running_loop().time
    begin = now()
    work = [("a", after(5, "A")), ("b", after(1, "B")), ("c\n", after(3, "C"))]
    assert await ask_all(work, lambda done: shown.append((now() - begin, done))) == ["A", "B", "C"]
    assert shown == [(2.0, ["B"])]
    assert capsys.readouterr().err == "Still waiting for a, c\\x0a.\n"


@pytest.mark.looptime
async def test_nothing_is_shown_early_where_all_are_quick_or_none_is(capsys: pytest.CaptureFixture[str]) -> None:
    shown: list[list[str]] = []
    assert await ask_all([("a", after(1, "A"))], shown.append) == ["A"]
    assert await ask_all([], shown.append) == []
    assert capsys.readouterr().err == ""
    assert await ask_all([("a", after(3, "A"))], shown.append) == ["A"]
    assert capsys.readouterr().err == "Still waiting for a.\n"
    assert shown == []


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Show quick results sooner, and give up on a silent engine soon after that."""
    monkeypatch.setattr("pilotage.cli.patience.PATIENCE", 0.7)


async def slow(exchange: Exchange) -> None:
    await asyncio.sleep(1.5)
    exchange.reset()


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("command", "shown"),
    [
        (["routes"], "STATUS"),
        (["ps"], "STATE"),
        (["explain", "web"], "Route web"),
        (["engines"], "here*"),
        (["capture"], '"name":"here"'),
    ],
)
async def test_an_engine_that_is_slow_to_fail_is_named_and_the_others_are_shown_once(
    command: list[str], shown: str, pilotage: Callable[..., Said], tmp_path: Path
) -> None:
    async with FakeEngine([container("web", ports=(80,))]) as engine, puppet(slow, path=tmp_path / "slow.sock") as mute:
        args = ["--engine", f"mute={mute.url}", "--engine", f"here={engine.url}"]
        said = await asyncio.to_thread(pilotage, *command, *args)
    assert said.status == 1
    assert said.err.splitlines()[0] == "Still waiting for mute."
    assert said.out.count(shown) == 1


@pytest.mark.usefixtures("impatient")
async def test_an_engine_that_answers_late_is_shown_with_the_others(pilotage: Callable[..., Said]) -> None:
    async with (
        FakeEngine([container("web", ports=(80,))]) as engine,
        FakeEngine([container("late", ports=(81,))]) as far,
    ):
        args = ["--engine", f"far={far.url}", "--engine", f"here={engine.url}"]
        far.spoil("list", delay=1.5)
        said = await asyncio.to_thread(pilotage, "routes", *args)
        far.spoil("list", delay=1.5)
        document = await asyncio.to_thread(pilotage, "routes", "--format", "json", *args)
    first, second = said.out.split("\n\nALIAS")
    assert "late" not in first
    assert "late" in second
    assert "web" in second
    assert (said.status, said.err) == (0, "Still waiting for far.\n")
    assert list(json.loads(document.out)["routes"]) == ["late", "web"]
    assert document.err == "Still waiting for far.\n"
