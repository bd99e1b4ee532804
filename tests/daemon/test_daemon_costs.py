"""What one event costs the daemon, from the engine's line to the response for Envoy, with few and with many containers.

Work is counted in instructions of Python, which do not depend on the machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from typing import TYPE_CHECKING, Any, Final

import grpc.aio
import pytest
from envoy.service.discovery.v3 import discovery_pb2

from pilotage.config.engines import EngineChoice
from pilotage.daemon.daemon import Daemon
from pilotage.daemon.settings import Flags, build_settings
from pilotage.testing import FakeEngine, container
from pilotage.xds.resources import CLUSTER, LISTENER, SCOPE
from tests.support.steps import counting
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from pilotage.testing import FakeContainer

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

_KINDS: Final[tuple[dict[str, str], ...]] = (
    {},
    {},
    {"middlewares.cidr_whitelist.allow": "10.0.0.0/8"},
    {"healthcheck.path": "/health"},
    {"hold": "30s"},
    {"scheme": "https", "ssl_server_name": "app.internal"},
    {"load_balance.link": "pool{}"},
    {"scheme": "tcp", "port": "{}:80"},
)
"""Labels of every kind of route that has an index of its own."""


def containers(size: int) -> list[FakeContainer]:
    found = []
    for number in range(size):
        labels = {
            f"proxy.app{number}.{key}": value.format(20_000 + number // len(_KINDS))
            for key, value in _KINDS[number % len(_KINDS)].items()
        }
        found.append(
            container(f"app{number}", labels=labels, ip=f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
        )
    return found


class FakeEnvoy:
    """Subscribes to everything and accepts it."""

    def __init__(self) -> None:
        self.responses = 0

    async def run(self, address: str) -> None:
        async with grpc.aio.insecure_channel(address) as channel:
            stream = channel.stream_stream(
                "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources",
                request_serializer=discovery_pb2.DeltaDiscoveryRequest.SerializeToString,
                response_deserializer=discovery_pb2.DeltaDiscoveryResponse.FromString,
            )()
            for type_url in (CLUSTER, LISTENER, SCOPE):
                await stream.write(discovery_pb2.DeltaDiscoveryRequest(node={"id": "me"}, type_url=type_url))
            while True:
                told: Any = await stream.read()
                answer = discovery_pb2.DeltaDiscoveryRequest(type_url=told.type_url, response_nonce=told.nonce)
                await stream.write(answer)
                self.responses += 1


@contextlib.asynccontextmanager
async def serving(folder: Path, size: int) -> AsyncIterator[tuple[FakeEngine, Daemon, FakeEnvoy]]:
    """Run a daemon whose Envoy accepts everything."""
    (folder / "xds").mkdir(mode=0o700)
    config = folder / "pilotage.yml"
    async with FakeEngine(containers(size)) as engine:
        gateway = f"gateway: {{xds: {{listen: 'unix:{folder}/xds/ads.sock'}}}}"
        config.write_text(f"providers: {{docker: {{local: '{engine.url}'}}}}\n{gateway}\n")
        flags = Flags(choice=EngineChoice(config=str(config)), gateway=False, api=(f"unix://{folder}/api.sock",))
        ready = asyncio.Event()
        daemon = Daemon(build_settings(flags, {}), lambda: build_settings(flags, {}), {}, lambda _: ready.set())
        envoy = FakeEnvoy()
        task = asyncio.create_task(daemon.run())
        async with asyncio.timeout(200):
            await ready.wait()
        listening = asyncio.create_task(envoy.run(f"unix:{folder}/xds/ads.sock"))
        try:
            # the daemon is ready before the engine's list arrives if that takes long
            await until(lambda: len(daemon.discovery.table.routes) == size, patience=200)
            await until(lambda: envoy.responses and all(it.in_sync for it in daemon.ads._sessions), patience=60)
            yield engine, daemon, envoy
        finally:
            listening.cancel()
            await asyncio.wait([listening])
            daemon.stop()
            await task


EVENTS: Final[dict[str, Callable[[FakeEngine, int], object]]] = {
    "a container is created": lambda engine, n: engine.add(container(f"new{n}", ip=f"10.99.0.{n}")),
    "one with health checks is stopped": lambda engine, n: engine.stop(f"app{3 + 8 * n}"),
    "one that holds requests is stopped": lambda engine, n: engine.stop(f"app{4 + 8 * n}"),
    "one that demands TLS is removed": lambda engine, n: engine.remove(f"app{5 + 8 * n}"),
    "a member leaves its pool": lambda engine, n: engine.stop(f"app{6 + 8 * n}"),
    "a stream is stopped": lambda engine, n: engine.stop(f"app{7 + 8 * n}"),
}


def is_served(daemon: Daemon, envoy: FakeEnvoy, version: int, responses: int) -> bool:
    """Return whether Envoy has received and accepted a later table. Until it has, asking executes nothing counted."""
    if envoy.responses <= responses or daemon.discovery.table.version <= version:
        return False
    return all(session.in_sync for session in daemon.ads._sessions)


async def costs(folder: Path, size: int) -> dict[str, int]:
    """Return event -> instructions, the fewest of several attempts: other work may happen meanwhile."""
    folder.mkdir()
    found: dict[str, int] = {}
    async with serving(folder, size) as (engine, daemon, envoy):
        assert sum(not it.excluded for it in daemon.discovery.table.routes.values()) == size
        for what, cause in EVENTS.items():
            attempts = []
            for number in range(3):
                version, responses = daemon.discovery.table.version, envoy.responses
                with counting() as steps:
                    cause(engine, number)
                    await until(functools.partial(is_served, daemon, envoy, version, responses), patience=60)
                attempts.append(steps.count)
            found[what] = min(attempts)
    return found


async def test_an_event_costs_the_same_however_many_containers_there_are(tmp_path: Path) -> None:
    few, many = await costs(tmp_path / "few", 100), await costs(tmp_path / "many", 10_000)
    for what, cost in few.items():
        assert many[what] <= 1.2 * cost + 500, f"{what}: {cost} -> {many[what]}"
