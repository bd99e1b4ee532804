"""When changes, removals and settled restarts are sent to Envoys."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ClassVar

import pytest

from pilotage.routes.exclusion import ExclusionReason
from pilotage.routes.route import Endpoint
from pilotage.table.table import Table
from pilotage.xds.options import GatewayOptions
from pilotage.xds.resources import CLUSTER
from pilotage.xds.server import AdsServer
from pilotage.xds.session import Session
from tests.support.gateway import route, target
from tests.support.ports import free_port
from tests.support.waiting import pass_time, until
from tests.xds.test_secrets import written

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from pilotage.xds.resources import Key
    from tests.xds.conftest import Envoy


class Recorder:
    """Stands for the session of an Envoy; remembers when it was told of which changes."""

    node = "me"

    def __init__(self, ads: AdsServer) -> None:
        self.told: list[tuple[float, set[str]]] = []
        self.refused: list[str] = []
        self._began = asyncio.get_running_loop().time()
        self.wake = ads._sessions[self] = asyncio.Event()  # type: ignore[index]

    def has_current(self, _key: object) -> bool:
        return True

    def mark_changed(self, keys: Iterable[Key]) -> None:
        names = {f"{type_url.rpartition('.')[2]} {name}" for type_url, name in keys}
        if names:
            self.wake.clear()
            self.told.append((round(asyncio.get_running_loop().time() - self._began, 3), names))

    def refuse(self, cluster: str) -> None:
        self.refused.append(cluster)

    rejected_keys: ClassVar[set[Key]] = set()

    def retry(self, _keys: object) -> None:
        """Do nothing, because nothing was rejected."""

    async def heard(self) -> list[tuple[float, set[str]]]:
        """Return what is new, and check that the session was woken for it."""
        await asyncio.sleep(0)
        found, self.told = self.told, []
        assert self.wake.is_set() or not found
        self.wake.clear()
        return found


_SCOPE, _CLUSTER = "ScopedRouteConfiguration app", "Cluster route/app"


@pytest.mark.looptime
async def test_every_kind_of_change_is_sent_to_connected_envoys(tmp_path: Path) -> None:
    async with AdsServer(GatewayOptions()) as ads:
        envoy = Recorder(ads)
        ads.publish(Table({"app": route("app", 80)}))
        assert await envoy.heard() == [(0, {_SCOPE})]
        pair = written(tmp_path, "c")
        sent = ads.configure(GatewayOptions(https_port=8443, certificates=(pair,), redirect_to_https=True))
        ((_, changed),) = await envoy.heard()
        assert {"Listener http", "Listener https", "Secret certificate/0"} <= changed
        assert len(sent) == len(changed)
        written(tmp_path, "c")
        assert len(ads.reload_certificates()) == 1
        assert await envoy.heard() == [(0, {"Secret certificate/0"})]
        assert ads.reload_certificates() == frozenset()
        assert await envoy.heard() == []
        for port in (81, 82):
            ads.publish(Table({"app": route("app", 80, port)}))
            assert _CLUSTER in (await envoy.heard())[0][1]


@pytest.mark.looptime
async def test_a_removed_route_with_hold_is_kept_for_that_long() -> None:
    async with AdsServer(GatewayOptions()) as ads:
        envoy = Recorder(ads)
        ads.publish(Table({"app": route("app", 80, hold=2.0)}))
        ads.publish(Table())
        ads.publish(Table())
        await pass_time(1.0)
        envoy.wake.clear()
        envoy.told.clear()
        await pass_time(5.0)
        assert await envoy.heard() == [(2.0, {_SCOPE, _CLUSTER})]
        assert _SCOPE not in str(ads.snapshot.resources)


@pytest.mark.looptime
async def test_a_cluster_of_its_own_is_removed_thirty_seconds_after_its_last_request_can_have_begun() -> None:
    async with AdsServer(GatewayOptions()) as ads:
        ads.publish(Table({"app": route("app", 80, max_conns_per_host=9)}))
        envoy = Recorder(ads)
        ads.publish(Table({"app": route("app", 80)}))
        assert await envoy.heard() == [(0, {_SCOPE})]
        await pass_time(60.0)
        assert await envoy.heard() == [(30.0, {_CLUSTER})]
        ads.publish(Table({"app": route("app", 80, max_conns_per_host=9)}))
        await envoy.heard()
        ads.publish(Table({"app": route("app", 80)}))
        assert await envoy.heard() == [(60.0, {_SCOPE})]
        ads.publish(Table())
        assert await envoy.heard() == [(60.0, {_SCOPE, _CLUSTER})]  # its address may soon be another container's


@pytest.mark.looptime
async def test_a_restarted_container_returns_to_the_shared_cluster_after_thirty_seconds() -> None:
    told = route("app", endpoints=(Endpoint("10.0.0.1", 80, state="draining"),))
    async with AdsServer(GatewayOptions()) as ads:
        ads.publish(Table({"app": route("app", 80)}))
        envoy = Recorder(ads)
        ads.publish(Table({"app": told}))
        assert await envoy.heard() == [(0, {_SCOPE, _CLUSTER})]
        await pass_time(45.0)  # it takes its time to stop
        assert await envoy.heard() == []
        ads.publish(Table({"app": route("app", 80)}))
        assert await envoy.heard() == [(45.0, {_CLUSTER})]
        await pass_time(60.0)
        assert await envoy.heard() == [(60.0, {_SCOPE}), (90.0, {_CLUSTER})]


@pytest.mark.looptime
async def test_requests_wait_for_a_second_restart_whenever_it_comes() -> None:
    told = route("app", endpoints=(Endpoint("10.0.0.1", 80, state="draining"),))
    stopped = route("app", endpoints=(), excluded=True, excluded_reason=ExclusionReason.NOT_RUNNING)
    async with AdsServer(GatewayOptions()) as ads:
        for again in (told, stopped, route("app", 80)):
            ads.publish(Table({"app": again}))
        await pass_time(28.0)
        ads.publish(Table({"app": told}))
        ads.publish(Table({"app": stopped}))
        await pass_time(4.5)  # 30 s after the first restart have passed
        backend = ads.snapshot.backend("route/app")
        assert backend is not None
        assert backend.is_closed
        ads.publish(Table({"app": route("app", 80)}))
        await pass_time(60.0)
        assert ads.snapshot.restarting == set()
        assert (CLUSTER, "route/app") not in ads.snapshot.resources


@pytest.mark.looptime
async def test_requests_wait_until_the_server_listens_after_a_second_restart() -> None:
    """They wait for 30 s after the last restart, not after the first of several."""
    told = route("app", endpoints=(Endpoint("10.0.0.1", 80, state="draining"),))
    stopped = route("app", endpoints=(), excluded=True, excluded_reason=ExclusionReason.NOT_RUNNING)
    started = route("app", free_port())  # its server does not listen yet
    async with AdsServer(GatewayOptions()) as ads:
        for times in range(2):
            for state in (told, stopped, started):
                ads.publish(Table({"app": state}))
            await pass_time(28.0 - 24.0 * times)
        backend = ads.snapshot.backend("route/app")
        assert backend is not None
        assert backend.is_closed
        await pass_time(30.0)
        assert ads.snapshot.restarting == set()


async def test_an_https_endpoint_that_speaks_plain_http_changes_its_route_at_once() -> None:
    async with target() as it, AdsServer(GatewayOptions()) as ads:
        ads.publish(Table({"app": route("app", it.port, scheme="https")}))
        envoy = Recorder(ads)
        await until(lambda: envoy.told)
        ((_, changed),) = await envoy.heard()
        assert _SCOPE in changed


async def test_routes_from_before_a_restart_stay_until_removals_are_released(envoy: Envoy) -> None:
    async with target("one") as one, envoy() as gw:
        await gw.publish(route("stays", one.port), route("unknown", one.port, one.port + 1))
        await gw.ads.close()
        gw.ads = AdsServer(gw.options)
        gw.ads.removals.begin()
        await gw.ads.start(gw.address)
        await gw.publish(route("stays", one.port))
        assert [(await gw.ask(host)).status for host in ("stays", "unknown")] == [200, 200]
        gw.ads.release_removals()
        await gw.ads.wait_for_acks()
        assert [(await gw.ask(host)).status for host in ("stays", "unknown")] == [200, 404]
        await gw.ads.close()


@pytest.mark.looptime
async def test_an_envoy_that_is_silent_is_among_the_problems() -> None:
    ads = AdsServer(GatewayOptions())
    session = Session(ads.snapshot.resources)
    session.node = "edge"
    ads.envoys.join(session)
    assert ads.problems == ()
    await pass_time(10.1)
    assert ads.problems == ads.envoys.problems != ()
    ads.envoys.close()


@pytest.mark.looptime
async def test_requests_are_rejected_as_soon_as_they_have_waited_for_the_hold_time() -> None:
    async with AdsServer(GatewayOptions()) as ads:
        envoy = Recorder(ads)
        ads.publish(Table({"app": route("app", endpoints=(), hold=4.0)}))
        backend = ads.snapshot.backend("route/app")
        assert backend is not None
        assert ads.held.asked("route/app", backend.cluster)
        await pass_time(4.9)
        assert not envoy.refused
        envoy.wake.clear()
        await pass_time(0.2)
        assert envoy.refused == [backend.cluster, f"{backend.cluster}/h2"]
        assert envoy.wake.is_set()
