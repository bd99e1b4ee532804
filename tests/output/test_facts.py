from __future__ import annotations

from typing import Any

import pytest

from pilotage.output.facts import Fact, container_facts, label_for, remedy
from pilotage.routes.route import Excluded
from tests.support.harbour import STOPPED, at, one, roster


def facts(others: list[str] | None = None, **more: object) -> dict[str, Fact]:
    """The facts about one container, made of the fields given."""
    labels = more.pop("labels", {})
    url = str(more.pop("url", "unix:///var/run/docker.sock"))
    found = roster([one("web", labels, **more), *map(one, others or [])], url=url)  # type: ignore[arg-type]
    names = {container.container_id: container.container_name for container in found.containers}
    return {fact.name: fact for fact in container_facts(found.containers[0], names)}


def told(fact: Fact) -> tuple[str, str]:
    return fact.value, fact.why


def changes(alias: str = "web", port_why: str = "no port is exposed", **more: object) -> tuple[str, str]:
    """Why the route of such a container is excluded, and what would change it."""
    labels = more.pop("labels", {})
    name = str(more.pop("name", "web"))
    found = roster([one(name, labels, **more)])  # type: ignore[arg-type]
    route = next(route for route in found.built[0].routes if route.alias == alias)
    return route.excluded_reason, remedy(found.containers[0], route, port_why)


def test_a_field_of_an_alias_with_dots_is_set_by_its_number() -> None:
    container = roster([one("web", {"proxy.aliases": "app, app.example.com"})]).containers[0]
    assert label_for(container, "app", "port") == "proxy.app.port"
    assert label_for(container, "app.example.com", "port") == "proxy.#2.port"


def test_aliases_come_from_the_label_or_the_name() -> None:
    assert told(facts()["aliases"]) == ("web", "the container's name, for there is no label proxy.aliases")
    listed = facts(labels={"proxy.aliases": "a, b"})["aliases"]
    assert listed.value == "a, b"
    assert listed.source is not None


# ---- networks


def test_the_only_network_is_taken() -> None:
    assert told(facts()["network"]) == ("bridge", "the only one it is attached to")


def test_of_several_networks_the_first_by_name_is_taken() -> None:
    value, why = told(facts(NetworkSettings=at("10.0.0.2", "zeta", alpha="10.0.1.2"))["network"])
    assert value == "alpha"
    assert why.startswith("the first by name that gives it an address, of alpha, zeta")


def test_the_compose_projects_own_network_is_preferred() -> None:
    project = {"com.docker.compose.project": "shop"}
    networks = at("10.0.0.2", "shop_default", alpha="10.0.1.2")
    assert told(facts(labels=project, NetworkSettings=networks)["network"]) == (
        "shop_default",
        "the compose project's own, preferred among alpha, shop_default",
    )


def test_a_network_that_a_label_names_says_so() -> None:
    networks = at("10.0.0.2", "zeta", alpha="10.0.1.2")
    network = facts(labels={"proxy.network": "zeta"}, NetworkSettings=networks)["network"]
    assert told(network) == ("zeta", "")
    assert network.source is not None
    assert network.source.label == "proxy.network"


def test_a_network_named_without_its_project_says_so() -> None:
    labels = {"proxy.network": "front", "com.docker.compose.project": "shop"}
    networks = at("10.0.0.2", "shop_front", alpha="10.0.1.2")
    assert told(facts(labels=labels, NetworkSettings=networks)["network"]) == (
        "shop_front",
        "the name front with the compose project before it",
    )


def test_a_network_that_is_not_there_says_which_are() -> None:
    network = facts(labels={"proxy.network": "front"})["network"]
    assert told(network) == ("-", "it is attached to bridge")
    assert network.source is not None


def test_a_remote_engine_is_reached_by_its_published_ports() -> None:
    _, why = told(facts(url="tcp://192.0.2.7:2375")["network"])
    assert why == "its addresses cannot be reached from here, so its published ports at 192.0.2.7 are"


def test_the_hosts_network_says_so() -> None:
    host: dict[str, Any] = {"HostConfig": {"NetworkMode": "host"}, "NetworkSettings": at("", "host")}
    assert told(facts(**host)["network"]) == ("host", "it uses the host's network, so it is reached at 127.0.0.1")


def test_a_shared_network_names_whose_it_is() -> None:
    mode = {"NetworkMode": f"container:{one('vpn')['Id']}"}
    assert facts(["vpn"], HostConfig=mode)["network"].why == "it shares the network of container vpn"


def test_no_network_says_that_nothing_can_reach_it() -> None:
    none: dict[str, Any] = {"HostConfig": {"NetworkMode": "none"}, "NetworkSettings": at("", "none")}
    assert told(facts(**none)["network"]) == ("none", "it has no network, so nothing can reach it")


def test_addresses_of_a_stopped_container_do_not_count() -> None:
    assert facts(**STOPPED)["network"].why == "addresses count only while a container runs"


# ---- ports, health, compose, idling


def test_ports_tell_where_they_are_published() -> None:
    ports = [{"PrivatePort": 80, "Type": "tcp"}, {"PrivatePort": 53, "PublicPort": 5353, "Type": "udp"}]
    assert facts(Ports=ports)["ports"].value == "53/udp published as 5353, 80/tcp"


def test_health_is_told_when_the_engine_checks_it() -> None:
    assert facts(Status="Up 1 hour (unhealthy)")["health"].value == "unhealthy"
    assert "health" not in facts()


def test_the_compose_service_is_told() -> None:
    labels = {"com.docker.compose.project": "shop", "com.docker.compose.service": "api"}
    assert told(facts(labels=labels)["service"]) == ("api", "of the compose project shop")


def test_dependencies_name_the_label_they_come_from() -> None:
    compose = {"com.docker.compose.depends_on": "db:service_healthy:true"}
    assert facts(labels=compose)["depends_on"].source.label == "com.docker.compose.depends_on"  # type: ignore[union-attr]
    own = facts(labels={**compose, "proxy.depends_on": "cache"})["depends_on"]
    assert (own.value, own.source.label) == ("cache", "proxy.depends_on")  # type: ignore[union-attr]


def test_idle_settings_tell_labels_from_defaults() -> None:
    idle = facts(labels={"proxy.idle_timeout": "1h", "proxy.stop_method": "pause"})
    assert told(idle["idle_timeout"]) == ("1h", "")
    assert told(idle["stop_method"]) == ("pause", "")
    assert told(idle["wake_timeout"]) == ("3m", "default")
    assert told(idle["stop_timeout"]) == ("1m", "default")
    assert "stop_signal" not in idle


def test_idle_labels_without_a_timeout_have_no_effect() -> None:
    assert told(facts(labels={"proxy.stop_method": "pause"})["idling"]) == (
        "off",
        "proxy.stop_method has no effect without proxy.idle_timeout",
    )


def test_a_timeout_of_nothing_switches_idling_off() -> None:
    assert told(facts(labels={"proxy.idle_timeout": "0"})["idle_timeout"]) == ("0s", "0 switches it off")


# ---- exclusion


@pytest.mark.parametrize(
    ("state", "hint"),
    [
        ("exited", "start it with 'docker start web'; with proxy.idle_timeout the first request wakes it"),
        ("paused", "let it go on with 'docker unpause web'; with proxy.idle_timeout the first request wakes it"),
        ("restarting", "it fails again and again; 'docker logs web' may say why"),
        ("dead", "the engine could not remove it; 'docker rm -f web' tries again"),
        ("odd", "start it"),
    ],
)
def test_a_container_that_does_not_run_says_how_to_start_it(state: str, hint: str) -> None:
    reason, change = changes(State=state, Status="")
    assert reason == Excluded.NOT_RUNNING
    assert change == f"its state is {state}; {hint}"


def test_a_hidden_container_names_the_label_that_hides_it() -> None:
    reason, change = changes(labels={"proxy.exclude": "1"})
    assert reason == Excluded.MANUAL
    assert change == "its label proxy.exclude is '1'; set it to false, or remove it, to serve the container"


def test_a_one_off_says_how_to_serve_it() -> None:
    reason, change = changes(labels={"com.docker.compose.oneoff": "True"})
    assert reason == Excluded.ONEOFF
    assert "proxy.exclude: false" in change


def test_a_container_without_ports_is_told_the_label() -> None:
    reason, change = changes(Ports=[])
    assert reason == Excluded.NO_PORT
    assert change == "neither the image nor the container exposes a port; name it, e.g. proxy.web.port: 8080"


def test_an_unpublished_port_is_to_be_published() -> None:
    _, change = changes(Ports=[], port_why="container port 80 is not published")
    assert change.startswith("container port 80 is not published, and only published ports can be reached here")


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"Image": "redis:7"}, "known by its image redis:7"),
        ({"Ports": [{"PrivatePort": 5432, "Type": "tcp"}]}, "known by its port 5432"),
        ({"Mounts": [{"Destination": "/var/lib/mysql"}]}, "known by its mount /var/lib/mysql"),
    ],
)
def test_the_blacklist_says_what_gave_it_away(more: dict[str, object], words: str) -> None:
    reason, change = changes(**more)  # type: ignore[arg-type]
    assert reason == Excluded.BLACKLISTED
    assert change.startswith(words)


@pytest.mark.parametrize(
    ("name", "reason"), [("buildx_kit", Excluded.BUILDX), ("x-base", Excluded.ANCHOR), ("web-old", Excluded.RENAMING)]
)
def test_names_that_exclude_are_told(name: str, reason: str) -> None:
    found, change = changes(alias=name, name=name)
    assert found == reason
    assert "call it something else" in change or "another alias" in change


def test_an_error_in_what_may_protect_is_told_as_that() -> None:
    reason, change = changes(labels={"proxy.web.midlewares": "{}"})
    assert reason == Excluded.ERROR
    assert change == "a setting that may keep people out cannot be read; mend the problems below"


def test_another_error_is_just_to_be_mended() -> None:
    assert changes(labels={"proxy.web.port": "-1"}) == (Excluded.ERROR, "mend the problems below")


def test_a_served_route_needs_no_change() -> None:
    assert changes() == ("", "")
