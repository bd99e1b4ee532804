from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import pytest

from pilotage.core.filewatch import watch_files, watch_matching
from tests.support.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

EVERY = 0.01


class Watch:
    """Counts the changes that are noticed."""

    def __init__(self, *files: Path) -> None:
        self.seen = 0
        self.task = asyncio.create_task(self.run([str(file) for file in files]))

    async def run(self, files: list[str]) -> None:
        async for _ in watch_files(*files, every=EVERY):
            self.seen += 1

    async def looks(self, number: int) -> None:
        """Let it look some more times."""
        for _ in range(number):
            await asyncio.sleep(EVERY)


@pytest.mark.looptime
async def test_an_unchanged_file_is_not_reported(tmp_path: Path) -> None:
    file = tmp_path / "pilotage.yml"
    file.write_text("a: 1")
    watch = Watch(file)
    await watch.looks(50)
    assert watch.seen == 0
    watch.task.cancel()


@pytest.mark.looptime
async def test_each_change_is_reported_once(tmp_path: Path) -> None:
    file = tmp_path / "pilotage.yml"
    file.write_text("a: 1")
    watch = Watch(file)
    await watch.looks(3)
    file.write_text("a: 22")
    await watch.looks(10)
    assert watch.seen == 1
    (tmp_path / "new").write_text("a: 333")
    (tmp_path / "new").rename(file)
    await watch.looks(10)
    assert watch.seen == 2
    watch.task.cancel()


@pytest.mark.looptime
async def test_a_swapped_symlink_is_a_change(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).write_text(name)
    link = tmp_path / "pilotage.yml"
    link.symlink_to("one")
    watch = Watch(link)
    await watch.looks(3)
    (tmp_path / "next").symlink_to("two")
    (tmp_path / "next").rename(link)
    await watch.looks(10)
    assert watch.seen == 1
    watch.task.cancel()


@pytest.mark.looptime
async def test_a_deleted_file_is_reported_when_it_returns(tmp_path: Path) -> None:
    file = tmp_path / "pilotage.yml"
    file.write_text("a: 1")
    watch = Watch(file)
    await watch.looks(3)
    file.unlink()
    await watch.looks(10)
    assert watch.seen == 0
    file.write_text("a: 2")
    await watch.looks(10)
    assert watch.seen == 1
    watch.task.cancel()


@pytest.mark.looptime
async def test_two_files_that_change_together_are_one_change(tmp_path: Path) -> None:
    files = [tmp_path / "cert.pem", tmp_path / "key.pem"]
    for file in files:
        file.write_text("old")
    watch = Watch(*files)
    await watch.looks(3)
    for file in files:
        file.write_text("newer")
    await watch.looks(10)
    assert watch.seen == 1
    watch.task.cancel()


@pytest.mark.looptime
async def test_files_that_match_are_reported_when_they_appear_change_or_go(tmp_path: Path) -> None:
    patterns = [f"{tmp_path}/*.yml"]
    seen: list[int] = []

    async def watch() -> None:
        async for _ in watch_matching(lambda: patterns, every=EVERY):
            seen.append(len(seen))

    async def changes() -> int:
        await asyncio.sleep(EVERY * 10)
        return len(seen)

    task = asyncio.create_task(watch())
    assert await changes() == 0
    file = tmp_path / "lan.yml"
    file.write_text("a: []")
    assert await changes() == 1
    file.write_text("a: [1]")
    (tmp_path / "other.txt").write_text("x")
    assert await changes() == 2
    file.unlink()
    assert await changes() == 3
    patterns.append(str(tmp_path / "other.txt"))
    assert await changes() == 4
    task.cancel()


async def test_a_file_is_not_reported_while_it_is_being_written(tmp_path: Path) -> None:
    file = tmp_path / "pilotage.yml"
    file.write_text("a: 1")
    sizes: list[int] = []

    async def watch() -> None:
        async for _ in watch_files(str(file), every=EVERY):
            sizes.append(file.stat().st_size)  # noqa: PERF401  # read as it happens

    task = asyncio.create_task(watch())
    await asyncio.sleep(0)  # it has looked
    for size in range(10, 30):  # grows between any two looks
        file.write_text("x" * size)
        os.utime(file, ns=(size, size))
        await asyncio.sleep(EVERY)
    await until(lambda: sizes)
    assert sizes == [29]
    task.cancel()
