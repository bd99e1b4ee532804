"""The paths about sleep, over loopback and over the unix socket."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import aiohttp
import pytest

from pilotage.api.listen import Listen
from pilotage.api.server import Api
from pilotage.api.sleep import explain_sleep
from pilotage.testing import FakeEngine, container
from tests.support.api_server import Told
from tests.support.sleepers import Night, sleeping, state_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@contextlib.asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[tuple[FakeEngine, Night, aiohttp.ClientSession]]:
    web = container("web", labels={"proxy.idle_timeout": "1h"}, state="exited")
    async with FakeEngine([web]) as engine, sleeping(engine) as night:
        await night.until_state("asleep")
        source = Told(night.discovery)
        source.sleeper = night.sleeper  # type: ignore[assignment]
        socket = folder / "api.sock"
        async with Api(source, [Listen(path=str(socket))]):
            async with aiohttp.ClientSession("http://api", connector=aiohttp.UnixConnector(str(socket))) as session:
                yield engine, night, session


async def test_a_container_is_woken_and_put_to_sleep(tmp_path: Path) -> None:
    async with serving(tmp_path) as (engine, night, session):
        async with session.post("/v1/containers/web/wake") as answer:
            assert answer.status == 202
            assert (await answer.json())["state"] in ("waking", "ready")
        await night.until_state("ready")
        async with session.get("/v1/sleep") as answer:
            (unit,) = (await answer.json())["units"]
            assert (unit["container"], unit["aliases"], unit["state"]) == ("web", ["web"], "ready")
        async with session.post("/v1/containers/web/sleep") as answer:
            assert answer.status == 202
        await night.until_state("asleep")
        assert state_of(engine, "web") == "exited"
        night.answers = False
        for verb, state in (("sleep", "asleep"), ("wake", "waking")):
            for _ in range(2):  # the second time, there is nothing left to do
                async with session.post(f"/v1/containers/web/{verb}") as answer:
                    assert (answer.status, (await answer.json())["state"]) == (202, state)
        async with session.post("/v1/containers/web/sleep") as answer:
            assert (answer.status, (await answer.json())["error"]) == (409, "web is waking")


async def test_metrics_and_commands_show_the_state_and_when_it_will_change(tmp_path: Path) -> None:
    async with serving(tmp_path) as (_, night, session):
        night.sleeper.want("web")
        await night.until_state("ready")
        async with session.get("/metrics") as answer:
            text = await answer.text()
        labels = 'engine="local",container="web"'
        assert f'pilotage_sleep_state{{{labels},state="ready"}} 1\n' in text
        status = night.status()
        assert f"pilotage_sleep_at_timestamp_seconds{{{labels}}} " in text
        assert f"pilotage_sleep_requests_in_progress{{{labels}}} 0\n" in text
        assert f"pilotage_sleep_last_wake_seconds{{{labels}}} {status.last_wake}\n" in text
        shown = explain_sleep(night.discovery.table, night.sleeper).wakefulness["web"]
        assert shown.sleeps_at == pytest.approx(status.sleeps_at, abs=1)
        assert explain_sleep(night.discovery.table, None) is night.discovery.table


async def test_an_unknown_container_is_named_with_the_nearest_one(tmp_path: Path) -> None:
    async with serving(tmp_path) as (_, _, session), session.post("/v1/containers/wbe/wake") as answer:
        assert answer.status == 404
        assert await answer.json() == {
            "error": "no container that can sleep is called 'wbe'",
            "hint": "did you mean 'web'?",
        }


@pytest.mark.parametrize("path", ["/v1/containers/web/wake", "/v1/containers/web/sleep"])
async def test_programs_without_the_token_change_nothing_over_loopback(path: str) -> None:
    async with FakeEngine([container("web")]) as engine, sleeping(engine) as night:
        source = Told(night.discovery)
        async with Api(source, [Listen(host="127.0.0.1", port=0)]) as api, aiohttp.ClientSession() as session:
            async with session.post(f"http://127.0.0.1:{api.places[0].port}{path}") as answer:
                assert answer.status == 403
