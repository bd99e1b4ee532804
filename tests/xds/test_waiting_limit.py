"""How many requests wait for one backend."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.support.gateway import route, target
from tests.support.waiting import until

if TYPE_CHECKING:
    from tests.xds.conftest import Envoy


async def test_beyond_the_limit_requests_are_rejected_at_once_and_the_others_are_answered(envoy: Envoy) -> None:
    async with target() as it, envoy(max_waiting_requests=20) as gw:
        await gw.publish(route("app", endpoints=(), hold=60.0), route("other", endpoints=(), hold=60.0))
        asking = [asyncio.create_task(gw.ask("app")) for _ in range(30)]
        await until(lambda: sum(task.done() for task in asking) == 10)
        rejected = [task.result() for task in asking if task.done()]
        assert {answer.status for answer in rejected} == {503}
        assert all(b"Too many requests wait for this service" in answer.body for answer in rejected)
        assert all(answer.headers["Retry-After"] for answer in rejected)
        others = [asyncio.create_task(gw.ask("other")) for _ in range(5)]
        await gw.publish(route("app", it.port, hold=60.0), route("other", it.port, hold=60.0))
        assert sorted([(await task).status for task in asking]) == [200] * 20 + [503] * 10
        assert {(await task).status for task in others} == {200}
        assert {(await gw.ask("app")).status for _ in range(30)} == {200}  # it limits only what waits
