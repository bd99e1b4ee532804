"""Receives the load reports of Envoys: how many requests of a cluster began, and how many are in progress."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Final, Protocol

import grpc
import grpc.aio
import msgspec
from envoy.service.load_stats.v3 import lrs_pb2

from pilotage.xds.clusters import GRPC_SUFFIX
from pilotage.xds.resources import seconds

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping

__all__ = ["Load", "LoadListener", "LoadReports"]

INTERVAL: Final = 1.0
"""Seconds between two reports of an Envoy."""

_COALESCE: Final = 0.1
"""Seconds that a change of the reported clusters waits for others."""


class Load(msgspec.Struct, frozen=True, gc=False):
    """The requests of one cluster, as one Envoy reports them; connections for tcp.

    Attributes:
        in_progress: requests in progress.
        issued: those that began since the last report.

    """

    in_progress: int = 0
    issued: int = 0


class LoadListener(Protocol):
    """Receives what Envoys report. Its methods must not block."""

    def connected(self, envoy: object, interval: float) -> None:
        """An Envoy will report at an interval, in seconds. ``envoy`` identifies its connection."""

    def reported(self, envoy: object, loads: Mapping[str, Load]) -> None:
        """An Envoy has reported its clusters, without their suffixes; those without requests may be missing."""

    def disconnected(self, envoy: object) -> None:
        """An Envoy will report no more."""


class LoadReports:
    """The load reporting service (LRS).

    Attributes:
        listener: receives the reports; ``None`` to ignore them.

    """

    def __init__(self) -> None:
        self.listener: LoadListener | None = None
        self._clusters: set[str] = set()
        self._changed = asyncio.Event()
        self._closed = False

    def watch(self, before: Iterable[str], after: Iterable[str]) -> None:
        """Ask all Envoys for reports about other clusters.

        Args:
            before: clusters that are no longer reported.
            after: clusters that are, without their suffixes.

        """
        self._clusters.difference_update(before)
        self._clusters.update(after)
        self._notify()

    def close(self) -> None:
        """End all streams."""
        self._closed = True
        self._notify()

    def _notify(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def handler(self) -> grpc.GenericRpcHandler:
        """Return the service for a gRPC server."""
        stream = grpc.stream_stream_rpc_method_handler(
            self._stream,
            request_deserializer=lrs_pb2.LoadStatsRequest.FromString,
            response_serializer=lrs_pb2.LoadStatsResponse.SerializeToString,
        )
        return grpc.method_handlers_generic_handler(
            "envoy.service.load_stats.v3.LoadReportingService", {"StreamLoadStats": stream}
        )

    async def _stream(self, requests: AsyncIterator[Any], _context: Any) -> AsyncIterator[Any]:
        envoy = object()
        listener = self.listener
        if listener is None:
            return
        reader = asyncio.create_task(self._read(envoy, requests, listener), name="load reports")
        try:
            while not self._closed and not reader.done():
                changed = self._changed
                yield lrs_pb2.LoadStatsResponse(
                    clusters=sorted(f"{name}{suffix}" for name in self._clusters for suffix in ("", GRPC_SUFFIX)),
                    load_reporting_interval=seconds(INTERVAL),
                )
                wake = asyncio.create_task(changed.wait())
                await asyncio.wait({wake, reader}, return_when=asyncio.FIRST_COMPLETED)
                wake.cancel()
                await asyncio.sleep(_COALESCE)
        finally:
            reader.cancel()
            with contextlib.suppress(asyncio.CancelledError, grpc.RpcError, grpc.aio.UsageError):
                await reader

    @staticmethod
    async def _read(envoy: object, requests: AsyncIterator[Any], listener: LoadListener) -> None:
        first = True
        try:
            async for request in requests:
                if first:
                    listener.connected(envoy, INTERVAL)  # the first message only names the Envoy
                    first = False
                else:
                    listener.reported(envoy, _loads(request))
        finally:
            if not first:
                listener.disconnected(envoy)


def _loads(request: Any) -> dict[str, Load]:
    found: dict[str, Load] = {}
    for cluster in request.cluster_stats:
        name = cluster.cluster_name.removesuffix(GRPC_SUFFIX)
        before = found.get(name, Load())
        in_progress = sum(it.total_requests_in_progress for it in cluster.upstream_locality_stats)
        issued = sum(it.total_issued_requests for it in cluster.upstream_locality_stats)
        found[name] = Load(before.in_progress + in_progress, before.issued + issued)
    return found
