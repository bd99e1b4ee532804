"""Serves Envoy's access log service (ALS), through which all connected Envoys report failed requests.

This process reads each message of an Envoy only after a pause. An Envoy drops reports that it cannot send in the
meantime, so even many failing requests cost this process little time.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from envoy.service.accesslog.v3 import als_pb2

from pilotage.xds.failures import read_failure

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from pilotage.xds.failures import Failure

__all__ = ["FailureReports"]

_MOST_STREAMS: Final = 1_000
"""Maximum number of streams. Each thread of an Envoy has one after its first report."""
_PAUSE: Final = 0.05
"""Seconds between two messages of a stream. A message has about 16 KiB, or a second's reports if they are fewer."""


class FailureReports:
    """Receives reports of failed requests from all connected Envoys.

    Attributes:
        on_failure: called with each failure.

    """

    def __init__(self) -> None:
        self.on_failure: Callable[[Failure], object] = lambda _: None
        self._closed = asyncio.Event()
        self._streams = 0

    async def stream(self, requests: AsyncIterator[Any], _context: Any) -> Any:
        """Serve a stream of one Envoy."""
        if self._streams < _MOST_STREAMS:
            self._streams += 1
            reader = asyncio.create_task(self._read(requests), name="failure reports")
            closing = asyncio.create_task(self._closed.wait(), name="failure reports")
            try:
                await asyncio.wait([reader, closing], return_when=asyncio.FIRST_COMPLETED)
            finally:
                self._streams -= 1
                reader.cancel()
                closing.cancel()
                await asyncio.wait([reader, closing])
        return als_pb2.StreamAccessLogsResponse()

    def close(self) -> None:
        """End all streams."""
        self._closed.set()

    async def _read(self, requests: AsyncIterator[Any]) -> None:
        async for request in requests:
            for entry in request.http_logs.log_entry:
                if (failure := read_failure(entry)) is not None:
                    self.on_failure(failure)
            await asyncio.sleep(_PAUSE)
