from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from pilotage.routes.exclusion import ExclusionReason
from pilotage.routes.route import Endpoint
from pilotage.routes.schema import LoadBalance
from pilotage.table.table import Table
from pilotage.xds.options import GatewayOptions
from pilotage.xds.resources import SCOPE
from pilotage.xds.scope_parts import split_hosts
from pilotage.xds.snapshot import Snapshot
from pilotage.xds.successors import names_above
from pilotage.xds.target_guard import TargetGuard
from tests.support.gateway import route, target

if TYPE_CHECKING:
    from pilotage.routes.route import Route
    from tests.xds.conftest import Envoy

_SHOP = ("local", "demo", "shop")


def _draining(alias: str, *ports: int, **fields: Any) -> Route:
    return route(alias, endpoints=tuple(Endpoint("127.0.0.1", port, state="draining") for port in ports), **fields)


def _apply(snapshot: Snapshot, *routes: Route) -> None:
    snapshot.replace(Table({it.alias: it for it in routes}))


def _leave(*before: Route, domains: tuple[str, ...] = ()) -> Snapshot:
    """Return a snapshot in which all of these routes were told to stop and then removed."""
    snapshot = Snapshot(GatewayOptions(match_domains=domains))
    _apply(snapshot, *before)
    _apply(snapshot, *(_draining(it.alias, 80, container=it.container, service=it.service) for it in before))
    _apply(snapshot)
    assert snapshot.lingering.keys() == {it.alias for it in before}
    return snapshot


@pytest.mark.parametrize(
    ("host", "domains", "expected"),
    [
        ("shop.example.com", (), ("shop", "*.example.com", "*")),
        ("shop.example.com", (".example.com",), ("shop", "*.example.com", "*")),
        ("shop.example.com", ("example.org",), ("*.example.com", "*")),
        ("*.example.com", (), ("*",)),
        ("shop", (), ("*",)),
        ("*", (), ()),
    ],
)
def test_less_specific_names_can_answer_for_a_host(
    host: str, domains: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    assert names_above(host, domains) == expected


@pytest.mark.parametrize("alias", ["shop", "*.example.com", "*"])
def test_a_route_that_appears_and_answers_for_the_host_of_a_removed_one_succeeds_it(alias: str) -> None:
    snapshot = _leave(route("shop.example.com", 80))
    _apply(snapshot, route(alias, endpoints=(Endpoint("127.0.0.1", 81, state="waiting"),)))
    assert snapshot.lingering.keys() == {"shop.example.com"}  # it does not answer yet
    _apply(snapshot, route(alias, 81))
    assert not snapshot.lingering
    hosts = [host.name for key, it in snapshot.resources.items() if key[0] == SCOPE for host in split_hosts(it)]
    assert hosts == [alias]


def test_a_pool_succeeds_a_removed_route() -> None:
    snapshot = _leave(route("shop.example.com", 80))
    _apply(snapshot, route("new", 81, load_balance=LoadBalance(link="shop")))
    assert not snapshot.lingering


def test_a_route_for_other_domains_does_not_succeed_a_removed_one() -> None:
    snapshot = _leave(route("shop.example.com", 80), domains=("example.org",))
    _apply(snapshot, route("shop", 81), route("www", 81))
    assert snapshot.lingering.keys() == {"shop.example.com"}


@pytest.mark.parametrize("alias", ["shop", "*.example.com", "*"])
def test_a_route_that_was_there_before_does_not_get_the_requests_of_a_container_that_may_be_restarting(
    alias: str,
) -> None:
    other, one = route(alias, 81), "shop.example.com"
    snapshot = Snapshot(GatewayOptions())
    _apply(snapshot, other, route(one, 80))
    _apply(snapshot, other, _draining(one, 80))
    _apply(snapshot, other)
    _apply(snapshot, route(alias, 81, 82))
    assert snapshot.lingering.keys() == {one}
    _apply(snapshot, other, route(one, 83))
    assert not snapshot.lingering


@pytest.mark.parametrize("fields", [{"service": _SHOP}, {"container": "web"}], ids=["service", "container"])
def test_a_route_that_was_recreated_as_well_does_not_get_the_requests_of_another(fields: dict[str, Any]) -> None:
    snapshot = _leave(route("shop", 81, **fields), route("shop.example.com", 80))
    _apply(snapshot, route("shop", 82, container_id="id-of-the-new-one", **fields))
    assert snapshot.lingering.keys() == {"shop.example.com"}


@pytest.mark.parametrize("at_once", [False, True])
def test_a_service_whose_new_container_has_a_shorter_alias_succeeds_its_old_one(at_once: bool) -> None:
    old, new = route("shop.example.com", 80, service=_SHOP), route("shop", 81, service=_SHOP, container="new")
    snapshot = Snapshot(GatewayOptions())
    _apply(snapshot, old)
    stopping = _draining("shop.example.com", 80, service=_SHOP)
    _apply(snapshot, *([stopping] if at_once else [stopping, new]))
    _apply(snapshot, new)
    assert not snapshot.lingering


def test_requests_wait_again_for_a_route_that_returned_and_was_removed() -> None:
    snapshot = _leave(route("shop.example.com", 80))
    _apply(snapshot, route("shop.example.com", 80), route("shop", 81))
    _apply(snapshot, _draining("shop.example.com", 80), route("shop", 81))
    _apply(snapshot, route("shop", 81))
    _apply(snapshot, route("shop", 82))
    assert snapshot.lingering.keys() == {"shop.example.com"}


@pytest.mark.parametrize("exists", [False, True], ids=["removed", "stopped"])
def test_a_successor_is_recognized_after_a_change_of_settings(exists: bool) -> None:
    stopped = route("shop.example.com", excluded=True, excluded_reason=ExclusionReason.NOT_RUNNING)
    left = [stopped] if exists else []
    snapshot = _leave(route("shop.example.com", 80))
    _apply(snapshot, *left)
    snapshot.configure(GatewayOptions(compression=True))
    assert snapshot.lingering.keys() == {"shop.example.com"}
    _apply(snapshot, route("shop", 81), *left)
    assert not snapshot.lingering


def test_a_change_of_settings_may_allow_a_successor() -> None:
    snapshot = Snapshot(GatewayOptions(), TargetGuard(own_ports=frozenset({81})))
    _apply(snapshot, _draining("shop.example.com", 80))
    _apply(snapshot)
    _apply(snapshot, route("shop", 81))
    assert snapshot.backend("route/shop") is None or not snapshot.backend("route/shop").members  # type: ignore[union-attr]
    snapshot.configure(GatewayOptions(), TargetGuard())
    assert snapshot.backend("route/shop").members  # type: ignore[union-attr]
    _apply(snapshot, route("shop", 82))
    assert not snapshot.lingering


async def test_requests_for_a_removed_host_reach_its_successor_at_once(envoy: Envoy) -> None:
    async with target("old") as old, target("new") as new, envoy() as gw:
        await gw.publish(_draining("shop.example.com", old.port))
        await gw.publish()
        waiting = asyncio.create_task(gw.ask("shop.example.com"))
        await gw.publish(route("shop", new.port))
        for _ in range(20):
            assert (await gw.ask("shop.example.com")).by == "new"
        waiting.cancel()
