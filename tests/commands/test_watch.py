from __future__ import annotations

import asyncio
import json
import signal
from typing import TYPE_CHECKING

import pytest

from pilotage.testing import FakeEngine, container
from tests.support.commandline import a_process

if TYPE_CHECKING:
    from tests.support.engines import Engine


def test_an_interrupted_watch_ends_with_130(engine: Engine) -> None:
    engine.run("watched", labels={"proxy.watched.port": "80"})
    with a_process("watch", "--engine", f"own={engine.host}", "--format", "json") as process:
        assert process.stdout is not None
        lines = iter(process.stdout.readline, "")
        next(said for line in lines if (said := json.loads(line))["alias"] == "watched")
        engine.rm("watched")
        gone = next(said for line in lines if (said := json.loads(line))["kind"] == "removed")
        assert (gone["alias"], gone["cause"]) == ("watched", "destroy of watched")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()
    assert (process.returncode, err.strip()) == (130, "")


@pytest.mark.parametrize("args", [["watch"], ["routes", "--watch"]])
async def test_it_ends_with_141_when_nobody_reads_any_more_though_nothing_happens(
    args: list[str],
) -> None:
    async with FakeEngine([container("web", labels={"proxy.web.port": "80"})]) as engine:
        process = a_process(*args, "--engine", f"own={engine.url}", stderr=None)
        assert process.stdout is not None
        await asyncio.to_thread(process.stdout.readline)
        process.stdout.close()
        assert await asyncio.to_thread(process.wait, 30) == 141
