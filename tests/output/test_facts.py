from __future__ import annotations

from typing import Any

from pilotage.output.facts import Fact, container_facts
from tests.support.example_engine import STOPPED, at, engine_snapshot, one


def facts(others: list[str] | None = None, **more: object) -> dict[str, Fact]:
    """The facts about one container, made of the fields given."""
    labels = more.pop("labels", {})
    url = str(more.pop("url", "unix:///var/run/docker.sock"))
    found = engine_snapshot([one("web", labels, **more), *map(one, others or [])], url=url)  # type: ignore[arg-type]
    names = {container.container_id: container.container_name for container in found.containers}
    return {fact.name: fact for fact in container_facts(found.containers[0], names)}


def told(fact: Fact) -> tuple[str, str]:
    return fact.value, fact.why


def test_aliases_come_from_the_label_or_the_name() -> None:
    assert told(facts()["aliases"]) == ("web", "the container's name, because proxy.aliases is not set")
    listed = facts(labels={"proxy.aliases": "a, b"})["aliases"]
    assert listed.value == "a, b"
    assert listed.source is not None


# ---- networks


def test_the_only_network_is_taken() -> None:
    assert told(facts()["network"]) == ("bridge", "the container's only network")


def test_of_several_networks_the_first_by_name_is_taken() -> None:
    value, why = told(facts(NetworkSettings=at("10.0.0.2", "zeta", alpha="10.0.1.2"))["network"])
    assert value == "alpha"
    assert why.startswith("the first by name with an address, among alpha, zeta")


def test_the_compose_projects_own_network_is_preferred() -> None:
    project = {"com.docker.compose.project": "shop"}
    networks = at("10.0.0.2", "shop_default", alpha="10.0.1.2")
    assert told(facts(labels=project, NetworkSettings=networks)["network"]) == (
        "shop_default",
        "the Compose project's default network, preferred among alpha, shop_default",
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
        "front, prefixed with the Compose project",
    )


def test_a_network_that_is_not_there_says_which_are() -> None:
    network = facts(labels={"proxy.network": "front"})["network"]
    assert told(network) == ("-", "no such network; attached to bridge")
    assert network.source is not None


def test_a_remote_engine_is_reached_by_its_published_ports() -> None:
    _, why = told(facts(url="tcp://192.0.2.7:2375")["network"])
    assert why == "container addresses are unreachable from here; using ports published on 192.0.2.7"


def test_the_hosts_network_says_so() -> None:
    host: dict[str, Any] = {"HostConfig": {"NetworkMode": "host"}, "NetworkSettings": at("", "host")}
    assert told(facts(**host)["network"]) == ("host", "the container uses the host network; reached at 127.0.0.1")


def test_a_shared_network_names_whose_it_is() -> None:
    mode = {"NetworkMode": f"container:{one('vpn')['Id']}"}
    assert facts(["vpn"], HostConfig=mode)["network"].why == "shared with container vpn"


def test_no_network_says_that_nothing_can_reach_it() -> None:
    none: dict[str, Any] = {"HostConfig": {"NetworkMode": "none"}, "NetworkSettings": at("", "none")}
    assert told(facts(**none)["network"]) == ("none", "the container has no network and cannot be reached")


def test_addresses_of_a_stopped_container_do_not_count() -> None:
    assert facts(**STOPPED)["network"].why == "the container has no address until it runs"


# ---- ports, health, compose, idling


def test_ports_show_where_they_are_published() -> None:
    ports = [{"PrivatePort": 80, "Type": "tcp"}, {"PrivatePort": 53, "PublicPort": 5353, "Type": "udp"}]
    assert facts(Ports=ports)["ports"].value == "53/udp published as 5353, 80/tcp"


def test_health_is_a_fact_if_the_engine_checks_it() -> None:
    assert facts(Status="Up 1 hour (unhealthy)")["health"].value == "unhealthy"
    assert "health" not in facts()


def test_the_compose_service_is_a_fact() -> None:
    labels = {"com.docker.compose.project": "shop", "com.docker.compose.service": "api"}
    assert told(facts(labels=labels)["service"]) == ("api", "in Compose project shop")


def test_dependencies_name_the_label_they_come_from() -> None:
    compose = {"com.docker.compose.depends_on": "db:service_healthy:true"}
    assert facts(labels=compose)["depends_on"].source.label == "com.docker.compose.depends_on"  # type: ignore[union-attr]
    own = facts(labels={**compose, "proxy.depends_on": "cache"})["depends_on"]
    assert (own.value, own.source.label) == ("cache", "proxy.depends_on")  # type: ignore[union-attr]


def test_idle_settings_distinguish_labels_from_defaults() -> None:
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
    assert told(facts(labels={"proxy.idle_timeout": "0"})["idle_timeout"]) == ("0s", "0 disables idling")
