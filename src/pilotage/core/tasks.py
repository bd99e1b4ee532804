"""Runs coroutines at the same time until one of them fails."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping

__all__ = ["run_until_failure"]


async def run_until_failure(coroutines: Mapping[str, Coroutine[Any, Any, NoReturn]]) -> NoReturn:
    """Run endless coroutines until one of them fails; then cancel the others and raise the first failure.

    A task group cannot be used: before Python 3.13, it loses the cancellation of its own task if one of its tasks fails
    at the same time. The caller, which expects failures, would then run forever.

    Args:
        coroutines: name of the task -> coroutine.

    """
    tasks = [asyncio.create_task(coroutine, name=name) for name, coroutine in coroutines.items()]
    cancellation: asyncio.CancelledError | None = None
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    except asyncio.CancelledError as error:
        cancellation = error
    failed = [task for task in tasks if task.done()]  # later failures are only consequences of the cancellation
    for task in tasks:
        task.cancel()
    while not all(task.done() for task in tasks):
        try:
            await asyncio.wait(tasks)
        except asyncio.CancelledError as error:
            cancellation = error
    failures = [task.exception() for task in [*failed, *tasks] if not task.cancelled()]
    if cancellation is not None or not failures or failures[0] is None:
        raise cancellation or asyncio.CancelledError
    raise failures[0]
