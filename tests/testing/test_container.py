from __future__ import annotations

import pytest

from pilotage.testing.container import FakePort, container, parse_port


@pytest.mark.parametrize(
    ("written", "port"),
    [
        (80, FakePort(80)),
        ("53/udp", FakePort(53, protocol="udp")),
        ("8080:80", FakePort(80, 8080)),
        ("127.0.0.1:8080:80/tcp", FakePort(80, 8080, ip="127.0.0.1")),
        ("[::1]:8080:80", FakePort(80, 8080, ip="::1")),
        (FakePort(1), FakePort(1)),
    ],
)
def test_ports_are_read_as_docker_run_writes_them(written: int | str | FakePort, port: FakePort) -> None:
    assert parse_port(written) == port


@pytest.mark.parametrize("written", ["", "http", "80:http", "8000-8010"])
def test_an_invalid_port_is_an_error(written: str) -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        parse_port(written)


def test_two_containers_of_one_name_have_different_ids() -> None:
    one, other = container("web"), container("web")
    assert one.id != other.id
    assert len(one.id) == len(other.id) == 64


def test_the_address_given_is_the_one_in_the_first_network() -> None:
    assert container("web", networks=["front", "back"], ip="10.1.2.3").networks == {"front": "10.1.2.3", "back": ""}


@pytest.mark.parametrize(("mode", "networks"), [("host", {"host": ""}), ("none", {"none": ""}), ("container:abc", {})])
def test_special_network_modes_decide_the_networks(mode: str, networks: dict[str, str]) -> None:
    made = container("web", network_mode=mode)
    assert made.networks == networks
    assert made.network_mode == mode


def test_a_user_network_is_the_network_mode() -> None:
    assert container("web", networks=["front"]).network_mode == "front"
    assert container("web").network_mode == "default"
