from __future__ import annotations

import json
from typing import Any

import pytest

from pilotage import Change, DockerProviderConfig, EndpointHealth, Problem, build_table, explain, to_json
from pilotage.output.json import change_json, container_json, document, problem_json
from pilotage.table.snapshot import build_snapshot
from pilotage.table.store import RouteStore
from tests.support.summaries import ADDRESS, ID, LOCAL, container


def plain(*containers: Any) -> dict[str, Any]:
    snapshot = build_snapshot(LOCAL, containers)
    found: dict[str, Any] = document([snapshot], build_table([snapshot]))
    assert found == json.loads(json.dumps(found))
    return found


def test_a_container_is_plain_data() -> None:
    found = container(
        "Web",
        {"proxy.idle_timeout": "5m", "proxy.depends_on": "db"},
        Status="Up (healthy)",
        Ports=[{"PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"}, {"PrivatePort": 9000}],
        Mounts=[{"Type": "volume", "Source": "data", "Destination": "/data"}],
    )
    assert json.loads(json.dumps(container_json(found))) == {
        "name": "Web",
        "id": ID,
        "provider": "local",
        "aliases": ["web"],
        "explicit": True,
        "excluded": False,
        "running": True,
        "state": "running",
        "network": "bridge",
        "private_hostname": ADDRESS,
        "public_hostname": "127.0.0.1",
        "blacklisted": False,
        "image": {"author": "acme", "name": "web", "tag": "1.0", "sha256": "0123", "version": ""},
        "host_network_mode": False,
        "docker_health": True,
        "public_ports": {"8080": 80},
        "private_ports": {"80": 8080, "9000": 0},
        "mounts": [{"type": "volume", "source": "data", "destination": "/data"}],
        "idlewatcher": {
            "idle_timeout_s": 300.0,
            "wake_timeout_s": 180.0,
            "stop_method": "stop",
            "stop_timeout_s": 60.0,
            "stop_signal": "",
            "start_endpoint": "",
            "depends_on": ["db"],
            "no_loading_page": False,
        },
        "errors": [],
    }


def test_every_value_has_the_json_that_the_document_shows() -> None:
    snapshot = build_snapshot(LOCAL, [container("web", {"proxy.web.prot": "1"})])
    table = build_table([snapshot])
    shown = plain(container("web", {"proxy.web.prot": "1"}))
    assert to_json(snapshot.containers[0]) == shown["containers"][0]
    assert to_json(table) == {"routes": shown["routes"], "pools": {}, "problems": shown["problems"]}
    assert to_json(table.routes["web"]) == shown["routes"]["web"]
    assert to_json(table.problems[0]) == shown["problems"][0]
    change = Change("added", alias="web", engine="local", route=table.routes["web"])
    assert to_json(change) == change_json(change, table)
    explanation = to_json(explain("web", [snapshot], table))
    assert explanation["containers"][0]["routes"][0]["alias"] == "web"
    json.dumps(explanation)


def test_the_json_of_a_route_has_the_health_that_its_table_knows() -> None:
    store = RouteStore()
    snapshot = build_snapshot(LOCAL, [container("web")])
    store.set_routes(("local", ID), snapshot.built[0])
    store.commit()
    store.set_health("web", {f"{ADDRESS}:80": EndpointHealth("unhealthy", 12.5)})
    table = store.commit().table
    (endpoint,) = to_json(table.routes["web"], table)["endpoints"]
    assert endpoint["health"] == {"state": "unhealthy", "since": 12.5}
    assert to_json(table.routes["web"])["endpoints"][0]["health"] is None


def test_another_value_has_no_json() -> None:
    with pytest.raises(TypeError, match="str has no JSON form"):
        to_json("web")  # type: ignore[arg-type]


def test_idle_errors_are_sentences() -> None:
    found = container_json(container(labels={"proxy.network": "brigde"}))
    assert found["idlewatcher"] is None
    assert found["errors"] == ["local/web: proxy.network: network 'brigde' not found; did you mean 'bridge'?"]


def test_a_problem_is_plain_data_with_its_whole_place() -> None:
    problem = Problem(
        message="m", hint="h", value="v", provider="p", container="c", route="r", label="l", path="x", line=1, column=2
    )
    assert problem_json(problem) == {
        "provider": "p",
        "container": "c",
        "route": "r",
        "label": "l",
        "path": "x",
        "line": 1,
        "column": 2,
        "message": "m",
        "hint": "h",
        "severity": "error",
        "value": "v",
        "file": "",
    }


def test_the_document_has_containers_routes_and_problems() -> None:
    found = plain(container("b", {"proxy.b.bogus": "1"}, Id="2"), container("a", Id="1"))
    assert [each["name"] for each in found["containers"]] == ["b", "a"]
    assert list(found["routes"]) == ["a", "b"]
    assert [(each["container"], each["label"]) for each in found["problems"]] == [("b", "proxy.b.bogus")]


def test_fields_that_labels_set_stand_under_their_canonical_names_and_times_in_seconds() -> None:
    labels = {
        "proxy.web": "response_header_timeout: 2m\nLoadBalance: {link: shop, sticky_max_age: 1h}\nrules: [{do: pass}]",
        "proxy.web.access_log.stdout": "true",
    }
    route = plain(container(labels=labels))["routes"]["web"]
    assert route["response_header_timeout_s"] == 120.0
    assert (route["load_balance"]["link"], route["load_balance"]["sticky_max_age_s"]) == ("shop", 3600.0)
    assert route["rules"] == "<hidden>"
    assert (route["access_log"]["stdout"], route["access_log"]["retention"]) == (True, {"days": 30})


def test_an_empty_document_has_all_its_parts() -> None:
    assert document([], build_table([])) == {"containers": [], "routes": {}, "pools": {}, "problems": []}


def test_pools_are_listed_with_their_members_which_say_where_they_answer() -> None:
    pool = {"proxy.*.load_balance.link": "all"}
    snapshot = build_snapshot(
        LOCAL,
        [
            container("a1", pool, Id="1" * 64),
            container("a2", pool, Id="2" * 64),
            container("gone", pool, Id="3" * 64, State="exited"),
            container("web", Id="4" * 64),
        ],
    )
    found = document([snapshot], build_table([snapshot]))
    assert found["pools"] == {"all": {"members": ["a1", "a2"]}}
    assert {alias: route["pool"] for alias, route in found["routes"].items()} == {
        "a1": "all",
        "a2": "all",
        "gone": None,
        "web": None,
    }


def test_containers_of_all_engines_are_there() -> None:
    other = DockerProviderConfig(url="unix:///x", name="other")
    snapshots = [build_snapshot(LOCAL, [container()]), build_snapshot(other, [container(config=other)])]
    assert [each["provider"] for each in document(snapshots, build_table(snapshots))["containers"]] == [
        "local",
        "other",
    ]


def test_no_name_of_another_container_makes_a_problem_long() -> None:
    long = "n" * 20_000
    problem = Problem(message="m", provider=long, container=long, route=long, label=long, path=long)
    shown = problem_json(problem)
    assert {len(shown[name]) for name in ("provider", "container", "route", "label", "path")} == {200}
