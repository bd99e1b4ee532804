"""Follows the live table and prints each update, for ``pilotage watch`` and ``pilotage routes --watch``."""

from __future__ import annotations

import asyncio
import contextlib
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
from rich.console import Console
from rich.live import Live
from rich.text import Text

from pilotage.cli.running import daemon_updates
from pilotage.core.text import safe_json
from pilotage.discovery.manager import DiscoveryManager, discover
from pilotage.output.changelog import ChangeFormatter, ChangeLine, problem_line
from pilotage.output.console import Out, clean
from pilotage.output.json import change_json
from pilotage.output.text.problems import print_problems
from pilotage.output.text.routes import print_routes, summary
from pilotage.output.view import View
from pilotage.routes.as_written import AsWritten
from pilotage.xds.table_problems import problems_of_table

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Callable, Iterable, Iterator, Mapping

    from pilotage.config.engines import ChosenEngines
    from pilotage.core.problems import Problem
    from pilotage.discovery.update import Update
    from pilotage.output.pipe import Pipe
    from pilotage.table.table import Table

__all__ = ["Columns", "Screen", "follow", "json_printer", "redraw", "text_printer"]


async def follow(
    source: ChosenEngines | Path,
    env: Mapping[str, str],
    show: Callable[[Update, AsWritten | None], None],
    *,
    pause: float = 0,
    pipe: Pipe | None = None,
) -> None:
    """Print every update of a table until cancelled.

    Args:
        source: the engines and route files to watch, or the socket of a daemon that watches them.
        env: environment variables.
        show: prints an update. Its second argument names the labels in problems between routes; it is ``None`` for a
            daemon's table, which has these problems already. Updates that arrive before it returns are merged into the
            next one.
        pause: minimum seconds between two updates.
        pipe: the pipe to which ``show`` prints; the next update waits until the pipe's reader has read this one.
            ``None`` if the output is not a pipe.

    Raises:
        BrokenPipeError: the reader closed the pipe.
        Refused: the daemon has ended.

    """
    async with contextlib.AsyncExitStack() as stack:
        if pipe is not None:
            await stack.enter_async_context(pipe.while_read())
            await pipe.drain()  # what has been printed
        updates = await stack.enter_async_context(_updates(source, env))
        written = _labels_of(updates) if isinstance(updates, DiscoveryManager) else None
        async for update in updates:
            show(update, written)
            if pipe is not None:
                await pipe.drain()
            await asyncio.sleep(pause)


def _updates(
    source: ChosenEngines | Path, env: Mapping[str, str]
) -> contextlib.AbstractAsyncContextManager[AsyncIterable[Update]]:
    if isinstance(source, Path):
        return daemon_updates(source)
    given: dict[str, Any] = {"reserved_ports": source.reserved_ports, "policy": source.policy, "env": env}
    return discover(source.configs, files=source.files, **given)


def _labels_of(discovery: DiscoveryManager) -> AsWritten:
    return AsWritten(lambda: discovery.table.routes, discovery.containers_of, discovery.files)


# ---- changes, line after line --------------------------------------------------------------------------------------

_STYLES: Final = {
    "added": "green",
    "updated": "cyan",
    "removed": "yellow",
    "draining": "yellow",
    "health": "cyan",
    "live": "green",
    "read": "green",
    "resolved": "green",
    "warning": "yellow",
    "down": "red",
    "stale": "red",
    "problem": "red",
    "conflict": "red",
}
_WIDEST_ALIAS: Final = 28
_WIDEST_ENGINE: Final = 20
_NARROW: Final = 30  # minimum width of the detail column


class Columns:
    """Prints lines in columns without knowing how wide the columns of later lines must be.

    A column is as wide as the longest name so far, within limits, so lines printed together are always aligned.
    """

    def __init__(self, out: Out, engines: Iterable[str] = ()) -> None:
        self.out = out
        self._engine = max(map(len, engines), default=0)
        self._alias = 12

    def print(self, lines: Iterable[ChangeLine], at: float) -> None:
        """Print lines that all show the time ``at``, in seconds since 1970."""
        lines = list(lines)
        self._engine = min(_WIDEST_ENGINE, max([self._engine, *(len(line.engine) for line in lines)]))
        self._alias = min(_WIDEST_ALIAS, max([self._alias, *(len(line.alias) for line in lines)]))
        when = datetime.fromtimestamp(at).astimezone()
        clock = when.strftime("%H:%M:%S") if self.out.is_terminal else when.isoformat(timespec="milliseconds")
        for line in lines:
            self._line(line, clock)

    def _line(self, line: ChangeLine, clock: str) -> None:
        quiet = "dim" if line.quiet else ""
        text = Text(f"{clock}  ", style="")
        text.stylize("dim")
        text.append(f"{clean(line.engine):{self._engine}}  ", style="")
        text.append(f"{line.kind:8}  ", style=quiet or _STYLES.get(line.kind, ""))
        text.append(f"{clean(line.alias):{self._alias}}  ", style=quiet or "bold")
        column = len(text.plain)
        text.append(clean(line.detail), style=quiet)
        if line.cause and line.kind not in ("stale", "down"):
            text.append(f"  ({clean(line.cause)})", style="dim")
        width = self.out.width
        self.out.paragraph(text, hanging=column if width - column > _NARROW else 4)


def text_printer(
    out: Out, engines: Iterable[str], problems: Iterable[Problem] = ()
) -> Callable[[Update, AsWritten | None], None]:
    """Print problems, and return a function that prints updates as text.

    Args:
        out: the output.
        engines: names of the engines that are watched.
        problems: problems with the configuration, printed immediately.

    """
    columns, formatter, found = Columns(out, engines), ChangeFormatter(), _Problems()
    print_problems(out, tuple(problems), apart=False)

    def show(update: Update, written: AsWritten | None) -> None:
        lines = formatter.format(update)
        columns.print((*lines, *found.lines(lines, update.new, written)), time.time())
        out.file.flush()

    return show


_MOST_AT_START: Final = 20


class _Problems:
    """Finds the problems that are not among the changes of an update."""

    def __init__(self) -> None:
        self._listed: set[str] = set()  # engines whose first list has been printed
        self._joint: dict[Problem, Problem] = {}  # problem between routes -> the same with its label

    def lines(self, printed: Iterable[ChangeLine], table: Table, written: AsWritten | None) -> Iterator[ChangeLine]:
        """Yield the problems with which an engine begins, and new and resolved problems between routes."""
        for name in [line.engine for line in printed if line.kind == "live" and line.engine not in self._listed]:
            self._listed.add(name)
            first = [it for it in table.problems if it.provider == name and (it.container or it.route)]
            yield from (problem_line("problem", it) for it in first[:_MOST_AT_START])
            if len(first) > _MOST_AT_START:
                text = f"and {len(first) - _MOST_AT_START} more; 'pilotage routes' lists all"
                yield ChangeLine("problem", name, detail=text)
        if written is None:
            return
        found = problems_of_table(table)
        before, self._joint = self._joint, dict(zip(found, written(found), strict=True))
        yield from (problem_line("resolved", shown) for it, shown in before.items() if it not in self._joint)
        yield from (problem_line("problem", shown) for it, shown in self._joint.items() if it not in before)


def json_printer(out: Out) -> Callable[[Update, AsWritten | None], None]:
    """Return a function that prints updates as JSON, one object per line. The first update has the whole table."""

    def show(update: Update, _: AsWritten | None) -> None:
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        for change in update.changes:
            change_line = {"time": now, "version": update.new.version, **change_json(change, update.new)}
            out.file.write(safe_json(msgspec.json.encode(change_line)).decode() + "\n")
        out.file.flush()

    return show


# ---- the whole table ------------------------------------------------------------------------------

_REDRAW: Final = 0.1  # minimum seconds between two drawings


class Screen:
    """Draws the table for each update: in place on a terminal, elsewhere one after another."""

    def __init__(self, out: Out, live: Live | None = None) -> None:
        self.out = out
        self.live = live
        self._drawn = False

    def draw(self, update: Update, _: AsWritten | None = None) -> None:
        """Draw the table of an update."""
        if self.live is None:
            if self._drawn:
                self.out.line()
            self._print(update.new)
            self.out.file.flush()
        else:
            with self.out.console.capture() as captured:
                self._print(update.new)
            self.live.update(_cropped(captured.get(), self.live.console.height), refresh=True)
        self._drawn = True

    def _print(self, table: Table) -> None:
        view = View((), table)
        print_routes(self.out, view)
        self.out.line()
        self.out.line(summary(view))
        for name, status in sorted(table.engines.items()):
            if status.state == "stale":
                since = time.strftime("%H:%M:%S", time.localtime(status.since))
                text = Text("✗ ", style="red").append(
                    clean(f"{name}: unreachable since {since}: {status.error}"), "not red"
                )
                self.out.paragraph(text, hanging=2)
            elif status.state == "pending":
                self.out.note(clean(f"{name}: not connected yet"))
        print_problems(self.out, [p for p in table.problems if p.container or p.route or p.file])


def _cropped(drawn: str, height: int) -> Text:
    lines = drawn.rstrip("\n").split("\n")
    if len(lines) > height:
        hidden = len(lines) - height + 1
        lines = [*lines[: height - 1], f"… {hidden} more lines"]
    text = Text.from_ansi("\n".join(lines))
    text.no_wrap = True
    return text


async def redraw(source: ChosenEngines | Path, env: Mapping[str, str], out: Out, pipe: Pipe | None = None) -> None:
    """Show the table of routes as it changes, until cancelled. See :func:`follow` for ``pipe``."""
    if not out.is_terminal:
        await follow(source, env, Screen(out).draw, pause=_REDRAW, pipe=pipe)
        return
    screen = Console(file=out.file, highlight=False, markup=False, emoji=False)
    with Live(console=screen, screen=True, auto_refresh=False, vertical_overflow="crop") as live:
        await follow(source, env, Screen(out, live).draw, pause=_REDRAW)
