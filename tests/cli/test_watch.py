"""Following the live table: what is printed for people, machines and pipes, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import re
from typing import TYPE_CHECKING

import pytest

from pilotage.cli.watch import Columns, follow, json_printer, redraw, text_printer
from pilotage.config.engines import ChosenEngines
from pilotage.engine.config import DockerProviderConfig
from pilotage.output.changelog import ChangeLine
from pilotage.output.console import Out
from pilotage.testing import FakeEngine, container
from tests.support.terminal import Terminal
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from pilotage.discovery.update import Update
    from pilotage.routes import AsWritten

LABELS = {"proxy.web.port": "80"}


@pytest.fixture
async def fake() -> AsyncIterator[FakeEngine]:
    async with FakeEngine([container("web", labels=LABELS)]) as engine:
        yield engine


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Out:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("LINES", "8")
    return Out(Terminal())


def named(engine: FakeEngine) -> ChosenEngines:
    return ChosenEngines((DockerProviderConfig(engine.url, name="local"),))


def written(out: Out) -> str:
    assert isinstance(out.file, io.StringIO)
    return out.file.getvalue()


@contextlib.asynccontextmanager
async def following(engine: FakeEngine, tell: Callable[[Update, AsWritten | None], None]) -> AsyncIterator[None]:
    """Follow an engine as long as this lasts."""
    task = asyncio.create_task(follow(named(engine), {}, tell))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
    assert task.cancelled()


async def test_changes_are_printed_as_they_happen(fake: FakeEngine) -> None:
    out = Out(io.StringIO())
    async with following(fake, text_printer(out, ["local"])):
        await until(lambda: "live" in written(out))
        fake.stop("web")
        await until(lambda: "no longer served: Container not running" in written(out))
    lines = written(out).splitlines()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d  local  live +1 route", lines[0])
    assert lines[-1].endswith("of web)")


async def test_problems_from_the_start_and_between_routes_are_printed(fake: FakeEngine) -> None:
    out = Out(io.StringIO())
    fake.add("typo", labels={"proxy.typo.prot": "81"})
    fake.add("many", labels={f"proxy.many.field{number}": "x" for number in range(25)})
    for name in ("one", "two"):
        fake.add(name, labels={f"proxy.{name}.scheme": "tcp", f"proxy.{name}.port": "7001:80"})
    async with following(fake, text_printer(out, ["local"])):
        await until(lambda: "port 0.0.0.0:7001 belongs to" in written(out))
        assert "and 6 more; 'pilotage routes' lists all" in written(out)
        fake.remove("one")
        await until(lambda: "resolved" in written(out))
    lines = [line for line in written(out).splitlines() if "7001 belongs to" in line]
    assert [line.split()[2:5] for line in lines] == [
        [kind, "two", "proxy.two.port:"] for kind in ("problem", "resolved")
    ]


async def test_machines_get_an_object_a_line_and_everything_at_first(fake: FakeEngine) -> None:
    out = Out(io.StringIO())
    async with following(fake, json_printer(out)):
        await until(lambda: '"added"' in written(out))
        fake.start(fake.add(container("typo", labels={"proxy.typo.prot": "81"})))
        await until(lambda: '"kind":"problem"' in written(out))
    told = [json.loads(line) for line in written(out).splitlines()]
    assert {"time", "version", "kind", "alias", "engine", "fields", "cause", "route", "problem"} == set(told[0])
    added = next(each for each in told if each["kind"] == "added")
    assert added["route"]["target"].endswith(":80")
    (problem,) = (each["problem"] for each in told if each["kind"] == "problem")
    assert problem["label"] == "proxy.typo.prot"


def test_configuration_problems_are_printed_first() -> None:
    from pilotage.core.problems import Problem

    out = Out(io.StringIO())
    text_printer(out, [], [Problem(message="odd", file="pilotage.yml", line=3, column=1)])
    assert "odd" in written(out)


# ---- columns


def test_lines_stand_in_columns_and_long_ones_continue_there(terminal: Out) -> None:
    columns = Columns(terminal, ["local"])
    columns.print(
        [ChangeLine("problem", "local", "web", "a word " * 20), ChangeLine("added", "nas", "x" * 28, "y", "start")], 0
    )
    text = re.sub(r"\x1b\[[0-9;]*m", "", written(terminal))
    first, *others, last = text.splitlines()
    column = first.index("a word")
    assert others
    assert [len(line) - len(line.lstrip()) for line in others] == [column] * len(others)
    assert last[column:] == "y  (start)"
    assert all(len(line) <= 100 for line in text.splitlines())


def test_control_characters_are_escaped(terminal: Out) -> None:
    Columns(terminal).print([ChangeLine("problem", "lo\x1bcal", "w\nb", "\x1b[2J", "\x07")], 0)
    assert "\x1b[2J" not in written(terminal)
    assert "\\x1b[2J" in written(terminal)


def test_a_pipe_gets_whole_lines() -> None:
    out = Out(io.StringIO())
    Columns(out).print([ChangeLine("problem", "local", "web", "word " * 100)], 0)
    assert len(written(out).splitlines()) == 1


# ---- the whole table


async def test_tables_follow_one_another_in_a_pipe(fake: FakeEngine) -> None:
    out = Out(io.StringIO())
    task = asyncio.create_task(redraw(named(fake), {}, out))
    await until(lambda: "1 route, no problems" in written(out))
    fake.add(container("api"))
    await until(lambda: "2 routes, no problems" in written(out))
    task.cancel()
    await asyncio.wait([task])
    assert written(out).count("ALIAS") >= 2
    assert "\x1b" not in written(out)


async def test_a_terminal_is_redrawn_and_restored(fake: FakeEngine, terminal: Out) -> None:
    task = asyncio.create_task(redraw(named(fake), {}, terminal))
    await until(lambda: "1 route, no problems" in written(terminal))
    for number in range(9):
        fake.add(container(f"more-{number}"))
    await until(lambda: "more lines" in written(terminal))  # than the terminal has
    fake.crash()
    await until(lambda: "stale since" in written(terminal))
    task.cancel()
    await asyncio.wait([task])
    assert written(terminal).startswith("\x1b[?1049h")
    assert written(terminal).endswith("\x1b[?1049l")


async def test_an_unreachable_engine_is_shown_below_the_table(fake: FakeEngine) -> None:
    out = Out(io.StringIO())
    task = asyncio.create_task(redraw(named(fake), {}, out))
    await until(lambda: "1 route, no problems" in written(out))
    fake.crash()
    await until(lambda: re.search(r"✗ local: unreachable since \d\d:\d\d:\d\d: ", written(out)))
    task.cancel()
    await asyncio.wait([task])
