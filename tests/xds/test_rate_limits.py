from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pilotage.xds.middlewares import Rate
from pilotage.xds.rate_limits import rate_limit
from tests.support.gateway import becomes, route, target

if TYPE_CHECKING:
    from tests.xds.conftest import Envoy


def test_each_client_has_a_bucket_of_its_own() -> None:
    made = rate_limit(Rate(10, 20, 60.0))
    (descriptor,) = made.descriptors
    bucket = descriptor.token_bucket
    assert (bucket.max_tokens, bucket.tokens_per_fill.value, bucket.fill_interval.seconds) == (20, 10, 60)
    assert [entry.key for entry in descriptor.entries] == ["remote_address"]


@pytest.mark.proves(
    "middlewares.rate_limit.average",
    "middlewares.rate_limit.burst",
    "middlewares.rate_limit.period",
    "middlewares.rate_limit.periods",
)
@pytest.mark.parametrize("option", ["period", "periods"])
async def test_a_burst_is_followed_by_the_average(envoy: Envoy, option: str) -> None:
    async with target() as it, envoy() as gw:
        limit: dict[str, Any] = {"average": 3600, "burst": 3, option: "1h"}  # one more each second
        await gw.publish(route("app", it.port, middlewares={"rate_limit": limit}))

        async def status() -> int:
            return (await gw.ask("app")).status

        found = [await status() for _ in range(30)]
        assert 3 <= found.count(200) < 30
        assert set(found) == {200, 429}
        await becomes(status, 200)
