"""Find leaks: sockets, files, tasks, child processes."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["assert_no_leaks", "children", "descriptors"]


def children() -> set[int]:
    """Return the IDs of the child processes of all threads of this process."""
    found: set[int] = set()
    for thread in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):
            found.update(int(pid) for pid in (thread / "children").read_text().split())
    return found


def descriptors() -> dict[str, str]:
    """Return the open sockets, pipes and files, without the event loop's own."""
    found = {}
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found[link.name] = str(link.readlink())
    return {name: target for name, target in found.items() if not target.startswith(("anon_inode:", "/proc/"))}


@contextlib.asynccontextmanager
async def assert_no_leaks(*, processes: bool = True) -> AsyncIterator[None]:
    """Fail if the block leaks a task, a descriptor or a child process. They have two seconds to end.

    Args:
        processes: also look for child processes; off where the test itself starts an engine.

    """
    tasks, open_before, before = asyncio.all_tasks(), descriptors(), children()
    yield
    gc.collect()
    loop = asyncio.get_running_loop()
    patience = loop.time() + 2
    while True:
        left = {
            "tasks": asyncio.all_tasks() - tasks,
            "descriptors": {n: t for n, t in descriptors().items() if open_before.get(n) != t},
            "children": children() - before if processes else set(),
        }
        if not any(left.values()) or loop.time() > patience:
            break
        await asyncio.sleep(0.01)
    assert not any(left.values()), left
