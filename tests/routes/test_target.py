from __future__ import annotations

from typing import Any

import pytest

from pilotage.engine.config import DockerProviderConfig
from pilotage.engine.types import Port
from pilotage.routes.port_syntax import PortPair
from pilotage.routes.schema import RouteSettings
from pilotage.routes.target import preferred_port, resolve_static_target, resolve_target
from tests.support.summaries import ADDRESS, LOCAL, REMOTE, container

TCP_80, TCP_9000 = {"PrivatePort": 80, "Type": "tcp"}, {"PrivatePort": 9000, "Type": "tcp"}


def target(alias: str = "web", *, asks: dict[str, Any] | None = None, **fields: Any) -> tuple[str, str, int]:
    found = resolve_target(alias, container(**fields), RouteSettings(**(asks or {})))
    return found.scheme, found.host, found.port.proxy


def published(private: int, public: int, kind: str = "tcp") -> dict[str, Any]:
    return {"PrivatePort": private, "PublicPort": public, "Type": kind, "IP": "0.0.0.0"}


# ---- port -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ports", "chosen"),
    [
        ([], 0),
        ([9000], 9000),
        ([9000, 80], 80),
        ([8080, 3000, 443], 8080),
        ([8443, 443], 443),
        ([9001, 9000, 22], 22),
        ([65535], 65535),
    ],
)
def test_the_usual_ports_come_first_and_else_the_lowest(ports: list[int], chosen: int) -> None:
    assert preferred_port({port: Port(port) for port in ports})[0] == chosen


@pytest.mark.parametrize(
    ("asks", "image", "alias", "port"),
    [
        ({"port": PortPair(0, 81)}, "grafana", "portainer", 81),
        ({}, "grafana", "portainer", 3000),
        ({}, "acme/web", "portainer", 9443),
        ({}, "registry.local:5000/acme/grafana:9", "web", 3000),
        ({}, "acme/web", "web", 80),
    ],
)
def test_a_label_beats_the_image_the_alias_and_exposed_ports(
    asks: dict[str, Any], image: str, alias: str, port: int
) -> None:
    assert target(alias, asks=asks, Image=image)[2] == port


def test_on_the_hosts_network_the_ports_of_the_host_count() -> None:
    fields: dict[str, Any] = {
        "HostConfig": {"NetworkMode": "host"},
        "NetworkSettings": {},
        "Ports": [published(9000, 9000)],
    }
    assert target(**fields) == ("http", "127.0.0.1", 9000)


# ---- translation ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("port", "found"),
    [
        (0, 80),  # its own port, as it is
        (80, 80),
        (8080, 80),  # where the host publishes it
        (9000, 9000),  # nobody's: as it is
        (3000, 3000),  # a port of the container, though published from another
    ],
)
def test_at_the_containers_address_a_published_number_means_the_port_behind_it(port: int, found: int) -> None:
    ports = [published(80, 8080), published(81, 3000), published(3000, 8081)]
    assert target(asks={"port": PortPair(0, port)}, Ports=ports)[1:] == (ADDRESS, found)


@pytest.mark.parametrize(("port", "found"), [(0, 8080), (80, 8080), (8080, 8080), (81, 0), (9000, 9000)])
def test_at_the_engines_host_only_published_ports_are_reachable(port: int, found: int) -> None:
    ports = [published(80, 8080), {"PrivatePort": 81}]
    asks = {"port": PortPair(0, port)}
    assert target(asks=asks, config=REMOTE, Ports=ports)[1:] == ("192.168.50.10", found)
    assert target(asks=asks | {"host": "127.0.0.1"}, config=LOCAL, Ports=ports)[1:] == ("127.0.0.1", found)


def test_an_address_that_is_the_engines_host_too_is_the_containers_own() -> None:
    networks = {"Networks": {"bridge": {"IPAddress": "127.0.0.1"}}}
    assert target(Ports=[published(80, 8080)], NetworkSettings=networks)[1:] == ("127.0.0.1", 80)


def test_at_a_host_that_is_neither_nothing_is_translated() -> None:
    for port in (80, 8080):
        asks = {"host": "10.1.1.1", "port": PortPair(0, port)}
        assert target(asks=asks, Ports=[published(80, 8080)])[1:] == ("10.1.1.1", port)


def test_while_the_host_is_not_known_nothing_is_translated() -> None:
    assert target(State="exited", Ports=[published(80, 8080)])[1:] == ("", 80)


# ---- scheme and host ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asks", "image", "ports", "scheme"),
    [
        ({}, "acme/web", [TCP_80], "http"),
        ({}, "acme/web", [{"PrivatePort": 443}], "https"),
        ({}, "acme/web", [{"PrivatePort": 9443}], "https"),
        ({}, "acme/web", [{"PrivatePort": 4430}], "http"),
        ({"port": PortPair(2222, 22)}, "acme/web", [], "tcp"),
        ({}, "acme/web", [published(53, 5353, "udp")], "udp"),
        ({}, "acme/web", [{"PrivatePort": 53, "Type": "udp"}], "http"),
        ({"scheme": "https"}, "acme/web", [published(53, 5353, "udp")], "https"),
        ({"port": PortPair(0, 80)}, "acme/web", [published(53, 5353, "udp"), published(80, 8080)], "http"),
        ({"port": PortPair(0, 54)}, "acme/web", [published(53, 5353, "udp")], "http"),
        ({"port": PortPair(0, 53)}, "acme/web", [published(53, 5353, "udp"), published(80, 8080)], "udp"),
        ({}, "postgres", [], "tcp"),
        ({}, "portainer-ce", [TCP_80], "https"),
        ({"scheme": "h2c"}, "postgres", [], "h2c"),
        ({"port": PortPair(0, 8443)}, "nginx", [], "http"),
    ],
)
def test_the_scheme_follows_from_image_alias_and_port(
    asks: dict[str, Any], image: str, ports: list[dict[str, Any]], scheme: str
) -> None:
    assert target(asks=asks, Image=image, Ports=ports)[0] == scheme


@pytest.mark.parametrize(
    ("asks", "fields", "host"),
    [
        ({"host": "10.1.1.1"}, {}, "10.1.1.1"),
        ({}, {}, ADDRESS),
        ({}, {"NetworkSettings": {}}, "127.0.0.1"),
        ({}, {"config": REMOTE}, "192.168.50.10"),
        ({}, {"State": "exited"}, ""),
    ],
)
def test_the_host_is_the_label_the_address_or_the_engines_host(
    asks: dict[str, Any], fields: dict[str, Any], host: str
) -> None:
    assert target(asks=asks, **fields)[1] == host


# ---- reasons --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asks", "fields", "reasons"),
    [
        (
            {},
            {},
            ("nothing says otherwise", "the container's address", "the only port"),
        ),
        (
            {"scheme": "http", "host": "x", "port": PortPair(0, 1)},
            {},
            ("set by a label", "set by a label", "set by a label"),
        ),
        (
            {},
            {"Image": "grafana"},
            ("known for the image grafana", "the container's address", "known for the image grafana"),
        ),
        (
            {},
            {"config": REMOTE, "Ports": [published(443, 8443), published(9000, 9000)]},
            (
                "port 8443 ends in 443",
                "the engine's host, because the container's own address cannot be reached from here",
                "first of 80, 8080, 3000, 8000, 443, 8443 that is exposed; container port 443 is published as 8443",
            ),
        ),
        (
            {"port": PortPair(22, 0)},
            {"State": "exited", "Ports": [TCP_9000, {"PrivatePort": 9001}]},
            (
                "a listening port is given",
                "not known while the container does not run",
                "the lowest that is exposed",
            ),
        ),
        (
            {},
            {"config": REMOTE, "Ports": [TCP_9000]},
            (
                "nothing says otherwise",
                "the engine's host, because the container's own address cannot be reached from here",
                "the only port; container port 9000 is not published",
            ),
        ),
        ({}, {"Ports": []}, ("nothing says otherwise", "the container's address", "no port is exposed")),
    ],
)
def test_every_choice_has_its_reason(
    asks: dict[str, Any], fields: dict[str, Any], reasons: tuple[str, str, str]
) -> None:
    found = resolve_target("web", container(**fields), RouteSettings(**asks))
    assert (found.scheme_reason, found.host_reason, found.port_reason) == reasons


@pytest.mark.parametrize(
    ("alias", "settings", "target", "why"),
    [
        ("app", {}, ("http", "localhost", 80), ("nothing says otherwise", "this host, because the file sets none")),
        ("app", {"host": "nas", "scheme": "https"}, ("https", "nas", 443), ("set by the file", "set by the file")),
        ("app", {"port": PortPair(22, 2222)}, ("tcp", "localhost", 2222), ("a listening port is given", "")),
        ("app", {"port": PortPair(0, 8443)}, ("https", "localhost", 8443), ("port 8443 ends in 443", "")),
        ("portainer", {}, ("https", "localhost", 9443), ("known for the alias portainer", "")),
        ("portainer", {"scheme": "http", "port": PortPair(0, 81)}, ("http", "localhost", 81), ("set by the file", "")),
    ],
)
def test_without_a_container_the_target_is_this_host(
    alias: str, settings: dict[str, Any], target: tuple[str, str, int], why: tuple[str, str]
) -> None:
    found = resolve_static_target(alias, RouteSettings(**settings))
    assert (found.scheme, found.host, found.port.proxy) == target
    assert found.scheme_reason == why[0]
    assert found.host_reason == why[1] or not why[1]


def test_an_unpublished_port_of_a_shared_network_has_no_target() -> None:
    lonely = container(HostConfig={"NetworkMode": "container:gone"}, NetworkSettings={}, Ports=[])
    found = resolve_target("web", lonely, RouteSettings(port=PortPair(0, 8080)))
    assert (found.host, found.port.proxy) == ("127.0.0.1", 0)
    assert found.port_reason == "set by a label; the container whose network it shares does not publish port 8080"


# ---- where only published ports can be reached ---------------------------------------------------------------------

ROOTLESS = DockerProviderConfig(url="unix:///run/user/1000/podman/podman.sock", name="rootless")


def at(private: int, public: int, address: str, kind: str = "tcp") -> dict[str, Any]:
    return {"PrivatePort": private, "PublicPort": public, "Type": kind, "IP": address}


@pytest.mark.parametrize("config", [ROOTLESS, REMOTE])
def test_a_published_port_comes_before_a_preferred_one_that_is_only_exposed(config: DockerProviderConfig) -> None:
    ports = [{"PrivatePort": 80}, {"PrivatePort": 443}, published(9000, 21000), published(9001, 21001)]
    assert target(config=config, Ports=ports)[2] == 21000


def test_a_port_published_on_the_remote_engines_loopback_is_no_choice() -> None:
    ports = [at(80, 8080, "127.0.0.1"), published(9000, 21000)]
    assert target(config=REMOTE, Ports=ports)[1:] == ("192.168.50.10", 21000)


@pytest.mark.parametrize(
    ("config", "address", "host"),
    [
        (ROOTLESS, "", "127.0.0.1"),
        (ROOTLESS, "0.0.0.0", "127.0.0.1"),
        (ROOTLESS, "127.0.0.1", "127.0.0.1"),
        (ROOTLESS, "127.0.0.2", "127.0.0.2"),
        (ROOTLESS, "::", "::1"),
        (ROOTLESS, "::1", "::1"),
        (ROOTLESS, "192.168.7.7", "192.168.7.7"),
        (REMOTE, "0.0.0.0", "192.168.50.10"),
        (REMOTE, "::", "192.168.50.10"),
        (REMOTE, "10.9.9.9", "10.9.9.9"),
    ],
)
def test_a_port_is_reached_at_the_address_on_which_it_is_published(
    config: DockerProviderConfig, address: str, host: str
) -> None:
    for asked in (0, 80, 8080):
        asks = {"port": PortPair(0, asked)}
        assert target(asks=asks, config=config, Ports=[at(80, 8080, address)])[1:] == (host, 8080)


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.2", "::1"])
@pytest.mark.parametrize("asked", [0, 80, 8080])
def test_a_port_published_on_another_machines_loopback_is_not_reached_and_the_reason_says_so(
    address: str, asked: int
) -> None:
    found = resolve_target(
        "web",
        container(config=REMOTE, Ports=[at(80, 8080, address)]),
        RouteSettings(port=PortPair(0, asked)),
    )
    assert found.port.proxy == 0
    assert f"only on the engine's {address}" in found.port_reason


def test_of_several_addresses_the_one_that_can_be_reached_is_used() -> None:
    ports = [at(80, 9999, "127.0.0.1"), at(80, 8080, "0.0.0.0")]
    for listed in (ports, ports[::-1]):
        assert target(config=REMOTE, Ports=listed)[1:] == ("192.168.50.10", 8080)


def test_the_reason_names_the_address_on_which_a_port_is_published() -> None:
    found = resolve_target("web", container(config=ROOTLESS, Ports=[at(80, 8080, "127.0.0.2")]), RouteSettings())
    assert found.host_reason == "container port 80 is published on this address"
