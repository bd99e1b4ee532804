"""The server's side of ADS streams and of checks, without an Envoy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc.aio
from envoy.service.discovery.v3 import discovery_pb2

from pilotage.table.table import Table
from pilotage.xds.options import GatewayOptions
from pilotage.xds.resources import CLUSTER
from pilotage.xds.server import AdsServer
from tests.support.gateway import route
from tests.support.waiting import until
from tests.xds.test_server import _first, _stream

if TYPE_CHECKING:
    from pathlib import Path

    from pilotage.core.problems import Problem


async def test_each_rejection_is_passed_on_with_its_route(tmp_path: Path) -> None:
    found: list[Problem] = []
    async with AdsServer(GatewayOptions(), on_nack=found.append) as ads:
        await ads.start(f"unix:{tmp_path}/xds.sock")
        ads.publish(Table({"app": route("app", 80, 81)}))
        async with grpc.aio.insecure_channel(f"unix:{tmp_path}/xds.sock") as channel:
            stream = _stream(channel)
            await stream.write(_first(CLUSTER))
            seen: set[str] = set()
            while not found:  # it is sent again in parts until one resource alone is rejected
                told = await stream.read()
                names = {it.name for it in told.resources}
                error = {"error_detail": {"message": "no"}} if "route/app" in names else {}
                answer = discovery_pb2.DeltaDiscoveryRequest(type_url=CLUSTER, response_nonce=told.nonce, **error)
                await stream.write(answer)
                seen |= names
                if names == {"route/app"}:
                    await until(lambda: found)
            stream.cancel()
    assert len(seen) == 6
    assert [(problem.route, problem.container) for problem in found] == [("app", "app")]


async def test_an_envoy_that_ends_its_stream_is_forgotten(tmp_path: Path) -> None:
    async with AdsServer(GatewayOptions()) as ads:
        await ads.start(f"unix:{tmp_path}/xds.sock")
        ads.publish(Table())
        async with grpc.aio.insecure_channel(f"unix:{tmp_path}/xds.sock") as channel:
            stream = _stream(channel)
            await stream.write(_first(CLUSTER))
            await stream.read()
            assert len(ads.nodes) == 1
            await stream.done_writing()
            assert await stream.read() is grpc.aio.EOF
            assert not ads.nodes
