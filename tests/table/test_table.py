from __future__ import annotations

from typing import Any

import msgspec

from pilotage import Problem, Table, build_table
from pilotage.table.table import EngineStatus, problem_order
from tests.support.claims import claim, engine_snapshots
from tests.support.defaults import filled_by_default


def test_a_table_has_every_alias_of_all_engines_and_every_problem() -> None:
    table = build_table(engine_snapshots("one", "two"))
    assert [route.alias for route in table.sorted_routes()] == ["a", "one-a", "one-b", "shared", "two-a", "two-b"]
    assert table.routes["shared"].container == "one-b"
    assert [(p.provider, p.container, p.message.split(" ", maxsplit=1)[0]) for p in table.problems] == [
        ("one", "", "slow"),
        ("one", "one-a", "unknown"),
        ("two", "", "slow"),
        ("two", "two-a", "alias"),
        ("two", "two-a", "unknown"),
        ("two", "two-b", "alias"),
    ]
    assert set(table.engines) == {"one", "two"}


def test_the_order_in_which_an_engine_lists_containers_does_not_matter() -> None:
    one = build_table(engine_snapshots("one", "two"))
    turned = [
        msgspec.structs.replace(r, containers=r.containers[::-1], built=r.built[::-1])
        for r in engine_snapshots("one", "two")
    ]
    other = build_table(turned)
    assert list(one.sorted_routes()) == list(other.sorted_routes())
    assert one.problems == other.problems


def test_an_empty_table_is_version_zero() -> None:
    assert (Table().version, list(Table().sorted_routes()), Table().problems) == (0, [], ())


def test_pools_are_in_order_of_their_names_and_their_leaders_come_first() -> None:
    table = Table(pool_members={"shop": ("b", "a"), "api": ("c",)})
    assert list(table.pools().items()) == [("api", ("c",)), ("shop", ("b", "a"))]


def test_a_route_is_as_stale_as_its_engine() -> None:
    table = Table(engines={"local": EngineStatus("stale", 5.0, "gone"), "node2": EngineStatus("live")})
    assert table.stale_since(claim()) == 5.0
    assert table.stale_since(claim(provider="node2")) is None
    assert table.stale_since(claim(provider="unheard of")) is None
    assert repr(table) == "<Table version 0: 0 routes of 2 engines, stale: local>"


def test_problems_are_sorted_by_place_and_then_by_message() -> None:
    fields: dict[str, Any] = {
        "provider": "ab",
        "container": "ab",
        "label": "ab",
        "route": "ab",
        "line": (1, 2),
        "column": (1, 2),
    }
    fields |= {"path": "ab", "message": "ab"}
    names = list(fields)
    for place in range(len(names)):
        earlier = {name: fields[name][index > place] for index, name in enumerate(names)}
        later = {name: fields[name][index == place] for index, name in enumerate(names)}
        assert problem_order(Problem(**earlier)) < problem_order(Problem(**later)), names[place]


def test_fields_are_empty_by_default_except_these() -> None:
    assert filled_by_default("table") == {}


def test_the_repr_lists_stale_engines_by_name() -> None:
    states = {name: EngineStatus("stale") for name in ("b", "a")}
    assert repr(Table({"app": claim()}, engines=states)) == "<Table version 0: 1 routes of 2 engines, stale: a, b>"
    assert repr(Table()) == "<Table version 0: 0 routes of 0 engines>"


def test_an_alias_without_probes_has_no_health() -> None:
    assert dict(Table().health_of("app")) == {}
