from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.gateway import route, target
from tests.support.waiting import until
from tests.xds.test_failures import odd_target

if TYPE_CHECKING:
    from pilotage.xds.failures import Failure
    from tests.xds.conftest import Envoy


async def test_only_failed_requests_are_reported(envoy: Envoy) -> None:
    found: list[Failure] = []
    async with target() as it, odd_target() as odd, envoy(retries=0) as gw:
        gw.ads.failures.on_failure = found.append
        await gw.publish(route("app", it.port), route("odd", odd), route("gone", 1), route("late", odd))
        for _ in range(3):
            assert (await gw.ask("app", "/x")).status == 200
            assert [(await gw.ask(name)).status for name in ("nobody", "gone")] == [404, 503]
            assert (await gw.ask("odd", "/ssh")).status == 502
        await until(lambda: len(found) == 3)
        assert (await gw.ask("late", "/closed")).status == 503
        await until(lambda: len(found) == 4)
        assert [it.route for it in found] == ["odd", "odd", "odd", "late"]
        assert {(it.client, it.target) for it in found} == {("127.0.0.1", f"127.0.0.1:{odd}")}
