from __future__ import annotations

from typing import Any

import pytest

from pilotage.containers.inspection import inspection_failed, needs_inspection, with_inspection, with_start
from pilotage.engine.types import (
    Health,
    HostConfig,
    Inspect,
    InspectConfig,
    InspectNetworkSettings,
    InspectState,
    Port,
    PortBinding,
)
from tests.support.summaries import container


def networks(**addresses: str) -> dict[str, Any]:
    return {"Networks": {name: {"IPAddress": address} for name, address in addresses.items()}}


def exposing(*ports: str, **fields: Any) -> Inspect:
    return Inspect(Config=InspectConfig(ExposedPorts=dict.fromkeys(ports)), **fields)


@pytest.mark.parametrize(
    ("fields", "podman", "needed"),
    [
        ({}, False, False),
        ({"HostConfig": {"NetworkMode": "host"}}, False, True),
        ({"HostConfig": {"NetworkMode": "host"}, "State": "exited"}, False, True),
        ({}, True, False),
        ({"HostConfig": None}, False, False),
        ({"HostConfig": None}, True, True),
        ({"HostConfig": None, "State": "exited"}, True, False),
        ({"HostConfig": {"NetworkMode": "host"}, "Id": ""}, False, False),
        ({"HostConfig": {"NetworkMode": "host"}, "Labels": {"proxy.idle_timeout": "x"}}, False, False),
    ],
)
def test_only_containers_with_incomplete_list_elements_are_inspected(
    fields: dict[str, Any], podman: bool, needed: bool
) -> None:
    assert needs_inspection(container(**fields), podman=podman) is needed


def test_on_the_hosts_network_exposed_ports_are_ports_of_the_host() -> None:
    found = container(Ports=[], HostConfig={"NetworkMode": "host"}, NetworkSettings=networks(host=""))
    filled = with_inspection(found, exposing("8096/tcp", "1900/udp", "9000-9002/tcp", "53/tcp", "53/udp"))
    assert filled.public_port_mapping == {
        53: Port(53, 53, "tcp"),
        1900: Port(1900, 1900, "udp"),
        8096: Port(8096, 8096, "tcp"),
    }
    assert filled.private_port_mapping == {}
    assert filled.ports_unknown == ""


def test_podman_reports_mode_ports_and_health_only_in_an_inspection() -> None:
    listed = container(HostConfig=None, Ports=[{"PrivatePort": 53, "PublicPort": 5353, "Type": "udp"}])
    answer = exposing(
        "80/tcp",
        "53/udp",
        HostConfig=HostConfig("bridge"),
        State=InspectState(Health=Health("unhealthy")),
        NetworkSettings=InspectNetworkSettings(
            Ports={"80/tcp": None, "53/udp": [PortBinding("", "5353")], "53/tcp": [PortBinding("", "5354")]}
        ),
    )
    filled = with_inspection(listed, answer)
    assert (filled.network_mode, filled.is_host_network_mode, filled.health) == ("bridge", False, "unhealthy")
    assert filled.private_port_mapping == {53: Port(53, 5354, "tcp"), 80: Port(80)}
    assert filled.public_port_mapping == {5353: Port(53, 5353, "udp"), 5354: Port(53, 5354, "tcp")}


def test_podman_may_omit_the_ports_of_the_hosts_network() -> None:
    listed = container(HostConfig=None, Ports=[], NetworkSettings={"Networks": None})
    filled = with_inspection(listed, Inspect(HostConfig=HostConfig("host")))
    assert filled.is_host_network_mode
    assert filled.ports_unknown == "the engine does not report the ports of containers on the host's network"


def test_health_from_the_list_stays() -> None:
    listed = container(Status="Up (healthy)", HostConfig={"NetworkMode": "host"})
    assert with_inspection(listed, Inspect(State=InspectState(Health=Health("starting")))).health == "healthy"


def test_an_empty_answer_changes_nothing() -> None:
    listed = container(HostConfig=None)
    assert with_inspection(listed, Inspect()) == listed


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2026-11-28T22:23:51.301288937Z", 1795904631.301288),
        ("2026-11-28T22:21:14.58672343Z", 1795904474.586723),
        ("2026-11-29T00:23:51+02:00", 1795904631.0),
        ("0001-01-01T00:00:00Z", 0.0),
        ("", 0.0),
        ("soon", 0.0),
        ("9999-99-99T00:00:00Z", 0.0),
    ],
)
def test_the_time_of_the_last_start_is_read(text: str, seconds: float) -> None:
    found = with_start(container(), Inspect(State=InspectState(StartedAt=text)))
    assert found.started_at == pytest.approx(seconds, abs=1e-5)


def test_a_container_that_shares_a_network_has_no_ports_of_the_owner() -> None:
    owners = InspectNetworkSettings(Ports={"80/tcp": [PortBinding("", "21000")]})
    answer = exposing("81/tcp", HostConfig=HostConfig(NetworkMode="container:x"), NetworkSettings=owners)
    listed = [{"PrivatePort": 80, "PublicPort": 21000}]
    found = with_inspection(container(HostConfig=None, Ports=listed), answer)
    assert (found.private_port_mapping, found.public_port_mapping) == ({81: Port(81)}, {})


def test_the_mode_of_the_list_stays() -> None:
    listed = container(HostConfig={"NetworkMode": "front"})
    found = with_inspection(listed, Inspect(HostConfig=HostConfig("host")))
    assert (found.network_mode, found.is_host_network_mode) == ("front", False)


def test_a_container_that_shares_a_network_and_exposes_nothing_has_no_ports() -> None:
    listed = container(HostConfig=None, Ports=[{"PrivatePort": 80, "PublicPort": 21000}])
    found = with_inspection(listed, Inspect(HostConfig=HostConfig(NetworkMode="container:x")))
    assert found.private_port_mapping == {}


def test_a_failed_inspection_is_added_to_the_errors() -> None:
    found = inspection_failed(inspection_failed(container(), "one"), "two")
    for problem, why in zip(found.errors, ("one", "two"), strict=True):
        assert problem.message == (
            f"its ports are not known: the container uses the host's network, and inspecting it failed ({why})"
        )
        assert problem.hint == "allow GET /containers/{id}/json, or exclude it with proxy.exclude"
        assert (problem.provider, problem.container) == ("local", "web")
