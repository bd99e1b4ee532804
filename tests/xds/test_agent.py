"""Where an agent finds its targets."""

from __future__ import annotations

import pytest

from pilotage.policy.claims import Claimant
from pilotage.policy.target_addresses import Reach
from pilotage.routes.route import Endpoint
from pilotage.xds.agent import Agent, host_of


@pytest.mark.parametrize(
    ("address", "host", "port"), [("10.0.0.2:8890", "10.0.0.2", 8890), ("[fd00::1]:1", "fd00::1", 1), ("a:2", "a", 2)]
)
def test_an_address_has_a_host_and_a_port(address: str, host: str, port: int) -> None:
    assert host_of(address) == host
    assert (Agent(address).host, Agent(address).port) == (host, port)


@pytest.mark.parametrize(
    ("host", "shared", "expected"),
    [
        ("172.17.0.2", True, "172.17.0.2:80"),
        ("fd00::2", True, "[fd00::2]:80"),
        ("attic", True, "127.0.0.1:80"),
        ("attic", False, "attic:80"),
    ],
)
def test_its_own_machine_is_loopback_to_an_agent_in_the_hosts_network(host: str, shared: bool, expected: str) -> None:
    assert Agent("attic:8890", in_host_network=shared).place_of(Endpoint(host, 80), host) == expected


def test_a_name_is_sent_as_the_address_that_was_checked() -> None:
    assert Agent("attic:8890").place_of(Endpoint("nas.lan", 80), "10.0.0.7") == "10.0.0.7:80"


@pytest.mark.parametrize(("own", "expected"), [(("attic",), "127.0.0.1:80"), ((), "10.0.0.9:80")])
def test_a_label_reaches_loopback_of_its_machine_only_at_a_port_of_the_container(
    own: tuple[str, ...], expected: str
) -> None:
    endpoint = Endpoint("attic", 80, reach=Reach(Claimant(engine="far", image="web"), own))
    assert Agent("attic:8890").place_of(endpoint, "10.0.0.9") == expected
