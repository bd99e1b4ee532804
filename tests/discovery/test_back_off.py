from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from pilotage.discovery.back_off import BackOff
from pilotage.discovery.timing import Timing
from pilotage.engine.config import DockerProviderConfig
from tests.support.watched import now

if TYPE_CHECKING:
    from pathlib import Path

REMOTE = DockerProviderConfig("tcp://nowhere.invalid:2375")


async def paused(back_off: BackOff, *, lasted: float | None) -> float:
    """Pause after an attempt without a list, or after a session; return the seconds of the pause."""
    back_off.begin()
    listed_at = 0.0
    if lasted is not None:
        await asyncio.sleep(0.1)
        listed_at = now()
        await asyncio.sleep(lasted)
    ended = now()
    await back_off.pause(listed_at=listed_at)
    return now() - ended


def near(pause: float, wanted: float) -> bool:
    return 0.74 * wanted <= pause <= 1.26 * wanted


@pytest.mark.looptime
async def test_pauses_after_failures_double_up_to_the_longest() -> None:
    back_off = BackOff(REMOTE, Timing())
    for wanted in (0.5, 1, 2, 4, 8, 16, 30, 30):
        assert near(await paused(back_off, lasted=None), wanted)


@pytest.mark.looptime
async def test_pauses_after_short_sessions_double_whatever_lies_between_them() -> None:
    back_off = BackOff(REMOTE, Timing())
    for wanted in (0.5, 1, 2, 4, 8, 16, 30, 30):
        assert near(await paused(back_off, lasted=59), wanted)
        assert near(await paused(back_off, lasted=None), 0.5)


@pytest.mark.looptime
async def test_a_session_that_lasted_resets_the_pauses() -> None:
    back_off = BackOff(REMOTE, Timing())
    for _ in range(9):
        await paused(back_off, lasted=0)
    assert near(await paused(back_off, lasted=61), 0.5)
    assert near(await paused(back_off, lasted=0), 0.5)


async def test_a_new_socket_file_ends_a_pause(tmp_path: Path) -> None:
    path = tmp_path / "engine.sock"
    back_off = BackOff(DockerProviderConfig(f"unix://{path}"), Timing(first_pause=1000))
    back_off.begin()
    waiting = asyncio.create_task(back_off.pause(listed_at=0))
    await asyncio.sleep(0)
    assert not waiting.done()
    path.touch()
    await asyncio.wait_for(waiting, 30)
