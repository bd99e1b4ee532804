from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import grpc.aio
from envoy.service.auth.v3 import external_auth_pb2
from envoy.service.discovery.v3 import discovery_pb2

from pilotage.xds.services import grpc_server, stop_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


async def test_the_server_offers_discovery_and_authorization(tmp_path: Path) -> None:
    async def discover(requests: AsyncIterator[Any], _: Any) -> AsyncIterator[Any]:
        async for request in requests:
            yield discovery_pb2.DeltaDiscoveryResponse(nonce=request.type_url)

    async def check(request: Any, _: Any) -> Any:
        return external_auth_pb2.CheckResponse(status={"message": request.attributes.context_extensions["backend"]})

    server = grpc_server(discover, check, discover, check)
    server.add_insecure_port(f"unix:{tmp_path}/grpc.sock")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"unix:{tmp_path}/grpc.sock") as channel:
            stream = channel.stream_stream(
                "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources",
                request_serializer=discovery_pb2.DeltaDiscoveryRequest.SerializeToString,
                response_deserializer=discovery_pb2.DeltaDiscoveryResponse.FromString,
            )()
            await stream.write(discovery_pb2.DeltaDiscoveryRequest(type_url="x"))
            answer: Any = await stream.read()
            assert answer.nonce == "x"
            ask = channel.unary_unary(
                "/envoy.service.auth.v3.Authorization/Check",
                request_serializer=external_auth_pb2.CheckRequest.SerializeToString,
                response_deserializer=external_auth_pb2.CheckResponse.FromString,
            )
            request = external_auth_pb2.CheckRequest(attributes={"context_extensions": {"backend": "route/app"}})
            assert (await ask(request)).status.message == "route/app"
    finally:
        await server.stop(0)


async def test_a_stopped_server_has_no_calls_left(tmp_path: Path) -> None:
    began, ended = asyncio.Event(), asyncio.Event()

    async def discover(_requests: AsyncIterator[Any], _: Any) -> AsyncIterator[Any]:
        began.set()
        try:
            await asyncio.Event().wait()
            yield
        finally:
            for _step in range(100):
                await asyncio.sleep(0)
            ended.set()

    async def check(*_: Any) -> Any:
        raise AssertionError

    server = grpc_server(discover, check, discover, check)
    server.add_insecure_port(f"unix:{tmp_path}/grpc.sock")
    await server.start()
    async with grpc.aio.insecure_channel(f"unix:{tmp_path}/grpc.sock") as channel:
        path = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"
        call: Any = channel.stream_stream(
            path, request_serializer=discovery_pb2.DeltaDiscoveryRequest.SerializeToString
        )()
        await call.write(discovery_pb2.DeltaDiscoveryRequest())
        await began.wait()
        await stop_server(server, 0.5)
        assert ended.is_set()
        assert not [task for task in asyncio.all_tasks() if "_schedule_rpc_coro" in repr(task.get_coro())]
        call.cancel()
