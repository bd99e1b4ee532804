"""Asks several engines concurrently, without letting a slow one hold back the results of the others."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable
    from typing import Any

__all__ = ["PATIENCE", "ask_all"]

PATIENCE: Final = 2.0
"""Seconds until the results of the quick engines are shown and the slow ones are named (documented in
docs/how-to/many-engines.md)."""

T = TypeVar("T")


async def ask_all(
    work: Iterable[tuple[str, Coroutine[Any, Any, T]]], show: Callable[[list[T]], object] | None = None
) -> list[T]:
    """Run the coroutines of all engines concurrently and return their results in the order of ``work``.

    If some engines have not finished after :data:`PATIENCE` seconds, ``show`` receives the results of the other
    engines, and standard error names the engines that have not finished. This happens at most once.

    Args:
        work: the name of each engine and its coroutine, which must convert the engine's failure to a result.
        show: receives the results so far; not called if no engine has finished.

    """
    async with asyncio.TaskGroup() as group:
        tasks = [(name, group.create_task(coroutine)) for name, coroutine in work]
        if tasks:
            await asyncio.wait([task for _, task in tasks], timeout=PATIENCE)
        waiting = [name for name, task in tasks if not task.done()]
        done = [task.result() for _, task in tasks if task.done()]
        if waiting and done and show is not None:
            show(done)
            sys.stdout.flush()
        if waiting:
            _name(waiting)
    return [task.result() for _, task in tasks]


def _name(waiting: list[str]) -> None:
    from pilotage.output.console import Out, clean  # rich is slow to import

    Out(sys.stderr).note(clean(f"Still waiting for {', '.join(waiting)}."))
