"""Waiting for a condition instead of for a time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["until"]


async def until(condition: Callable[[], object], *, patience: float = 60) -> None:
    """Return as soon as the condition holds; ``TimeoutError`` if it does not within ``patience`` seconds."""
    async with asyncio.timeout(patience):
        while not condition():  # noqa: ASYNC110  # what is waited for happens in other processes, too
            await asyncio.sleep(0.01)
