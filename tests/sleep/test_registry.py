"""Following the table: which unit a route belongs to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pilotage import Route, build_routes, from_docker
from pilotage.sleep.registry import Registry
from pilotage.sleep.state import Action
from pilotage.table.table import Table
from pilotage.xds.cluster_names import pool_gate
from tests.support.summaries import LOCAL, summary

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pilotage import Container


class Known:
    """What discovery knows."""

    def __init__(self) -> None:
        self.table = Table()
        self._containers: dict[str, Container] = {}

    def put(self, name: str, labels: dict[str, str], state: str = "running") -> Route:
        fields = {"Id": name.ljust(64, "0"), "State": state}
        container = from_docker(summary(name, labels, **fields), LOCAL)
        self._containers[container.container_id] = container
        routes = build_routes(container).routes
        self._show({**self.table.routes, **{route.alias: route for route in routes}})
        return routes[0]

    def drop(self, alias: str) -> None:
        self._show({name: route for name, route in self.table.routes.items() if name != alias})

    def _show(self, routes: dict[str, Route]) -> None:
        pools = {route.pool for route in routes.values() if route.pool}
        members = {pool: tuple(alias for alias, route in routes.items() if route.pool == pool) for pool in pools}
        self.table = Table(routes, pool_members=members)

    def container(self, _engine: str, container_id: str) -> Container | None:
        return self._containers.get(container_id)

    def containers_of(self, _engine: str) -> Iterable[Container]:
        return self._containers.values()

    def routes_of(self, _engine: str, container_id: str) -> Iterable[Route]:
        return [route for route in self.table.routes.values() if route.container_id == container_id]


def registry(known: Known, *, may_act: bool = True) -> Registry:
    return Registry(known, lambda _engine: may_act, lambda: 7)


IDLE = {"proxy.idle_timeout": "5m"}


def test_the_aliases_of_a_container_are_one_unit() -> None:
    known = Known()
    known.put("web", {**IDLE, "proxy.aliases": "shop, store"})
    found = registry(known)
    first, second = found.follow("shop", 1.0), found.follow("store", 1.0)
    assert first.unit is not None
    assert first.unit is second.unit
    assert first.unit.aliases == {"shop", "store"}
    assert first.unit.state.epoch == 7
    assert first.is_changed


def test_nothing_new_changes_nothing() -> None:
    known = Known()
    known.put("web", IDLE)
    found = registry(known)
    unit = found.follow("web", 1.0).unit
    assert unit is not None
    unit.shown = unit.state.phase
    again = found.follow("web", 2.0)
    assert (again.unit, again.action, again.is_changed) == (unit, None, False)


def test_a_container_that_was_started_by_somebody_else_is_checked_before_it_is_served() -> None:
    known = Known()
    known.put("web", IDLE, "exited")
    found = registry(known)
    found.follow("web", 1.0)
    known.put("web", IDLE)
    assert found.follow("web", 2.0).action is Action.WAKE


def test_the_last_alias_that_leaves_ends_the_unit() -> None:
    known = Known()
    known.put("web", {**IDLE, "proxy.aliases": "shop, store"})
    found = registry(known)
    unit = found.follow("shop", 1.0).unit
    found.follow("store", 1.0)
    known.drop("shop")
    assert found.follow("shop", 2.0).left is unit
    assert found.unit("store") is unit
    known.drop("store")
    found.follow("store", 2.0)
    assert found.units == {}


def test_an_alias_that_another_container_takes_over_changes_its_unit() -> None:
    known = Known()
    known.put("web", {**IDLE, "proxy.aliases": "shop"})
    found = registry(known)
    before = found.follow("shop", 1.0).unit
    known.put("new", {**IDLE, "proxy.aliases": "shop"})
    after = found.follow("shop", 2.0)
    assert after.left is before
    assert after.unit is not before


def test_an_engine_on_which_nothing_may_be_started_is_reported() -> None:
    known = Known()
    known.put("web", IDLE)
    found = registry(known, may_act=False)
    assert found.follow("web", 1.0).unit is None
    problem = found.refused["web"]
    assert (problem.severity, problem.hint) == ("warning", "set idle: true for the engine local")
    assert (problem.provider, problem.container) == ("local", "")  # one for all its containers
    known.drop("web")
    found.follow("web", 2.0)
    assert found.refused == {}


def test_a_route_that_others_use_for_forwardauth_does_not_sleep() -> None:
    known = Known()
    known.put("auth", IDLE)
    known.put("shop", {"proxy.shop.middlewares.forwardauth.route": "auth"})
    found = registry(known)
    unit = found.follow("auth", 1.0).unit
    assert unit is not None
    assert found.follow("shop", 1.0).again == ("auth",)
    assert found.follow("shop", 1.5).again == ()
    after = found.follow("auth", 2.0)
    assert (after.unit, after.left) == (None, unit)
    assert found.refused["auth"].message == (
        "its containers do not sleep, because the route 'shop' uses this route for forwardauth"
    )
    known.drop("shop")
    assert found.follow("shop", 3.0).again == ("auth",)
    assert found.follow("auth", 3.0).unit is not None


def test_a_route_does_not_sleep_until_the_last_that_uses_it_for_forwardauth_is_gone() -> None:
    known = Known()
    known.put("auth", IDLE)
    users = ("shop", "wiki")
    found = registry(known)
    for user in users:
        known.put(user, {f"proxy.{user}.middlewares.forwardauth.route": "auth"})
        found.follow(user, 1.0)
    for user, sleeps in zip(users, (False, True), strict=True):
        assert found.follow("auth", 2.0).unit is None
        known.drop(user)
        assert found.follow(user, 3.0).again == ("auth",)
        assert (found.follow("auth", 3.0).unit is not None) is sleeps


POOL = {"proxy.*.load_balance.link": "all"}


def test_containers_behind_udp_sleep_if_datagrams_can_wait() -> None:
    known = Known()
    udp = {**IDLE, "proxy.dns.scheme": "udp", "proxy.dns.port": "5300:53"}
    known.put("dns", udp)
    assert Registry(known, lambda _engine: True, lambda: 7, udp=True).follow("dns", 1.0).unit is not None
    found = registry(known)
    assert found.follow("dns", 1.0).unit is None
    assert "a udp route behind an Envoy not run by pilotage" in found.refused["dns"].message
    known.put("dns", {**udp, **POOL})
    pooled = Registry(known, lambda _engine: True, lambda: 7, udp=True)
    assert pooled.follow("dns", 1.0).unit is None
    assert "a pool of udp routes" in pooled.refused["dns"].message


def test_the_routes_of_a_pool_are_one_unit_that_is_described_by_its_oldest_container() -> None:
    known = Known()
    known.put("one", {**IDLE, **POOL})
    known.put("two", {"proxy.idle_timeout": "7m", **POOL})
    found = registry(known)
    first, second = found.follow("two", 1.0), found.follow("one", 1.0)
    assert first.unit is not None
    assert first.unit is second.unit is found.unit("one") is found.unit(pool_gate("all")) is found.find("all")
    assert (first.unit.name, first.unit.state.idle_timeout) == ("one", 300)
    assert first.unit.gates == ["POOL/all"]
    known.drop("one")
    found.follow("one", 2.0)
    known.drop("two")
    found.follow("two", 2.0)
    assert found.unit(pool_gate("all")) is None


def test_a_pool_with_a_container_that_never_sleeps_does_not_sleep() -> None:
    known = Known()
    known.put("one", {**IDLE, **POOL})
    known.put("two", POOL)
    found = registry(known)
    unit = found.follow("one", 1.0).unit
    assert unit is not None
    assert found.follow("two", 1.0).again == ("one",)
    assert found.follow("one", 1.0).left is unit
    assert (
        found.refused["one"].message == "its containers do not sleep, because those of 'two' in the pool 'all' do not"
    )
    assert found.refused["one"].hint == "set proxy.idle_timeout on the containers of two as well"
    known.drop("two")
    assert found.follow("two", 2.0).again == ("one",)
    assert found.follow("one", 2.0).unit is not None
    assert found.refused == {}


def test_a_pool_does_not_sleep_until_the_last_container_that_never_sleeps_is_gone() -> None:
    known = Known()
    restless = ("two", "three")
    known.put("one", {**IDLE, **POOL})
    found = registry(known)
    for name in restless:
        known.put(name, POOL)
        found.follow(name, 1.0)
    for name, sleeps in zip(restless, (False, True), strict=True):
        assert found.follow("one", 1.0).unit is None
        known.drop(name)
        found.follow(name, 2.0)
        assert (found.follow("one", 2.0).unit is not None) is sleeps


def test_a_container_with_a_route_in_a_pool_and_one_outside_does_not_sleep() -> None:
    known = Known()
    known.put("one", {**IDLE, "proxy.aliases": "one, own", "proxy.one.load_balance.link": "all"})
    found = registry(known)
    for alias in ("one", "own"):
        assert found.follow(alias, 1.0).unit is None
        assert "its routes are not all in the same pool" in found.refused[alias].message
