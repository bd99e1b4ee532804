from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING

import msgspec
import pytest

from pilotage import DockerProviderConfig
from pilotage.discovery.detect import Found, Probe
from pilotage.output.console import Out
from pilotage.output.explain import explain
from pilotage.output.label_reference import matching
from pilotage.output.text import (
    print_containers,
    print_explanation,
    print_labels,
    print_probes,
    print_problems,
    print_routes,
    probe_json,
    route_status,
    summary,
)
from pilotage.output.view import View
from pilotage.routes.file import read_route_file
from pilotage.routes.route import Endpoint, EndpointHealth
from pilotage.table.store import build_table
from pilotage.table.table import EngineStatus
from tests.support.harbour import one, recording, roster, view
from tests.support.summaries import route

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from syrupy.assertion import SnapshotAssertion


class Terminal(io.StringIO):
    """A terminal that remembers."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(params=[0, 80, 120], ids=["pipe", "80 columns", "120 columns"])
def out(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Out:
    """A pipe, or a terminal without colours."""
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", str(request.param))
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    monkeypatch.delenv("TTY_COMPATIBLE", raising=False)
    return Out(Terminal() if request.param else io.StringIO())


@pytest.fixture
def harbour(tmp_path: Path) -> View:
    return view(tmp_path)


def printed(out: Out) -> str:
    """What went to the terminal, without bold letters and the like."""
    assert isinstance(out.file, io.StringIO)
    text = re.sub(r"\x1b\[[0-9;]*m", "", out.file.getvalue())
    assert not out.width or all(len(line) <= out.width for line in text.splitlines())
    return text


def test_routes(out: Out, harbour: View, snapshot: SnapshotAssertion) -> None:
    print_routes(out, harbour)
    assert printed(out) == snapshot


def test_containers(out: Out, harbour: View, snapshot: SnapshotAssertion) -> None:
    print_containers(out, harbour)
    assert printed(out) == snapshot


def test_problems(out: Out, harbour: View, snapshot: SnapshotAssertion) -> None:
    print_problems(out, harbour.table.problems)
    assert printed(out) == snapshot


@pytest.mark.parametrize("name", ["shop", "shop-copy", "db", "closed", "lost", "wiki", "two-nets", "api", "other"])
def test_explanations(out: Out, harbour: View, name: str, snapshot: SnapshotAssertion) -> None:
    print_explanation(out, explain(name, harbour.rosters, harbour.table))
    assert printed(out) == snapshot


def test_labels(out: Out, snapshot: SnapshotAssertion) -> None:
    print_labels(out, [*matching("aliases")[0], *matching("healthcheck")[0], *matching("ports")[0]])
    assert printed(out) == snapshot


ANSWERS = Probe(
    Found(DockerProviderConfig("unix:///run/x.sock", name="local"), ("DOCKER_HOST", "socket"), chosen=True),
    kind="Docker",
    version="28.5.1",
    api="1.44-1.51",
    latency=0.0042,
)
SILENT = Probe(
    Found(DockerProviderConfig("ssh://me@nas", name="nas"), ("context nas",)),
    error="cannot log in (Permission denied (publickey)); try 'ssh me@nas'",
)


def test_engines(out: Out, snapshot: SnapshotAssertion) -> None:
    print_probes(out, [ANSWERS, SILENT])
    assert printed(out) == snapshot


def test_an_engine_as_json_says_whether_it_answers() -> None:
    assert probe_json(ANSWERS)["answers"]
    assert probe_json(ANSWERS)["latency_s"] == 0.0042
    assert not probe_json(SILENT)["answers"]


def test_the_summary_counts_routes_problems_and_warnings(harbour: View) -> None:
    assert summary(harbour).plain == "13 routes, 4 excluded, 5 problems, 1 warning"
    assert summary(harbour, containers=True).plain.startswith("14 containers, 13 routes")


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
        (["ready", "ready", "waiting"], ["healthy", "unhealthy"], "1 of 3 ready, probes fail since TIME"),
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


def test_the_list_of_routes_says_what_fails_its_probe(out: Out) -> None:
    rosters = (roster([one("shop")]),)
    table = build_table(rosters)
    health = {table.routes["shop"].endpoints[0].address: EndpointHealth("unhealthy")}
    print_routes(out, View(rosters, msgspec.structs.replace(table, health={"shop": health})))
    assert re.search(r"probe fails since \d\d:\d\d:\d\d", printed(out))


EMPTY: list[tuple[Callable[[Out, View], None], str]] = [
    (print_routes, "No routes: there are no containers that could have any.\n"),
    (print_containers, "No containers.\n"),
]


@pytest.mark.parametrize(("show", "text"), EMPTY, ids=["routes", "containers"])
def test_an_empty_engine_is_told_in_words(show: Callable[[Out, View], None], text: str, tmp_path: Path) -> None:
    out = Out(io.StringIO())
    show(out, view(tmp_path, recording([])))
    assert printed(out) == text


def test_no_problems_take_no_line() -> None:
    out = Out(io.StringIO())
    print_problems(out, [])
    assert printed(out) == ""


def test_what_containers_are_called_cannot_move_the_cursor(tmp_path: Path) -> None:
    evil = recording([one("\x1b[2Jweb", {"proxy.a\x1b[2J.prot": "\x1b[2J"})])
    seen = view(tmp_path, evil)
    out = Out(io.StringIO())
    print_routes(out, seen)
    print_containers(out, seen)
    print_problems(out, seen.table.problems)
    print_explanation(out, explain("\x1b[2Jweb", seen.rosters, seen.table))
    assert "\x1b" not in printed(out)


def test_routes_of_files(out: Out, snapshot: SnapshotAssertion) -> None:
    file = read_route_file("nas: {host: 10.0.0.2}\nshop: {host: x, port: 1, prot: 2}\n", "own.yml")
    rosters = (roster([one("shop")]),)
    seen = View(rosters, build_table(rosters, [file]), files=(file,))
    print_routes(out, seen)
    print_containers(out, seen)
    print_explanation(out, explain("shop", rosters, seen.table, [file]))
    print_problems(out, seen.table.problems)
    assert printed(out) == snapshot


def test_routes_of_an_engine_that_is_away_say_since_when(out: Out) -> None:
    rosters = (roster([one("shop")]),)
    table = build_table(rosters)
    table = msgspec.structs.replace(table, engines={"local": EngineStatus("stale", 0.0, "gone")})
    print_routes(out, View(rosters, table))
    assert re.search(r"ready, stale since \d\d:\d\d:\d\d", printed(out))
