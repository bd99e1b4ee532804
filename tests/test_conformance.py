"""The label language by example: every case in the folder ``conformance`` (its README explains the keys)."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pilotage import EngineSnapshot, build_table
from pilotage.config.engines import DEFAULT_PORTS
from pilotage.discovery.file_routes import FileRoutes
from pilotage.output.json import container_json, document, problem_json
from pilotage.recording.replay import read_recordings, replay_recording
from pilotage.routes.file import read_route_file
from pilotage.table.store import RouteStore

Case = dict[str, Any]

FOLDER = Path(__file__).parent / "conformance"
CASES: list[Case] = json.loads((FOLDER / "cases.json").read_text())["cases"]
FILE_CASES: list[Case] = json.loads((FOLDER / "idlewatcher.json").read_text())["cases"]
RECORDED = ("provider", "containers", "env", "agents", "inspect_exposed_ports")


def recording_of(case: Case) -> bytes:
    return json.dumps({key: case[key] for key in RECORDED if key in case}).encode()


def outcome_of(case: Case) -> dict[str, Any]:
    """Return the library's result for a case, as in the JSON output."""
    recordings = read_recordings(recording_of(case))
    snapshots: list[EngineSnapshot] = [replay_recording(each, reserved_ports=DEFAULT_PORTS) for each in recordings]
    plain: dict[str, Any] = json.loads(json.dumps(document(snapshots, build_table(snapshots))))
    return plain


def is_empty(value: object) -> bool:
    return value is None or value in ("", 0, False, [], {})


def differences(expected: object, found: object, place: str) -> list[str]:
    """Return each difference between ``found`` and the expectation, in words."""
    if isinstance(expected, dict) and (found is None or isinstance(found, dict)):
        inner = found or {}
        return [
            difference
            for key, value in expected.items()
            for difference in differences(value, inner.get(key), f"{place}.{key}")
        ]
    same = expected == found and isinstance(expected, bool) is isinstance(found, bool)
    if same or (is_empty(expected) and is_empty(found)):
        return []
    return [f"{place}: {expected!r} is expected, not {found!r}"]


def mismatches(expect: dict[str, Any], found: dict[str, Any]) -> list[str]:
    """Return each difference between an outcome and the expectation, in words."""
    wrong: list[str] = []
    containers, routes, problems = found["containers"], found["routes"], found["problems"]
    wanted = expect["containers"]
    if len(wanted) != len(containers):
        wrong.append(f"{len(wanted)} containers are expected, not {len(containers)}")
    for number, (facts, container) in enumerate(zip(wanted, containers, strict=False)):
        wrong += differences(facts, container, f"containers[{number}]")
    for alias, facts in expect["routes"].items():
        wrong += differences(facts, routes[alias], f"routes.{alias}") if alias in routes else [f"no route {alias}"]
    not_served = expect.get("not_served", [])
    served = [alias for alias in not_served if alias in routes and routes[alias]["excluded_reason"] != "Error"]
    wrong += [f"{alias} is served" for alias in served]
    if expect["routes_exact"]:
        surplus = routes.keys() - expect["routes"].keys() - {*not_served}
        wrong += [f"route {alias} is one too many" for alias in sorted(surplus)]
    if start := expect.get("no_route_starts_with"):
        wrong += [f"route {alias} begins with {start}" for alias in routes if alias.startswith(start)]
    messages = [problem["message"] for problem in problems]
    if expect["has_errors"] is not None and expect["has_errors"] is not bool(problems):
        wrong.append(f"problems: {messages}")
    for text in expect.get("errors_mention", []):
        if not any(text in json.dumps(problem, ensure_ascii=False) for problem in problems):
            wrong.append(f"no problem mentions {text}: {messages}")
    return wrong


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case["id"]))
def test_a_case_has_the_outcome_of_the_rules(case: Case) -> None:
    assert mismatches(case["expect"], outcome_of(case)) == []


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case["id"]))
def test_every_problem_of_a_case_names_its_place(case: Case) -> None:
    for problem in outcome_of(case)["problems"]:
        assert problem["message"], problem
        assert problem["provider"] == case["provider"]["name"], problem
        assert problem["container"], problem


def test_the_command_line_prints_the_outcome_of_every_case(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pilotage", "routes", "--strict", "--format", "json"]
    for case in CASES:
        file = tmp_path / f"{case['id']}.json"
        file.write_bytes(recording_of(case))
        command += ["--replay", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "")  # some cases have problems
    found = [json.loads(line) for line in done.stdout.splitlines()]
    for case, each in zip(CASES, found, strict=True):  # the command also reports what the gateway refuses
        by_the_rules = outcome_of(case)["problems"]
        each["problems"] = [problem for problem in each["problems"] if problem in by_the_rules]
        refused = [alias for alias, route in each["routes"].items() if route["refused"]]
        each["routes"] |= {alias: outcome_of(case)["routes"][alias] for alias in refused}
    wrong = {case["id"]: mismatches(case["expect"], each) for case, each in zip(CASES, found, strict=True)}
    assert {name: mine for name, mine in wrong.items() if mine} == {}


def outcome_of_file(case: Case) -> dict[str, Any]:
    """Return the routes and problems of a route file, and how the containers of its routes sleep."""
    (snapshot,) = (replay_recording(each) for each in read_recordings(recording_of(case)))
    containers = {it.container_id: it for it in snapshot.containers}
    name, store = case["provider"]["name"], RouteStore()
    store.configure(engines=[name])
    files = FileRoutes(store, {name: containers}.get, lambda: [name])
    file = read_route_file(json.dumps(case["file"]), "routes.yml")
    files.replace(file.name, file)
    table = store.commit().table
    sleeps = {}
    for alias, route in table.routes.items():
        if route.idle_watcher:
            engine, container_id = route.sleeps_with
            container = containers[container_id]
            config = container.idlewatcher_config or files.idle[engine, container_id]
            shown = container_json(msgspec.structs.replace(container, idlewatcher_config=config))["idlewatcher"]
            sleeps[alias] = {"container": container.container_name, **shown}
    problems = [problem_json(problem) for problem in table.problems]
    found = {"routes": document([], table)["routes"], "sleeps": sleeps, "problems": problems}
    plain: dict[str, Any] = json.loads(json.dumps(found))
    return plain


@pytest.mark.parametrize("case", FILE_CASES, ids=lambda case: str(case["id"]))
def test_a_route_file_sleeps_as_the_rules_say(case: Case) -> None:
    expect, found = case["expect"], outcome_of_file(case)
    assert differences(expect["routes"], found["routes"], "routes") == []
    assert found["sleeps"].keys() == expect["sleeps"].keys()
    assert differences(expect["sleeps"], found["sleeps"], "sleeps") == []
    assert len(found["problems"]) == len(expect["problems"]), found["problems"]
    told = [json.dumps(problem, ensure_ascii=False) for problem in found["problems"]]
    assert [text for text in expect["problems"] if not any(text in each for each in told)] == [], told
    for problem in found["problems"]:
        assert (problem["file"], problem["route"], problem["line"]) == ("routes.yml", "nas", 1), problem


def test_all_cases_are_present_and_have_unique_names() -> None:
    assert len(CASES) == len({case["id"] for case in CASES}) == 230
    assert len(FILE_CASES) == len({case["id"] for case in FILE_CASES}) == 20


def test_every_difference_is_reported() -> None:
    case = next(case for case in CASES if case["id"] == "alias-015")
    found = outcome_of(case)
    expect = case["expect"]
    assert mismatches(expect, found) == []
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"containers": [{"running": False}]}, "containers[0].running: False is expected, not True"),
        ({"containers": []}, "0 containers are expected, not 1"),
        ({"routes": {"other": {}}, "routes_exact": False}, "no route other"),
        ({"routes": {}}, "route web-old is one too many"),
        ({"routes": {"web-old": {"port": {"proxy": 81}}}}, "routes.web-old.port.proxy: 81 is expected, not 80"),
        ({"not_served": ["web-old"]}, "web-old is served"),
        ({"no_route_starts_with": "web"}, "route web-old begins with web"),
        ({"has_errors": True}, "problems: []"),
        ({"errors_mention": ["a text"]}, "no problem mentions a text: []"),
    ]
    for change, difference in wrong:
        assert mismatches({**expect, **change}, found) == [difference]
