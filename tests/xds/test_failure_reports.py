from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from envoy.service.accesslog.v3 import als_pb2

from pilotage.xds import failure_reports
from pilotage.xds.failure_reports import FailureReports
from tests.support.waiting import pass_time

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pilotage.xds.failures import Failure


def message(count: int) -> als_pb2.StreamAccessLogsMessage:
    found = als_pb2.StreamAccessLogsMessage()
    for _ in range(count):
        entry = found.http_logs.log_entry.add()
        entry.common_properties.response_flags.upstream_protocol_error = True
    found.http_logs.log_entry.add()  # describes no failure
    return found


async def messages(*counts: int) -> AsyncIterator[Any]:
    for count in counts:
        yield message(count)


async def forever() -> AsyncIterator[Any]:
    yield message(1)
    await asyncio.Event().wait()


@pytest.mark.looptime
async def test_messages_are_read_one_after_another_with_pauses() -> None:
    found: list[Failure] = []
    reports = FailureReports()
    reports.on_failure = found.append
    loop = asyncio.get_running_loop()
    began = loop.time()
    await reports.stream(messages(3, 2), None)
    assert len(found) == 5
    assert loop.time() - began >= 0.1


@pytest.mark.looptime
async def test_closing_ends_all_streams() -> None:
    found: list[Failure] = []
    reports = FailureReports()
    reports.on_failure = found.append
    stream = asyncio.create_task(reports.stream(forever(), None))
    await pass_time(1)
    assert (len(found), stream.done()) == (1, False)
    reports.close()
    assert await stream == als_pb2.StreamAccessLogsResponse()


async def test_there_is_a_maximum_of_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failure_reports, "_MOST_STREAMS", 0)
    found: list[Failure] = []
    reports = FailureReports()
    reports.on_failure = found.append
    await reports.stream(messages(1), None)
    assert found == []
