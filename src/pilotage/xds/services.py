"""Makes the gRPC server of the control plane, with its limits and the services that Envoys call."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import grpc
import grpc.aio
from envoy.service.accesslog.v3 import als_pb2
from envoy.service.auth.v3 import external_auth_pb2
from envoy.service.discovery.v3 import discovery_pb2
from envoy.service.ext_proc.v3 import external_processor_pb2
from envoy.service.load_stats.v3 import lrs_pb2

from pilotage.xds.body_filter import BACKEND
from pilotage.xds.checks import unchanged

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Stream = Callable[[AsyncIterator[Any], Any], AsyncIterator[Any]]

__all__ = ["grpc_server", "stop_server"]

_LIMITS: Final = (
    ("grpc.max_receive_message_length", 64 * 1024 * 1024),
    ("grpc.max_send_message_length", -1),  # otherwise one large resource would keep all later changes from Envoys
    ("grpc.so_reuseport", 0),
    ("grpc.keepalive_time_ms", 10_000),  # an Envoy that does not answer pings for 20 s is disconnected
    # Accept Envoy's keepalive pings at any rate. By default, gRPC closes the connection at the third in five minutes.
    ("grpc.http2.max_ping_strikes", 0),
)


def grpc_server(
    discovery: Stream,
    check: Callable[[Any, Any], Awaitable[Any]],
    loads: Stream,
    failures: Callable[[AsyncIterator[Any], Any], Awaitable[Any]],
    bodies: Callable[[AsyncIterator[Any], str], AsyncIterator[Any]] = unchanged,
) -> grpc.aio.Server:
    """Return a server that does not listen yet.

    Args:
        discovery: handles a stream of incremental ADS.
        check: decides whether a request may proceed.
        loads: handles a stream of load reports.
        failures: handles a stream of reports of failed requests.
        bodies: handles Envoy's messages about one response whose body may change. Its second argument is the backend.

    """
    server = grpc.aio.server(options=_LIMITS)
    ads = grpc.stream_stream_rpc_method_handler(
        discovery,
        request_deserializer=discovery_pb2.DeltaDiscoveryRequest.FromString,
        response_serializer=discovery_pb2.DeltaDiscoveryResponse.SerializeToString,
    )
    authorization = grpc.unary_unary_rpc_method_handler(
        check,
        request_deserializer=external_auth_pb2.CheckRequest.FromString,
        response_serializer=external_auth_pb2.CheckResponse.SerializeToString,
    )
    reporting = grpc.stream_stream_rpc_method_handler(
        loads,
        request_deserializer=lrs_pb2.LoadStatsRequest.FromString,
        response_serializer=lrs_pb2.LoadStatsResponse.SerializeToString,
    )
    logging = grpc.stream_unary_rpc_method_handler(
        failures,
        request_deserializer=als_pb2.StreamAccessLogsMessage.FromString,
        response_serializer=als_pb2.StreamAccessLogsResponse.SerializeToString,
    )

    async def process(requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
        metadata = dict(context.invocation_metadata() or ())
        async for answer in bodies(requests, str(metadata.get(BACKEND, ""))):
            yield answer

    processing = grpc.stream_stream_rpc_method_handler(
        process,
        request_deserializer=external_processor_pb2.ProcessingRequest.FromString,
        response_serializer=external_processor_pb2.ProcessingResponse.SerializeToString,
    )
    services = {
        "envoy.service.discovery.v3.AggregatedDiscoveryService": {"DeltaAggregatedResources": ads},
        "envoy.service.auth.v3.Authorization": {"Check": authorization},
        "envoy.service.ext_proc.v3.ExternalProcessor": {"Process": processing},
        "envoy.service.accesslog.v3.AccessLogService": {"StreamAccessLogs": logging},
        "envoy.service.load_stats.v3.LoadReportingService": {"StreamLoadStats": reporting},
    }
    server.add_generic_rpc_handlers(
        tuple(grpc.method_handlers_generic_handler(name, methods) for name, methods in services.items())
    )
    return server


async def stop_server(server: grpc.aio.Server, grace: float) -> None:
    """Stop a server and wait until its calls have ended.

    Args:
        server: the server.
        grace: number of seconds after which calls are cancelled, and for which they may then take to end.

    """
    await server.stop(grace)
    # ``stop`` does not wait for cancelled calls. If the event loop ends before they do, gRPC prints a traceback.
    calls = [task for task in asyncio.all_tasks() if getattr(task.get_coro(), "__name__", "") == _CALL]
    if calls:
        await asyncio.wait(calls, timeout=grace)


_CALL: Final = "_schedule_rpc_coro"
"""Name of gRPC's coroutine that runs a call."""
