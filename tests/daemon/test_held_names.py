from __future__ import annotations

import asyncio
import logging
import stat
from typing import TYPE_CHECKING

import msgspec
import pytest

from pilotage.config.engines import EngineChoice
from pilotage.daemon.held_names import HeldNames
from pilotage.daemon.settings import Flags
from pilotage.table import HeldName
from pilotage.testing import FakeEngine
from tests.support.claims import claim, linked, put, static, stopped, store_of
from tests.support.envoy import web_server
from tests.support.serving import add, serving
from tests.support.waiting import pass_time, until

if TYPE_CHECKING:
    from pathlib import Path


def names_in(folder: Path) -> dict[str, HeldName]:
    return HeldNames({"STATE_DIRECTORY": f"{folder}:/other"}).load()


@pytest.mark.looptime
async def test_names_are_written_when_they_change_and_at_the_end(tmp_path: Path) -> None:
    store = store_of(
        claim("a"), linked("m", "b"), msgspec.structs.replace(static(), alias="nas"), stopped(claim("c", alias="c"))
    )
    store.reserve({"away": HeldName("far", "x")}, ["far"])
    names = HeldNames({"STATE_DIRECTORY": str(tmp_path)})
    assert names.load() == {}
    running = asyncio.create_task(names.run(store))
    await pass_time(11)
    held = {"app": HeldName("local", "a"), "m": HeldName("local", "b"), "shop": HeldName("local", "b")}
    held["away"] = HeldName("far", "x")  # it may still be unreachable at the next start
    assert names_in(tmp_path) == held
    (file,) = tmp_path.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    written = file.stat().st_mtime_ns
    await pass_time(100)
    assert file.stat().st_mtime_ns == written
    put(store, claim("d", alias="d"))
    running.cancel()
    await asyncio.wait([running])
    assert names_in(tmp_path)["d"] == HeldName("local", "d")


@pytest.mark.parametrize("text", ["", "[]", '{"names": {"app": 1}}', "\x00", '{"names": ' + "[" * 100_000])
def test_an_unreadable_file_is_reported_and_ignored(
    text: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "names.json").write_text(text)
    assert names_in(tmp_path) == {}
    assert "names.json cannot be read, so no names are kept from the last run" in caplog.text


@pytest.mark.looptime
async def test_a_folder_that_cannot_be_written_is_reported_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    running = asyncio.create_task(HeldNames({"STATE_DIRECTORY": "/nonexistent"}).run(store_of(claim("a"))))
    await pass_time(60)
    running.cancel()
    await asyncio.wait([running])
    assert caplog.text.count("so the next run will not know which container had which name") == 1


@pytest.mark.looptime
async def test_the_file_is_no_larger_than_what_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pilotage.daemon.held_names._LARGEST", 100)
    for count, written in ((1, True), (20, False)):
        store = store_of(*(claim(f"a{n}", alias=f"a{n}") for n in range(count)))
        running = asyncio.create_task(HeldNames({"STATE_DIRECTORY": str(tmp_path)}).run(store))
        await pass_time(11)
        running.cancel()
        await asyncio.wait([running])
        assert (len(names_in(tmp_path)) == count) is written


async def test_without_a_folder_nothing_is_written() -> None:
    names = HeldNames({})
    assert (names.path, names.load()) == (None, {})
    await names.run(store_of(claim("a")))


@pytest.mark.process
async def test_after_a_restart_no_other_engine_takes_the_name_of_an_unreachable_engine(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    env = {"STATE_DIRECTORY": str(tmp_path / "state")}
    async with web_server() as port, FakeEngine() as near, FakeEngine() as far:
        add(far, "shop", port)
        flags = Flags(choice=EngineChoice(engines=(f"near={near.url}", f"far={far.url}")))
        async with serving(flags, tmp_path, **env) as served:
            await served.answers("shop.example.com")
        far.stall()
        add(near, "shop", port, created=1)
        async with serving(flags, tmp_path, **env) as served:
            assert (await served.ask("shop.example.com"))[0] == 404
            assert "belonged to far/shop" in str(served.daemon.problems())
            far.resume()
            await served.answers("shop.example.com")
            assert served.daemon.discovery.table.routes["shop"].provider == "far"
        far.remove("shop")
        async with serving(flags, tmp_path, **env) as served:
            await until(lambda: served.daemon.discovery.table.routes["shop"].provider == "near")
            await served.answers("shop.example.com")
