from __future__ import annotations

from typing import Any

import msgspec
import pytest

from pilotage import Endpoint, Problem, Table, build_table
from pilotage.routes.route import EndpointHealth
from pilotage.table.diff import Change, diff
from pilotage.table.table import EngineStatus
from tests.support.claims import claim, engine_snapshots, linked


def changes(old: Table, new: Table, **limits: Any) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(change.kind, change.alias or change.engine, change.fields) for change in diff(old, new, **limits)]


def test_equal_tables_do_not_differ() -> None:
    table = build_table(engine_snapshots("one"))
    assert diff(table, table) == diff(table, build_table(engine_snapshots("one"))) == ()


def test_routes_are_added_updated_and_removed() -> None:
    old = Table({"a": claim(alias="a"), "b": claim(alias="b"), "c": claim(alias="c")})
    new = Table({"b": claim(alias="b", scheme="https"), "c": claim(alias="c"), "d": claim(alias="d")})
    assert changes(old, new) == [("removed", "a", ()), ("updated", "b", ("scheme",)), ("added", "d", ())]
    (removed, updated, _) = diff(old, new)
    assert (removed.route, updated.route) == (old.routes["a"], new.routes["b"])


def test_only_the_given_aliases_are_compared_each_with_its_cause() -> None:
    new = Table({"a": claim(alias="a"), "b": claim(alias="b")})
    assert diff(Table(), new, aliases={"b": "start of web"}) == (
        Change("added", "b", new.routes["b"], engine="local", cause="start of web"),
    )


def test_a_draining_endpoint_is_a_draining_change() -> None:
    before = claim()
    draining = (msgspec.structs.replace(before.endpoints[0], state="draining"),)
    after = msgspec.structs.replace(before, endpoints=draining)
    assert changes(Table({"app": before}), Table({"app": after})) == [("draining", "app", ("endpoints",))]
    assert changes(Table({"app": after}), Table({"app": before})) == [("updated", "app", ("endpoints",))]
    other = msgspec.structs.replace(after, scheme="https")
    assert changes(Table({"app": before}), Table({"app": other})) == [("updated", "app", ("scheme", "endpoints"))]


def test_an_endpoint_that_was_draining_before_does_not_drain_again() -> None:
    before = claim()
    ready, *_ = before.endpoints
    draining = msgspec.structs.replace(ready, container_id="other", state="draining")
    both = msgspec.structs.replace(before, endpoints=(ready, draining))
    one = msgspec.structs.replace(before, endpoints=(draining,))
    assert changes(Table({"app": both}), Table({"app": one})) == [("updated", "app", ("endpoints",))]


def test_engines_become_stale_and_live() -> None:
    live, stale = ({"local": EngineStatus(state)} for state in ("live", "stale"))
    assert changes(Table(engines=live), Table(engines=stale)) == [("stale", "local", ())]
    assert changes(Table(engines=stale), Table(engines=live)) == [("live", "local", ())]
    assert changes(Table(), Table(engines={"local": EngineStatus("pending")})) == []
    assert changes(Table(), Table(engines=live)) == [("live", "local", ())]
    assert changes(Table(engines=live), Table()) == []
    away = {"local": EngineStatus("stale", 5.0, "connection refused")}
    assert diff(Table(engines=live), Table(engines=away)) == (
        Change("stale", engine="local", cause="connection refused"),
    )
    assert changes(Table(engines=stale), Table(engines=away)) == []


def test_problems_appear_and_are_resolved() -> None:
    problem = Problem(message="x", provider="local", container="web", route="app")
    fault, conflict = (
        Table(problems_by_key={("local", "id"): (problem,)}),
        Table(problems_by_key={("", "app"): (problem,)}),
    )
    assert [change.kind for change in diff(Table(), fault)] == ["problem"]
    assert [change.kind for change in diff(Table(), conflict)] == ["conflict"]
    assert [(change.kind, change.problem) for change in diff(fault, Table())] == [("resolved", problem)]
    assert diff(Table(), fault, keys=[]) == ()


# ---- probe results --------------------------------------------------------------------------------------------------


def with_health(**states: str) -> Table:
    """A table with one route; container name -> health of its endpoint."""
    found = tuple(Endpoint(f"10.0.0.{number}", 80, name, name) for number, name in enumerate("abcde", 1))
    health = {e.address: EndpointHealth(states[e.container], 5) for e in found if e.container in states}  # type: ignore[arg-type]
    return Table({"app": claim(alias="app", endpoints=found)}, health={"app": health})


@pytest.mark.parametrize(
    ("before", "after", "cause"),
    [
        ({}, {"a": "healthy"}, "a at 10.0.0.1:80 passes the gateway's probe"),
        ({"a": "pending"}, {"a": "healthy"}, "a at 10.0.0.1:80 passes the gateway's probe"),
        ({"a": "healthy"}, {"a": "unhealthy"}, "a at 10.0.0.1:80 fails the gateway's probe"),
        ({"a": "unhealthy"}, {"a": "healthy"}, "a at 10.0.0.1:80 passes the gateway's probe again"),
        ({"a": "healthy"}, {"a": "pending"}, "a at 10.0.0.1:80 is being probed again because Envoy restarted"),
        ({"b": "healthy"}, {"a": "unhealthy", "b": "healthy"}, "a at 10.0.0.1:80 fails the gateway's probe"),
        (
            dict.fromkeys("abcde", "healthy"),
            dict.fromkeys("abcde", "unhealthy"),
            (
                "a at 10.0.0.1:80 fails the gateway's probe; b at 10.0.0.2:80 fails the gateway's probe; "
                "c at 10.0.0.3:80 fails the gateway's probe; and 2 more"
            ),
        ),
    ],
    ids=str,
)
def test_a_health_change_reads_as_a_sentence(before: dict[str, str], after: dict[str, str], cause: str) -> None:
    old, new = with_health(**before), with_health(**after)
    assert diff(old, new) == (Change("health", "app", new.routes["app"], engine="local", cause=cause),)


@pytest.mark.parametrize(
    ("before", "after"),
    [({}, {"a": "pending"}), ({"a": "healthy"}, {}), ({"a": "healthy"}, {"a": "healthy"})],
    ids=str,
)
def test_starting_or_ending_a_probe_is_not_a_change(before: dict[str, str], after: dict[str, str]) -> None:
    assert diff(with_health(**before), with_health(**after)) == ()


def test_an_endpoint_without_a_container_is_named_by_its_address() -> None:
    route = claim(alias="app", endpoints=(Endpoint("10.0.0.1", 80),))
    new = Table({"app": route}, health={"app": {"10.0.0.1:80": EndpointHealth("unhealthy")}})
    assert diff(Table({"app": route}), new)[0].cause == "10.0.0.1:80 fails the gateway's probe"


def test_another_order_of_a_pool_is_a_change_of_the_route_that_now_leads_it() -> None:
    routes = {alias: linked(alias, alias) for alias in "abc"}
    old, new = (Table(routes, pool_members={"shop": members}) for members in (("a", "b"), ("b", "a")))
    assert changes(old, new) == [("updated", "b", ("pool",))]
    assert changes(old, Table(routes, pool_members={"shop": ("a", "b", "c")})) == []  # which joined, as its route says
    assert changes(old, Table(routes, pool_members={"shop": ("b",)})) == []
    assert changes(old, Table(routes, pool_members={"shop": ("b", "c", "a")})) == [("updated", "b", ("pool",))]
    assert changes(old, Table(routes)) == []
