from __future__ import annotations

import pytest

from pilotage.output.exclusion import label_for, remedy
from pilotage.routes.exclusion import ExclusionReason
from tests.support.example_engine import engine_snapshot, one


def changes(alias: str = "web", port_why: str = "no port is exposed", **more: object) -> tuple[str, str]:
    """Why the route of such a container is excluded, and what would change it."""
    labels = more.pop("labels", {})
    name = str(more.pop("name", "web"))
    found = engine_snapshot([one(name, labels, **more)])  # type: ignore[arg-type]
    route = next(route for route in found.built[0].routes if route.alias == alias)
    return route.excluded_reason, remedy(found.containers[0], route, port_why)


def test_a_field_of_an_alias_with_dots_is_set_by_its_number() -> None:
    container = engine_snapshot([one("web", {"proxy.aliases": "app, app.example.com"})]).containers[0]
    assert label_for(container, "app", "port") == "proxy.app.port"
    assert label_for(container, "app.example.com", "port") == "proxy.#2.port"


@pytest.mark.parametrize(
    ("state", "hint"),
    [
        ("exited", "start it with 'docker start web'; with proxy.idle_timeout, the first request wakes it"),
        ("paused", "resume it with 'docker unpause web'; with proxy.idle_timeout, the first request wakes it"),
        ("restarting", "it keeps failing; check 'docker logs web'"),
        ("dead", "the engine could not remove it; retry with 'docker rm -f web'"),
        ("odd", "start it"),
    ],
)
def test_a_container_that_does_not_run_says_how_to_start_it(state: str, hint: str) -> None:
    reason, change = changes(State=state, Status="")
    assert reason == ExclusionReason.NOT_RUNNING
    assert change == f"its state is {state}; {hint}"


def test_a_hidden_container_names_the_label_that_hides_it() -> None:
    reason, change = changes(labels={"proxy.exclude": "1"})
    assert reason == ExclusionReason.MANUAL
    assert change == "proxy.exclude is '1'; set it to false or remove it to serve the container"


def test_a_one_off_says_how_to_serve_it() -> None:
    reason, change = changes(labels={"com.docker.compose.oneoff": "True"})
    assert reason == ExclusionReason.ONEOFF
    assert "proxy.exclude: false" in change


def test_a_container_without_ports_gets_the_label_to_set() -> None:
    reason, change = changes(Ports=[])
    assert reason == ExclusionReason.NO_PORT
    assert change == "neither the image nor the container exposes a port; set one, e.g. proxy.web.port: 8080"


def test_an_unpublished_port_is_to_be_published() -> None:
    _, change = changes(Ports=[], port_why="container port 80 is not published")
    assert change.startswith("container port 80 is not published, and only published ports are reachable from here")


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"Image": "redis:7"}, "recognized by its image redis:7"),
        ({"Ports": [{"PrivatePort": 5432, "Type": "tcp"}]}, "recognized by its port 5432"),
        ({"Mounts": [{"Destination": "/var/lib/mysql"}]}, "recognized by its mount /var/lib/mysql"),
    ],
)
def test_the_remedy_names_what_matched_the_blacklist(more: dict[str, object], words: str) -> None:
    reason, change = changes(**more)  # type: ignore[arg-type]
    assert reason == ExclusionReason.BLACKLISTED
    assert change.startswith(words)


@pytest.mark.parametrize(
    ("name", "reason"),
    [("buildx_kit", ExclusionReason.BUILDX), ("x-base", ExclusionReason.ANCHOR), ("web-old", ExclusionReason.RENAMING)],
)
def test_names_that_exclude_a_container_are_explained(name: str, reason: str) -> None:
    found, change = changes(alias=name, name=name)
    assert found == reason
    assert "rename it" in change or "another alias" in change


def test_an_invalid_protective_setting_is_named_as_such() -> None:
    reason, change = changes(labels={"proxy.web.midlewares": "{}"})
    assert reason == ExclusionReason.ERROR
    assert change == "a setting that may restrict access is invalid; fix the problems below"


def test_the_remedy_of_another_error_is_to_fix_it() -> None:
    assert changes(labels={"proxy.web.port": "-1"}) == (ExclusionReason.ERROR, "fix the problems below")


def test_a_served_route_needs_no_change() -> None:
    assert changes() == ("", "")
