from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING

import msgspec
import pytest

from pilotage.core.problems import Problem
from pilotage.output.console import Out
from pilotage.output.text.routes import print_routes, route_status, summary
from pilotage.output.view import View
from pilotage.routes.route import Endpoint, EndpointHealth
from pilotage.table.store import build_table
from pilotage.table.table import EngineStatus
from tests.support.example_engine import engine_snapshot, one, recording, view
from tests.support.summaries import route
from tests.support.terminal import printed

if TYPE_CHECKING:
    from pathlib import Path

    from syrupy.assertion import SnapshotAssertion


def test_routes(out: Out, example: View, snapshot: SnapshotAssertion) -> None:
    print_routes(out, example)
    assert printed(out) == snapshot


def test_the_summary_counts_routes_problems_and_warnings(example: View) -> None:
    assert summary(example).plain == "13 routes, 5 excluded, 6 problems, 1 warning"
    assert summary(example, containers=True).plain.startswith("14 containers, 13 routes")


def test_the_summary_says_when_all_is_well(tmp_path: Path) -> None:
    assert summary(view(tmp_path, recording([one("web")]))).plain == "1 route, no problems"


def endpoint(state: str) -> Endpoint:
    return Endpoint("10.0.0.1", 80, "web", "1", state)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("states", "text"),
    [
        (["ready"], "ready"),
        (["waiting"], "not healthy yet"),
        (["unhealthy"], "unhealthy"),
        (["ready", "waiting", "ready"], "2 of 3 ready"),
    ],
)
def test_how_a_route_is_depends_on_its_endpoints(states: list[str], text: str) -> None:
    it = msgspec.structs.replace(route(), endpoints=tuple(map(endpoint, states)))
    assert route_status(it)[0] == text


@pytest.mark.parametrize(
    ("states", "probes", "text"),
    [
        (["ready"], ["healthy"], "healthy"),
        (["ready"], ["pending"], "ready, not probed yet"),
        (["ready"], ["unhealthy"], "probe fails since TIME"),
        (["unhealthy"], ["healthy"], "unhealthy"),
        (["ready", "ready"], ["healthy", "healthy"], "2 of 2 ready"),
        (["ready", "ready", "waiting"], ["healthy", "unhealthy"], "1 of 3 ready, probes failing since TIME"),
    ],
    ids=str,
)
def test_how_a_route_is_depends_on_probes_too(states: list[str], probes: list[str], text: str) -> None:
    endpoints = tuple(
        msgspec.structs.replace(endpoint(state), host=f"10.0.0.{number}") for number, state in enumerate(states)
    )
    health = {f"10.0.0.{number}:80": EndpointHealth(state) for number, state in enumerate(probes)}  # type: ignore[arg-type]
    it = msgspec.structs.replace(route(), endpoints=endpoints)
    assert re.sub(r"\d\d:\d\d:\d\d", "TIME", route_status(it, health)[0]) == text


def test_a_route_that_is_refused_is_not_ready() -> None:
    it = msgspec.structs.replace(route(), endpoints=(endpoint("ready"),))
    assert route_status(it, refused=("rules", "bind")) == ("not served: rules, bind", "red")
    assert route_status(it, refused=()) == ("not served: see below", "red")


def test_the_route_list_shows_failing_probes(out: Out) -> None:
    snapshots = (engine_snapshot([one("shop")]),)
    table = build_table(snapshots)
    health = {table.routes["shop"].endpoints[0].address: EndpointHealth("unhealthy")}
    print_routes(out, View(snapshots, msgspec.structs.replace(table, health={"shop": health})))
    assert re.search(r"probe fails since \d\d:\d\d:\d\d", printed(out))


def test_routes_of_a_stale_engine_say_since_when(out: Out) -> None:
    snapshots = (engine_snapshot([one("shop")]),)
    table = build_table(snapshots)
    table = msgspec.structs.replace(table, engines={"local": EngineStatus("stale", 0.0, "gone")})
    print_routes(out, View(snapshots, table))
    assert re.search(r"ready, stale since \d\d:\d\d:\d\d", printed(out))


def test_an_empty_table_of_routes_says_why(tmp_path: Path) -> None:
    out = Out(io.StringIO())
    print_routes(out, view(tmp_path, recording([])))
    assert printed(out) == "No routes: there is no container to route to.\n"


def test_a_pool_has_a_row_and_its_members_say_that_they_answer_under_its_name(out: Out) -> None:
    pool = {"proxy.*.load_balance.link": "all"}
    snapshots = (engine_snapshot([one("b1", pool), one("c1", pool), one("web")]),)
    print_routes(out, View(snapshots, build_table(snapshots)))
    lines = printed(out).splitlines()[1:]
    assert [line.split()[0] for line in lines] == ["all", "b1", "c1", "web"]
    assert "b1, c1" in lines[0]
    assert lines[0].endswith("pool, 2 of 2 ready")
    assert [line.endswith("ready, answers as all") for line in lines] == [False, True, True, False]
    refused = Problem(message="it differs", route="c1", path="load_balance.link", refused=True)
    table = msgspec.structs.replace(build_table(snapshots), problems_by_key={("", ""): (refused,)})
    print_routes(out, View(snapshots, table))
    lines = printed(out).splitlines()[len(lines) + 2 :]
    assert lines[0].endswith("pool, 1 of 1 ready")
    assert "c1" not in lines[0]
    assert lines[2].endswith("not served: load_balance.link")
