from __future__ import annotations

from typing import Any

import msgspec
import pytest

from pilotage import Container, DockerProviderConfig
from pilotage.containers.inspection import with_inspection
from pilotage.containers.networks import ChosenNetwork, choose_network, is_infra, with_network_of
from pilotage.engine.types import (
    HostConfig,
    Inspect,
    InspectConfig,
    Port,
)
from tests.support.summaries import ADDRESS, ID, REMOTE, container


def reported(found: Container) -> list[tuple[str, str, str]]:
    return [(problem.label, problem.message, problem.hint) for problem in (*found.errors, *found.problems)]


def networks(**addresses: str) -> dict[str, Any]:
    return {"Networks": {name: {"IPAddress": address} for name, address in addresses.items()}}


def exposing(*ports: str, **fields: Any) -> Inspect:
    return Inspect(Config=InspectConfig(ExposedPorts=dict.fromkeys(ports)), **fields)


@pytest.mark.parametrize(
    ("attached", "labels", "chosen"),
    [
        ({"b": "10.0.0.2", "a": "10.0.0.1"}, {}, ("a", "10.0.0.1")),
        ({"b": "10.0.0.2", "a": ""}, {}, ("b", "10.0.0.2")),
        (
            {"a": "10.0.0.1", "shop_default": "10.0.0.3"},
            {"com.docker.compose.project": "shop"},
            ("shop_default", "10.0.0.3"),
        ),
        ({"b": "10.0.0.2", "a": "10.0.0.1"}, {"proxy.network": "b"}, ("b", "10.0.0.2")),
        (
            {"a": "10.0.0.1", "shop_front": "10.0.0.4"},
            {"com.docker.compose.project": "shop", "proxy.network": "front"},
            ("shop_front", "10.0.0.4"),
        ),
        (
            {"front": "10.0.0.1", "shop_front": "10.0.0.4"},
            {"com.docker.compose.project": "shop", "proxy.network": "front"},
            ("front", "10.0.0.1"),
        ),
        ({"a": "", "b": "10.0.0.2"}, {"proxy.network": "a"}, ("a", "")),
        ({"a": "", "b": ""}, {}, ("", "")),
    ],
)
def test_the_network_is_the_named_one_or_always_the_same(
    attached: dict[str, str], labels: dict[str, str], chosen: tuple[str, str]
) -> None:
    for order in (attached, dict(reversed(attached.items()))):
        found = container(labels=labels, NetworkSettings=networks(**order))
        assert (found.network, found.private_hostname) == chosen
        assert found.networks == tuple(sorted(attached))
        assert found.errors == ()


def test_ipv6_is_used_without_ipv4() -> None:
    attached = {"six": {"IPAddress": "", "GlobalIPv6Address": "fd00::5"}}
    assert container(NetworkSettings={"Networks": attached}).private_hostname == "fd00::5"
    attached["six"]["IPAddress"] = "10.0.0.5"
    assert container(NetworkSettings={"Networks": attached}).private_hostname == "10.0.0.5"


@pytest.mark.parametrize(
    ("wanted", "labels", "hint"),
    [
        ("frnot", {}, "did you mean 'front'?"),
        ("frnot", {"com.docker.compose.project": "shop"}, "did you mean 'front'?"),
        ("elsewhere", {}, "the container is attached to back, front, shop_inner"),
        ("iner", {"com.docker.compose.project": "shop"}, "did you mean 'inner'?"),
    ],
)
def test_a_network_that_is_not_attached_is_an_error_that_names_the_nearest(
    wanted: str, labels: dict[str, str], hint: str
) -> None:
    attached = networks(front="10.0.0.1", back="10.0.0.2", shop_inner="10.0.0.3")
    found = container(labels=labels | {"proxy.network": wanted}, NetworkSettings=attached)
    assert reported(found) == [("proxy.network", f"network {wanted!r} not found", hint)]


def test_on_a_remote_engine_networks_do_not_matter() -> None:
    found = container(labels={"proxy.network": "nope"}, config=REMOTE)
    assert (found.network, found.private_hostname, found.errors) == ("nope", "", ())


def test_a_container_that_cannot_be_reached_at_all_is_an_error() -> None:
    found = container(config=DockerProviderConfig(url="tcp://:2375", name="odd"))
    assert [message for _, message, _ in reported(found)] == [
        "no network found: neither the container nor its host has a reachable address"
    ]
    assert container(config=DockerProviderConfig(url="tcp://:2375", name="odd"), State="exited").errors == ()


@pytest.mark.parametrize(
    ("fields", "host"),
    [
        ({"HostConfig": {"NetworkMode": "host"}}, True),
        ({"HostConfig": {"NetworkMode": "bridge"}, "NetworkSettings": networks(host="")}, False),
        ({"HostConfig": None, "NetworkSettings": networks(host="")}, True),
        ({"HostConfig": None}, False),
    ],
)
def test_the_hosts_network_is_recognized_by_the_mode_or_without_a_mode_by_its_name(
    fields: dict[str, Any], host: bool
) -> None:
    assert container(**fields).is_host_network_mode is host


def test_a_container_that_shares_a_network_has_its_owners_address() -> None:
    owner = container("owner", Ports=[{"PrivatePort": 80, "PublicPort": 8080}])
    guest = container(
        "guest", Ports=[], NetworkSettings={"Networks": {}}, HostConfig={"NetworkMode": f"container:{ID}"}
    )
    shared = with_network_of(guest, owner)
    assert (shared.container_name, shared.network, shared.networks) == ("guest", "bridge", ("bridge",))
    assert (shared.private_hostname, shared.public_hostname) == (ADDRESS, "127.0.0.1")
    assert shared.private_port_mapping == owner.private_port_mapping
    assert shared.public_port_mapping == owner.public_port_mapping


def test_sharing_the_network_of_a_container_on_the_hosts_network_means_the_hosts_network() -> None:
    owner = with_inspection(container("owner", HostConfig={"NetworkMode": "host"}, Ports=[]), exposing("8096/tcp"))
    assert with_network_of(container("guest", NetworkSettings={}), owner).is_host_network_mode


def test_a_stopped_container_that_shares_a_network_has_no_address() -> None:
    shared = with_network_of(container("guest", State="exited"), container("owner"))
    assert (shared.private_hostname, shared.public_hostname) == ("", "")


@pytest.mark.parametrize("name", ["front", "shop_front"])
def test_a_network_without_an_address_is_not_an_unknown_one(name: str) -> None:
    assert choose_network("front", {name: None}, "shop") == ChosenNetwork("front")


# ---- pods, and owners that were restarted ----


def infra(**fields: Any) -> Container:
    ports = [{"PrivatePort": 80, "PublicPort": 21000, "Type": "tcp"}]
    return container("0da46d7ba45c-infra", **{"Image": "localhost/podman-pause:4.3.1-0", "Ports": ports} | fields)


def member(*exposed: str) -> Container:
    answer = exposing(*exposed, HostConfig=HostConfig(NetworkMode=f"container:{ID}"))
    return with_inspection(container(Id="2" * 64, HostConfig=None, Ports=[]), answer)


def test_the_infra_container_of_a_pod_is_recognized() -> None:
    assert is_infra(infra())
    assert is_infra(infra(Image=""))
    assert is_infra(container("my-pod", Image="localhost/podman-pause:5.4.2-0"))
    assert not is_infra(container("web"))
    assert not is_infra(container("terraform-infra"))


def test_a_member_of_a_pod_has_only_the_published_ports_that_it_exposes() -> None:
    web, other = (with_network_of(member(port), infra()) for port in ("80/tcp", "81/tcp"))
    assert web.private_port_mapping == {80: Port(80, 21000)}
    assert other.private_port_mapping == {81: Port(81)}
    assert web.ports_unknown == other.ports_unknown == ""


def test_a_member_of_a_pod_without_ports_has_none_and_the_reason_says_why() -> None:
    silent = with_network_of(member(), infra())
    assert silent.private_port_mapping == {}
    assert silent.private_hostname == ADDRESS
    assert "another member" in silent.ports_unknown


def started(found: Container, at: float) -> Container:
    return msgspec.structs.replace(found, started_at=at)


def test_a_container_whose_network_owner_was_restarted_after_it_is_not_reachable() -> None:
    user = started(container("side1", Id="2" * 64), 5.0)
    left = with_network_of(user, started(container("base1"), 6.0))
    assert (left.private_hostname, left.public_hostname) == ("", "")
    assert left.unreachable is not None
    assert left.unreachable.message == "not reachable: it uses the network of base1, which was restarted after it"
    assert left.unreachable.hint == "restart side1: 'docker restart side1'"


@pytest.mark.parametrize(("user_started", "owner_started"), [(6.0, 5.0), (6.0, 6.0), (0.0, 5.0), (5.0, 0.0)])
def test_a_container_that_started_after_its_network_owner_is_reachable(
    user_started: float, owner_started: float
) -> None:
    user = started(container("side1", Id="2" * 64), user_started)
    found = with_network_of(user, started(container("base1"), owner_started))
    assert found.private_hostname == ADDRESS
    assert found.unreachable is None


def test_no_restart_is_reported_while_either_is_not_running() -> None:
    user, owner = started(container("side1", Id="2" * 64), 5.0), started(container("base1"), 6.0)
    stopped = started(container("side1", State="exited"), 5.0)
    assert with_network_of(stopped, owner).unreachable is None
    assert with_network_of(user, started(container("base1", State="exited"), 6.0)).unreachable is None


def test_the_error_of_a_network_that_is_not_attached_has_its_value() -> None:
    found = container(labels={"proxy.network": "elsewhere"})
    assert [problem.value for problem in found.errors] == ["elsewhere"]
    assert found.unreachable is None
