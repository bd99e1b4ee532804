"""A frozen Envoy neither keeps another one from serving nor lets a container sleep that it may still use."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING

import pytest

from tests.support.daemon_process import Served, another_envoy, in_another_network
from tests.support.images import WEB
from tests.support.ports import free_port

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.engines import Engine

pytestmark = [pytest.mark.engine]

NAME = "pilotage-two-web"


async def why_awake(served: Served) -> str:
    (unit,) = (await served.get("/v1/sleep"))["units"]
    return str(unit["awake_because"])


async def test_a_frozen_envoy_counts_as_busy_and_the_other_one_serves(
    engine: Engine, tmp_path: Path, root: None
) -> None:
    labels = {"proxy.aliases": "shop", "proxy.idle_timeout": "2s"}
    await asyncio.to_thread(engine.create, NAME, WEB, labels)
    port, xds = free_port(), f"unix://{tmp_path}/xds/ads.sock"
    gateway = {"http": f"127.0.0.1:{port}", "workers": 1, "xds": {"listen": xds}}
    served = Served(tmp_path, port, {"providers": {"docker": {"local": engine.host}}, "gateway": gateway})
    await served.start()
    async with another_envoy(tmp_path, xds, *in_another_network(), workers=1) as envoy:
        try:
            await served.accepted("shop", "edge")
            await served.answers()
            await served.enters(NAME, "asleep")  # so both Envoys report their load
            envoy.send_signal(signal.SIGSTOP)
            await served.answers()
            for _ in range(40):  # eight seconds, four times the idle timeout
                assert await served.phase(NAME) == "ready"
                await asyncio.sleep(0.2)
            assert (await asyncio.to_thread(engine.inspect, NAME))["State"]["Status"] == "running"
            async with asyncio.timeout(30):  # until the other one has reported the end of the last request
                while not (await why_awake(served)).startswith("waiting for Envoy edge"):  # noqa: ASYNC110
                    await asyncio.sleep(0.2)
            await served.answers()
            os.kill(envoy.pid, signal.SIGCONT)
            await served.enters(NAME, "asleep")
            await served.answers()
        finally:
            await served.stop()
