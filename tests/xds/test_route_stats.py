from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pilotage.xds.route_stats import EXCLUDED, SAMPLED, route_stats
from tests.gateway.test_traffic import Admin
from tests.support.gateway import becomes, route, target

if TYPE_CHECKING:
    from tests.xds.conftest import Envoy


def test_nothing_but_a_filter_runs_for_most_requests() -> None:
    for log in route_stats():
        assert log.HasField("filter")
    (sample,) = [log.filter.runtime_filter for log in route_stats() if log.filter.HasField("runtime_filter")]
    assert sample.percent_sampled.numerator == 10_000 // SAMPLED


def test_only_the_number_of_requests_is_kept_of_a_virtual_cluster() -> None:
    kept = "vhost.app.vcluster.app.upstream_rq_total"
    assert not re.fullmatch(EXCLUDED, kept)
    for name in ("upstream_rq_200", "upstream_rq_2xx", "upstream_rq_retry", "upstream_rq_retry_success"):
        assert re.fullmatch(EXCLUDED, kept.replace("upstream_rq_total", name))
    assert re.fullmatch(EXCLUDED, "vhost.app.vcluster.other.upstream_rq_total")


async def test_envoy_keeps_one_counter_for_a_route_and_drops_it_with_the_route(envoy: Envoy) -> None:
    async with target() as it, envoy() as gw:
        await gw.publish(route("app", it.port), route("staying", it.port))
        await gw.ask("app")
        admin = Admin(gw)
        names = {line.partition("{")[0] for line in (await admin.prometheus(r"^vhost\.app\.")).decode().splitlines()}
        assert {name for name in names if not name.startswith("#")} == {"envoy_vhost_vcluster_upstream_rq_total"}
        await gw.publish(route("staying", it.port))

        async def kept() -> bytes:
            return await admin.prometheus(r"^vhost\.app\.")

        await becomes(kept, b"")
