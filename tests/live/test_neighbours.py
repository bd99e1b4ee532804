"""Three failing engines (one hangs, one flaps, one is slow) do not affect a real one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from pilotage import discover
from pilotage.discovery.timing import Timing
from pilotage.engine.config import DockerProviderConfig
from pilotage.testing import FakeEngine, container
from tests.support.leaks import assert_no_leaks
from tests.support.truth import chronicle, settled
from tests.support.waiting import until

if TYPE_CHECKING:
    from tests.support.engines import Engine


async def test_failing_engines_do_not_affect_others(engine: Engine) -> None:
    engine.run("bystander")
    quick = Timing(silence=0.5, ping=0.3, first_pause=0.1, longest_pause=0.2, pause_after_session=0.1)
    async with (
        assert_no_leaks(),
        FakeEngine([container("hung")]) as hangs,
        FakeEngine([container("flap")]) as flaps,
        FakeEngine([container("slowly")]) as slow,
    ):
        places = {"real": engine.host, "hangs": hangs.url, "flaps": flaps.url, "slow": slow.url}
        configs = [DockerProviderConfig(url, name=name) for name, url in places.items()]
        async with discover(configs, timing=quick) as discovery:
            await discovery.ready()
            async with chronicle(discovery) as told:
                hangs.stall()
                slow.spoil("list", delay=0.25)
                slow.spoil("list:id", delay=0.25)
                for n in range(8):
                    flaps.crash()
                    await until(lambda: discovery.table.engines["flaps"].state == "stale")
                    flaps.containers[next(iter(flaps.containers))].labels["n"] = str(n)
                    await flaps.recover()
                    slow.restart("slowly")
                    name = f"quick{n}"
                    await asyncio.to_thread(engine.create, name)
                    await until(lambda name=name: name in discovery.table.routes)  # type: ignore[misc]
                    await until(lambda: discovery.table.engines["flaps"].state == "live")
                await until(lambda: discovery.table.engines["hangs"].state == "stale")
                assert discovery.table.routes["hung"].endpoints
                assert {name: s.state for name, s in discovery.table.engines.items() if name != "slow"} == {
                    "real": "live",
                    "hangs": "stale",
                    "flaps": "live",
                }
                hangs.resume()
                slow.heal()
                await settled(discovery, *configs)
                assert told.untouched(["bystander", "hung", "flap"])
                assert {c.engine for c in told.changes if c.kind == "stale"} <= {"hangs", "flaps", "slow"}
