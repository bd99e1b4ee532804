"""Wait for conditions instead of fixed times."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["alive", "pass_time", "until", "wait_until"]


async def until(condition: Callable[[], object], *, patience: float = 60) -> None:
    """Return as soon as the condition holds; ``TimeoutError`` if it does not within ``patience`` seconds."""
    async with asyncio.timeout(patience):
        while not condition():  # noqa: ASYNC110  # what is waited for happens in other processes, too
            await asyncio.sleep(0.01)


def wait_until(condition: Callable[[], object], why: Callable[[], object] = str, *, patience: float = 60) -> None:
    """Like :func:`until`, without an event loop; ``AssertionError`` with ``why()`` if it does not hold in time."""
    end = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < end, why()
        time.sleep(0.01)


async def pass_time(seconds: float) -> None:
    """Let virtual time pass, in a test marked ``looptime``.

    Every timer due meanwhile fires at its exact time, so the result does not depend on the machine's speed. In real
    time, wait for a condition with :func:`until` instead.
    """
    loop = asyncio.get_running_loop()
    assert getattr(loop, "looptime_on", False), "this test runs in real time: wait for a condition instead"
    await asyncio.sleep(seconds)


def alive(pid: int) -> bool:
    """Return whether a process exists and is not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
