"""What Envoy's probes find, in the table: with a real Envoy, and with one whose answers the test makes up."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from aiohttp import web

from pilotage.gateway.health import read_clusters
from pilotage.gateway.process import GatewayStatus
from pilotage.policy import Claimant
from pilotage.policy.target_addresses import Reach
from pilotage.routes.route import Endpoint, Route
from pilotage.routes.schema import HealthCheck, LoadBalance
from pilotage.table.table import Table
from pilotage.xds.clusters import PROBED
from tests.support.gateway import route, target
from tests.support.ports import free_port
from tests.support.probes import CHECK, Patient, Watched, answer, probing, states
from tests.support.waiting import pass_time, until

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.process, pytest.mark.slow]


# ---- a real Envoy


async def test_failing_and_recovering_endpoints_are_detected(tmp_path: Path) -> None:
    async with target("one") as one, target("two") as two, probing(tmp_path) as it:
        two.handlers["/"] = patient = Patient()
        it.publish(route("app", one.port, two.port, healthcheck=CHECK), route("plain", one.port))
        await it.finds(app={one.port: "healthy", two.port: "healthy"})
        since = it.found["app"][f"127.0.0.1:{one.port}"].since
        patient.status = 503
        await it.finds(app={one.port: "healthy", two.port: "unhealthy"})
        patient.status = 200
        await it.finds(app={one.port: "healthy", two.port: "healthy"})
        assert it.found["app"][f"127.0.0.1:{one.port}"].since == since  # it has been well all the time


async def test_tcp_is_probed_by_a_connection(tmp_path: Path) -> None:
    async with target() as it, probing(tmp_path) as probed:
        from pilotage.routes.port_syntax import PortPair

        fields: dict[str, Any] = {"scheme": "tcp", "bind": "127.0.0.1", "healthcheck": CHECK}
        nobody = free_port()
        probed.publish(
            route("open", it.port, port=PortPair(free_port(), it.port), **fields),
            route("shut", nobody, port=PortPair(free_port(), nobody), **fields),
        )
        await probed.finds(open={it.port: "healthy"}, shut={nobody: "unhealthy"})


async def test_members_of_a_pool_have_the_results_of_their_own_endpoints(tmp_path: Path) -> None:
    async with target("one") as one, target("two") as two, probing(tmp_path) as it:
        two.handlers["/"] = Patient()
        two.handlers["/"].status = 503
        fields: dict[str, Any] = {"load_balance": LoadBalance(link="shop"), "healthcheck": CHECK}
        it.publish(route("a", one.port, **fields), route("b", two.port, **fields))
        await it.finds(a={one.port: "healthy"}, b={two.port: "unhealthy"})


async def test_an_endpoint_with_a_host_name_is_found_by_it(tmp_path: Path) -> None:
    async with target() as it, probing(tmp_path) as probed:
        probed.publish(route("app", endpoints=(Endpoint("localhost", it.port),), healthcheck=CHECK))
        await until(lambda: states(probed.found) == {"app": {f"localhost:{it.port}": "healthy"}}, patience=20)


async def test_nothing_is_healthy_before_its_first_probe(tmp_path: Path) -> None:
    async with target() as it, probing(tmp_path) as probed:
        go_on = asyncio.Event()
        asked = asyncio.Event()

        async def slow(_request: web.Request) -> web.Response:
            asked.set()
            await go_on.wait()
            return web.Response()

        it.handlers["/"] = slow
        # Until the first probe is answered, Envoy uses a twin of the cluster that has no probes.
        probed.publish(route("app", it.port, healthcheck=HealthCheck(interval=1, timeout=20)))
        await asked.wait()
        await probed.watch._poll(["route/app"])
        assert states(probed.found) == {"app": {f"127.0.0.1:{it.port}": "pending"}}
        go_on.set()
        await probed.finds(app={it.port: "healthy"})


async def test_many_unusual_names_fit_into_one_request(tmp_path: Path) -> None:
    async with target() as it, probing(tmp_path) as probed:
        aliases = [
            *(f"a-rather-long-name-of-an-application-{number:03}" for number in range(150)),
            "*.example.com",
            "shop.example.com",
        ]
        probed.publish(*(route(alias, it.port, healthcheck=CHECK) for alias in aliases))
        await probed.finds(**{alias: {it.port: "healthy"} for alias in aliases})


# ---- an Envoy whose answers are made up


@pytest.fixture
def it() -> Watched:
    return Watched()


ONE, TWO = "127.0.0.1:1", "127.0.0.1:2"


def probed(alias: str = "app", *ports: int, **fields: Any) -> Route:
    return route(alias, *(ports or (1,)), **{"healthcheck": CHECK, **fields})


async def test_probed_endpoints_start_as_pending_and_others_have_no_result(it: Watched) -> None:
    it.becomes(probed("app", 1, 2), route("plain", 1), probed("off", 1, excluded=True))
    assert states(it.found) == {"app": {ONE: "pending", TWO: "pending"}}


async def test_the_endpoints_of_a_name_that_is_resolved_after_the_publication_are_probed(it: Watched) -> None:
    named = Endpoint("nas.lan", 80, "app", "id", reach=Reach(Claimant(engine="local")))
    addresses: dict[str, tuple[str, ...]] = {}
    it.snapshot.targets.resolved = addresses
    it.becomes(probed(endpoints=(named,)))
    assert states(it.found) == {}
    addresses["nas.lan"] = ("10.0.0.1",)
    it.snapshot.check_again(it.snapshot.targets.users("nas.lan"))
    it.follows()
    assert states(it.found) == {"app": {"nas.lan:80": "pending"}}
    it.envoy.says = {"route/app": {"nas.lan:80": "healthy"}}
    assert await it.look("route/app") == {"app": {"nas.lan:80": "healthy"}}


@pytest.mark.looptime
async def test_the_news_of_a_result_causes_no_poll(it: Watched) -> None:
    it.envoy.says = {"route/app": {ONE: "healthy"}}
    it.becomes(probed("app", healthcheck=HealthCheck(interval=60)))
    task = asyncio.create_task(it.watch.run())
    await pass_time(4)
    begun = len(it.envoy.asked)
    it.watch.follow(it.table, ["app"])  # as an update of the table with this result does
    await pass_time(0.5)
    assert len(it.envoy.asked) == begun
    task.cancel()
    await asyncio.wait([task])


async def test_results_are_dropped_with_their_endpoints_and_routes(it: Watched) -> None:
    it.becomes(probed("app", 1, 2), probed("other"))
    it.envoy.says = {"route/app": {ONE: "healthy", TWO: "unhealthy"}, "route/other": {ONE: "healthy"}}
    assert await it.look("route/app", "route/other") == {
        "app": {ONE: "healthy", TWO: "unhealthy"},
        "other": {ONE: "healthy"},
    }
    it.becomes(probed("app", 1), route("other", 1))
    assert it.told[-1] == {"app": {ONE: "healthy"}, "other": {}}
    it.becomes(probed("app", endpoints=()))
    assert it.told[-1] == {"app": {}}
    it.becomes()
    assert await it.look() == {}


async def test_another_container_at_the_same_address_starts_as_pending(it: Watched) -> None:
    it.becomes(probed())
    it.envoy.says = {"route/app": {ONE: "unhealthy"}}
    assert await it.look("route/app") == {"app": {ONE: "unhealthy"}}
    it.becomes(probed(endpoints=(Endpoint("127.0.0.1", 1, "app", "another"),)))
    assert states(it.found) == {"app": {ONE: "pending"}}


async def test_an_endpoint_that_gets_no_requests_is_not_probed(it: Watched) -> None:
    waiting = Endpoint("127.0.0.1", 2, "new", "new", "waiting")
    it.becomes(probed(endpoints=(Endpoint("127.0.0.1", 1, "app", "app"), waiting)))
    assert states(it.found) == {"app": {ONE: "pending"}}


async def test_a_route_that_joins_a_pool_has_its_result_there(it: Watched) -> None:
    it.becomes(probed())
    it.becomes(probed(load_balance=LoadBalance(link="shop")))
    it.envoy.says = {"route/app": {ONE: "unhealthy"}, "pool/shop": {ONE: "healthy"}}
    assert await it.look("route/app", "pool/shop") == {"app": {ONE: "healthy"}}


async def test_a_member_of_a_pool_may_be_missing_in_a_table_that_is_older_than_the_last_one(it: Watched) -> None:
    one, two = (probed(alias, load_balance=LoadBalance(link="shop")) for alias in ("a", "b"))
    older, newer = Table({"a": one}), Table({"a": one, "b": two})
    it.snapshot.replace(newer)
    it.watch.follow(newer, ["a", "b"])
    it.watch.follow(older, ["a"])
    assert states(it.found) == {"a": {ONE: "pending"}}


async def test_without_changes_nothing_is_reported(it: Watched) -> None:
    it.becomes(probed())
    it.envoy.says = {"route/app": {ONE: "healthy"}}
    await it.look("route/app")
    told, health = len(it.told), it.found["app"][ONE]
    await it.look("route/app")
    it.becomes(probed(), route("other", 3))
    assert len(it.told) == told
    assert it.found["app"][ONE] is health


@pytest.mark.looptime
async def test_a_result_is_kept_for_a_while_when_its_cluster_is_replaced(it: Watched) -> None:
    it.becomes(probed())
    it.envoy.says = {"route/app": {ONE: "healthy"}}
    await it.look("route/app")
    it.becomes(probed("app", 1, 2))  # Envoy makes the cluster anew, and probes both
    it.envoy.says = {"route/app": {ONE: "pending", TWO: "healthy"}}
    assert await it.look("route/app") == {"app": {ONE: "healthy", TWO: "healthy"}}
    await pass_time(12)
    assert await it.look("route/app") == {"app": {ONE: "pending", TWO: "healthy"}}


async def test_a_restart_of_envoy_resets_all_results(it: Watched) -> None:
    it.becomes(probed("app", 1, 2))
    it.envoy.says = {"route/app": {ONE: "healthy", TWO: "unhealthy"}}
    await it.look("route/app")
    it.envoy.status = GatewayStatus("down", 2)
    it.envoy.says = {"route/app": {ONE: "pending", TWO: "healthy"}}
    assert await it.look("route/app") == {"app": {ONE: "pending", TWO: "healthy"}}


async def test_while_envoy_is_down_there_are_no_results(it: Watched) -> None:
    it.becomes(probed())
    it.envoy.says = {"route/app": {ONE: "healthy"}}
    await it.look("route/app")
    it.envoy.says = None
    assert await it.look("route/app") == {"app": {ONE: "healthy"}}  # it only did not answer
    it.envoy.status = GatewayStatus("down", 0)
    assert await it.look("route/app") == {"app": {ONE: "pending"}}


async def test_a_response_of_a_previous_envoy_is_ignored(it: Watched) -> None:
    it.becomes(probed())
    it.envoy.says = {"route/app": {ONE: "healthy"}}

    async def ended(_pattern: str) -> bytes:
        it.envoy.status = GatewayStatus("down", 0)
        return answer({"route/app": {ONE: "healthy"}})

    it.envoy.clusters = ended  # type: ignore[method-assign, assignment]
    assert await it.look("route/app") == {"app": {ONE: "pending"}}


async def test_an_invalid_response_is_reported_once(it: Watched, caplog: pytest.LogCaptureFixture) -> None:
    it.becomes(probed())
    it.envoy.raw = b'{"cluster_statuses": 1}'
    await it.look("route/app")
    await it.look("route/app")
    assert caplog.text.count("cannot read the health check results") == 1


@pytest.mark.looptime
async def test_polling_follows_the_probe_interval(it: Watched) -> None:
    task = asyncio.create_task(it.watch.run())
    await pass_time(100)
    assert it.envoy.asked == []
    it.envoy.says = {"route/app": {ONE: "healthy"}, "route/slow": {ONE: "healthy"}}
    it.becomes(probed("slow", healthcheck=HealthCheck(interval=60)))
    await pass_time(1)
    assert states(it.found) == {"slow": {ONE: "healthy"}}
    begun = len(it.envoy.asked)
    await pass_time(100)
    assert len(it.envoy.asked) - begun == 20  # a result is never older than five seconds
    it.becomes(probed("app", healthcheck=HealthCheck(interval=2)), it.table.routes["slow"])
    await pass_time(1)
    begun = len(it.envoy.asked)
    await pass_time(100)
    assert len(it.envoy.asked) - begun == 50
    it.becomes()
    begun = len(it.envoy.asked)
    await pass_time(100)
    assert len(it.envoy.asked) == begun
    task.cancel()
    await asyncio.wait([task])


@pytest.mark.looptime
async def test_the_end_of_envoy_is_detected_quickly(it: Watched) -> None:
    it.envoy.says = {"route/app": {ONE: "healthy"}}
    it.becomes(probed("app", healthcheck=HealthCheck(interval=60)))
    task = asyncio.create_task(it.watch.run())
    await pass_time(10.1)
    assert states(it.found) == {"app": {ONE: "healthy"}}
    it.envoy.says, it.envoy.status = None, GatewayStatus("down", 0)
    await pass_time(1.1)
    assert states(it.found) == {"app": {ONE: "pending"}}
    task.cancel()
    await asyncio.wait([task])


@pytest.mark.looptime
async def test_a_new_route_is_polled_quickly_at_first(it: Watched) -> None:
    it.envoy.says = {"route/app": {ONE: "pending"}}
    task = asyncio.create_task(it.watch.run())
    it.becomes(probed("app", healthcheck=HealthCheck(interval=5)))
    await pass_time(3)
    assert len(it.envoy.asked) == pytest.approx(12, abs=2)
    await pass_time(10)
    begun = len(it.envoy.asked)
    await pass_time(100)
    assert len(it.envoy.asked) - begun == 20
    task.cancel()
    await asyncio.wait([task])


@pytest.mark.looptime
async def test_polling_uses_a_bounded_share_of_time_and_bounded_requests(it: Watched) -> None:
    aliases = [f"app{number:04}" for number in range(1000)]
    it.becomes(*(probed(alias) for alias in aliases))
    it.envoy.says = {f"route/{alias}": {ONE: "healthy"} for alias in aliases}
    it.envoy.took = 0.1
    task = asyncio.create_task(it.watch.run())
    await pass_time(210)
    assert len(it.envoy.asked) == pytest.approx(100, abs=2)
    assert {len(names) for _, names in it.envoy.asked} == {200}
    assert {health[ONE].state for health in it.found.values()} == {"healthy"}
    task.cancel()
    await asyncio.wait([task])


async def test_a_change_costs_the_same_with_many_routes(it: Watched) -> None:
    it.becomes(*(probed(f"app{number}") for number in range(500)))
    it.sought.clear()
    told = len(it.told)
    it.becomes(*it.table.routes.values(), probed("new"))
    assert it.sought == ["route/new"]
    assert it.told[told:] == [{"new": {ONE: "pending"}}]


# ---- what Envoy says


def host(address: str, port: int = 80, **more: Any) -> dict[str, Any]:
    place = {"socket_address": {"address": address, "port_value": port}}
    return {"address": place, "health_status": {}, "locality": {"sub_zone": PROBED}, **more}


def clusters(*hosts: dict[str, Any]) -> bytes:
    return json.dumps({"cluster_statuses": [{"name": "route/app", "host_statuses": list(hosts)}]}).encode()


FAILED = {"failed_active_health_check": True}
PENDING = {"failed_active_health_check": True, "pending_active_hc": True}


@pytest.mark.parametrize(
    ("hosts", "expected"),
    [
        ([host("10.0.0.1")], {"10.0.0.1:80": "healthy"}),
        ([host("10.0.0.1", health_status=FAILED)], {"10.0.0.1:80": "unhealthy"}),
        ([host("10.0.0.1", health_status=PENDING)], {"10.0.0.1:80": "pending"}),
        ([host("10.0.0.1", locality={})], {}),
        ([{"address": {"pipe": {"path": "/x"}}}], {}),
        ([host("fd00:0:0::1")], {"[fd00::1]:80": "healthy"}),
        ([host("10.0.0.1", hostname="db", health_status=FAILED), host("::1", hostname="db")], {"db:80": "healthy"}),
        ([host("::1", hostname="db"), host("10.0.0.1", hostname="db", health_status=FAILED)], {"db:80": "healthy"}),
        (
            [host("::1", hostname="db", health_status=PENDING), host("::2", hostname="db", health_status=FAILED)],
            {"db:80": "pending"},
        ),
    ],
    ids=str,
)
def test_states_are_parsed_by_address_or_name(hosts: list[dict[str, Any]], expected: dict[str, str]) -> None:
    assert read_clusters(clusters(*hosts)) == {"route/app": expected}


def test_an_empty_cluster_list_is_valid_and_garbage_is_not() -> None:
    assert read_clusters(b"{}") == {}
    with pytest.raises(msgspec.MsgspecError):
        read_clusters(b"Envoy is busy")
