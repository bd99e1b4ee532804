"""A real Docker Engine that is killed, stopped or frozen keeps its last good routes until it returns."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from pilotage import discover
from pilotage.discovery.timing import Timing
from pilotage.engine.config import DockerProviderConfig
from tests.support.leaks import assert_no_leaks
from tests.support.truth import Chronicle, chronicle, settled
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from pilotage.discovery.manager import DiscoveryManager
    from tests.support.engines import Engine


def config(engine: Engine) -> DockerProviderConfig:
    return DockerProviderConfig(engine.host, name="own")


@asynccontextmanager
async def watched(engine: Engine, timing: Timing | None = None) -> AsyncIterator[tuple[DiscoveryManager, Chronicle]]:
    async with assert_no_leaks(processes=False), discover([config(engine)], timing=timing) as discovery:
        await discovery.ready()
        async with chronicle(discovery) as told:
            yield discovery, told


def state(discovery: DiscoveryManager) -> str:
    return discovery.table.engines["own"].state


async def test_a_killed_engine_returns_with_its_current_containers(own_engine: Engine) -> None:
    assert own_engine.daemon is not None
    own_engine.run("mortal")
    own_engine.run("phoenix", "pilotage/web:1", None, "--restart", "always")
    own_engine.create("sleeper")
    async with watched(own_engine) as (discovery, told):
        await asyncio.to_thread(own_engine.daemon.kill)
        await until(lambda: state(discovery) == "stale", patience=10)
        assert len(discovery.table.routes["mortal"].endpoints) == 1  # the last good routes stay
        assert told.untouched(["mortal", "phoenix", "sleeper"])
        await asyncio.to_thread(own_engine.daemon.start)
        await settled(discovery, config(own_engine))
        assert state(discovery) == "live"
        assert discovery.table.routes["mortal"].excluded
        assert len(discovery.table.routes["phoenix"].endpoints) == 1
        assert told.untouched(["sleeper"])


async def test_containers_that_outlive_their_engine_do_not_change(
    start_engine: Callable[..., Engine],
) -> None:
    engine = start_engine(options=("--live-restore",))
    assert engine.daemon is not None
    engine.run("survivor")
    engine.run("victim")
    victim = engine.inspect("victim")["State"]["Pid"]
    async with watched(engine) as (discovery, told):
        await asyncio.to_thread(engine.daemon.kill)
        await until(lambda: state(discovery) == "stale", patience=10)
        os.kill(victim, signal.SIGKILL)  # no event will ever report its death
        await asyncio.to_thread(engine.daemon.start)
        await until(lambda: state(discovery) == "live", patience=20)
        await settled(discovery, config(engine))
        assert discovery.table.routes["victim"].excluded
        assert len(discovery.table.routes["survivor"].endpoints) == 1
        assert told.untouched(["survivor"])


async def test_a_restarted_engine_becomes_live_again(own_engine: Engine) -> None:
    assert own_engine.daemon is not None
    own_engine.run("web")
    own_engine.run("always", "pilotage/web:1", None, "--restart", "always")
    own_engine.create("sleeper")
    async with watched(own_engine) as (discovery, told):
        await asyncio.to_thread(own_engine.daemon.stop)
        await until(lambda: state(discovery) == "stale", patience=20)
        assert set(discovery.table.routes) == {"web", "always", "sleeper"}
        await asyncio.to_thread(own_engine.daemon.start)
        await settled(discovery, config(own_engine))
        assert len(discovery.table.routes["always"].endpoints) == 1
        assert told.untouched(["sleeper"])


async def test_a_frozen_engine_is_noticed_and_becomes_live_again(own_engine: Engine) -> None:
    assert own_engine.daemon is not None
    own_engine.run("web")
    own_engine.run("bystander")
    doomed = own_engine.inspect("web")["State"]["Pid"]
    timing = Timing(silence=1, ping=0.5, longest_pause=0.5)
    async with watched(own_engine, timing) as (discovery, told):
        own_engine.daemon.freeze()
        await until(lambda: state(discovery) == "stale", patience=20)
        assert "no response to a ping within 0.5 s" in discovery.table.engines["own"].error
        assert len(discovery.table.routes["web"].endpoints) == 1
        os.kill(doomed, signal.SIGKILL)
        own_engine.daemon.thaw()
        await until(lambda: discovery.table.routes["web"].excluded, patience=20)
        await settled(discovery, config(own_engine))
        assert told.untouched(["bystander"])
