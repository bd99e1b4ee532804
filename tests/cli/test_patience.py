from __future__ import annotations

import asyncio
import json
import threading
from typing import TYPE_CHECKING

import pytest

from pilotage.cli import patience
from pilotage.cli.patience import ask_all
from pilotage.testing import FakeEngine, container
from tests.support.faults import Exchange, puppet
from tests.support.waiting import pass_time, until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.commandline import Said


async def after(seconds: float, result: str) -> str:
    await pass_time(seconds)
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
def named(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Show quick results sooner; return what is set once the slow engines have been named."""
    found = threading.Event()
    name = patience._name

    def report(waiting: list[str]) -> None:
        name(waiting)
        found.set()

    monkeypatch.setattr(patience, "PATIENCE", 0.7)
    monkeypatch.setattr(patience, "_name", report)
    return found


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
    command: list[str], shown: str, named: threading.Event, pilotage: Callable[..., Said], tmp_path: Path
) -> None:
    async def slow(exchange: Exchange) -> None:
        await until(named.is_set)
        exchange.reset()

    async with FakeEngine([container("web", ports=(80,))]) as engine, puppet(slow, path=tmp_path / "slow.sock") as mute:
        args = ["--engine", f"mute={mute.url}", "--engine", f"here={engine.url}"]
        said = await asyncio.to_thread(pilotage, *command, *args)
    assert said.status == 1
    assert said.err.splitlines()[0] == "Still waiting for mute."
    assert said.out.count(shown) == 1


async def test_an_engine_that_answers_late_is_shown_with_the_others(
    named: threading.Event, pilotage: Callable[..., Said]
) -> None:
    async with (
        FakeEngine([container("web", ports=(80,))]) as engine,
        FakeEngine([container("late", ports=(81,))]) as far,
    ):
        args = ["--engine", f"far={far.url}", "--engine", f"here={engine.url}"]

        async def printed(*more: str) -> Said:
            """Run the command, and let the far engine answer once it has been named."""
            named.clear()
            far.stall()
            running = asyncio.create_task(asyncio.to_thread(pilotage, "routes", *more, *args))
            await until(named.is_set)
            far.resume()
            return await running

        said, document = await printed(), await printed("--format", "json")
    first, second = said.out.split("\n\nALIAS")
    assert "late" not in first
    assert "late" in second
    assert "web" in second
    assert (said.status, said.err) == (0, "Still waiting for far.\n")
    assert list(json.loads(document.out)["routes"]) == ["late", "web"]
    assert document.err == "Still waiting for far.\n"
