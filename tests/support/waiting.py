"""Wait for conditions instead of fixed times."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["alive", "until"]


async def until(condition: Callable[[], object], *, patience: float = 60) -> None:
    """Return as soon as the condition holds; ``TimeoutError`` if it does not within ``patience`` seconds."""
    async with asyncio.timeout(patience):
        while not condition():  # noqa: ASYNC110  # what is waited for happens in other processes, too
            await asyncio.sleep(0.01)


def alive(pid: int) -> bool:
    """Return whether a process exists and is not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
