from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pilotage.policy import NO_POLICY, Policy
from pilotage.policy.claims import PolicyRule
from pilotage.routes.build import RouteBuilder
from pilotage.routes.exclusion import ExclusionReason
from pilotage.routes.port_syntax import PortPair
from pilotage.routes.reach import check_reach, is_own_address, nowhere, reach_of, reserved_target
from pilotage.routes.target import Target
from pilotage.xds.agent import is_of_machine
from tests.support.summaries import ADDRESS, LOCAL, REMOTE, container

if TYPE_CHECKING:
    from pilotage.routes.route import Route

HOST = "192.168.1.5"
REMOTE_HOST = "192.168.50.10"
ANY = "0.0.0.0"


def published(port: int, ip: str = ANY, kind: str = "tcp") -> dict[str, Any]:
    return {"Ports": [{"PrivatePort": 80, "PublicPort": port, "Type": kind, "IP": ip}]}


def route(host: str, port: int, policy: Policy = NO_POLICY, *, config: Any = LOCAL, **fields: Any) -> Route:
    labels = {"proxy.web.host": host, "proxy.web.port": str(port)} | fields.pop("labels", {})
    builder = RouteBuilder(policy=policy, is_local=HOST.__eq__, reserved_ports=frozenset({8888}))
    (found,) = builder.build(container(labels=labels, config=config, **fields)).routes
    return found


def served(*args: Any, **fields: Any) -> bool:
    found = route(*args, **fields)
    assert found.excluded_reason in {"", ExclusionReason.ERROR}
    assert bool(found.problems) is found.excluded
    return bool(found.endpoints)


HOST_MODE = {"HostConfig": {"NetworkMode": "host"}, "NetworkSettings": {"Networks": {"host": {"IPAddress": ""}}}}


@pytest.mark.parametrize(
    ("host", "fields", "expected"),
    [
        (ADDRESS, {}, True),
        (f"::ffff:{ADDRESS}", {}, True),
        ("127.0.0.1", {}, False),
        ("127.0.0.1", published(9000), True),
        ("localhost", published(9000), True),
        ("127.0.0.1", published(9000, ""), True),
        ("127.0.0.1", published(9000, kind=""), True),  # not said, so tcp
        ("127.0.0.1", published(9001), False),  # another port
        ("127.0.0.1", published(9000, kind="udp"), False),  # another protocol
        ("127.0.0.1", published(9000, "127.0.0.1"), True),
        ("127.0.0.2", published(9000, "127.0.0.1"), False),
        ("127.0.0.1", published(9000, HOST), True),  # the target is where it is published
        ("127.0.0.1", published(9000, "::"), True),
        ("::1", published(9000), False),  # published for IPv4 only
        ("[::1]", published(9000), False),
        ("::1", published(9000, ""), True),  # as Podman lists what is published for both
        ("127.0.0.3", published(9000, HOST), False),
        ("127.0.0.3", published(9000, "::"), False),
        ("::1", published(9000, "::"), True),
        (ANY, published(9000), False),
        ("::", published(9000), False),
        ("127.0.0.1", HOST_MODE, True),
        ("0x7f.1", HOST_MODE, True),
        (ANY, HOST_MODE, False),
        ("169.254.169.254", HOST_MODE, False),
        ("169.254.169.254", published(9000), False),
        ("10.9.9.9", {}, True),
        ("nas.lan", {}, True),
    ],
)
def test_where_a_container_on_this_machine_may_lead(host: str, fields: dict[str, Any], expected: bool) -> None:
    assert served(host, 9000, **fields) is expected


@pytest.mark.parametrize(
    ("host", "fields", "expected"),
    [
        ("127.0.0.1", published(9000), False),
        ("127.0.0.1", published(9000, "127.0.0.1"), False),
        ("127.0.0.1", HOST_MODE, False),
        (REMOTE_HOST, published(9000), True),
        (REMOTE_HOST, HOST_MODE, True),
        (HOST, published(9000), True),  # as another machine
    ],
)
def test_loopback_is_never_that_of_another_machine(host: str, fields: dict[str, Any], expected: bool) -> None:
    assert served(host, 9000, config=REMOTE, **fields) is expected


@pytest.mark.parametrize(
    ("host", "config", "fields", "expected"),
    [
        (ADDRESS, LOCAL, {}, True),
        ("10.9.9.9", LOCAL, {}, False),
        ("nas.lan", LOCAL, {}, False),
        (HOST, LOCAL, {}, False),
        (HOST, LOCAL, published(9000), True),
        (HOST, LOCAL, HOST_MODE, True),
        (HOST, LOCAL, published(9000, HOST), True),
        (REMOTE_HOST, REMOTE, {}, False),
        (REMOTE_HOST, REMOTE, published(9000), True),
        (REMOTE_HOST, REMOTE, published(9000, "::"), True),
    ],
)
def test_own_allows_only_what_is_the_containers(host: str, config: Any, fields: Any, expected: bool) -> None:
    assert served(host, 9000, Policy(targets="own"), config=config, **fields) is expected


def test_a_container_cannot_get_a_special_address_of_its_own() -> None:
    network: dict[str, Any] = {"NetworkSettings": {"Networks": {"evil": {"IPAddress": "169.254.169.254"}}}}
    labels = {"proxy.web.port": "80"}
    (found,) = RouteBuilder().build(container(labels=labels, **network)).routes
    assert found.excluded_reason == ExclusionReason.ERROR
    policy = Policy(rules=(PolicyRule(targets=("169.254.0.0/16",)),))
    assert RouteBuilder(policy=policy).build(container(labels=labels, **network)).routes[0].endpoints


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", HOST, ANY])
def test_no_rule_and_no_published_port_opens_a_port_of_pilotage(host: str) -> None:
    policy = Policy(rules=(PolicyRule(targets=("127.0.0.0/8", "0.0.0.0", "*")),))
    found = route(host, 8888, policy, **published(8888))
    assert found.excluded
    assert "reserved for the proxy itself" in str(found.problems)


@pytest.mark.parametrize(
    ("labels", "fields", "reserved"),
    [
        ({"proxy.web.host": "127.0.0.1", "proxy.web.port": "8888"}, {}, True),
        ({"proxy.web.host": "localhost", "proxy.web.port": "443"}, {}, True),
        ({"proxy.web.host": "localhost", "proxy.web.port": "22:80"}, {}, True),
        ({"proxy.web.host": HOST, "proxy.web.port": "80", "proxy.web.scheme": "udp"}, {}, False),
        ({"proxy.web.host": HOST, "proxy.web.port": "80"}, {}, True),
        ({"proxy.web.host": f"::ffff:{HOST}", "proxy.web.port": "80"}, {}, True),
        ({"proxy.web.host": "0.0.0.0", "proxy.web.port": "8888"}, {}, True),
        ({"proxy.web.host": "::1", "proxy.web.port": "8888"}, {}, True),
        ({"proxy.web.host": "127.0.0.2", "proxy.web.port": "8888"}, {}, True),
        ({"proxy.web.host": "api.localhost", "proxy.web.port": "8888"}, {}, True),
        ({"proxy.web.host": HOST, "proxy.web.port": "81"}, {}, False),
        ({"proxy.web.host": "10.0.0.1", "proxy.web.port": "80"}, {}, False),
        ({"proxy.web.host": "localhost", "proxy.web.port": "80"} | {"proxy.exclude": "true"}, {}, False),
        ({"proxy.web.host": "localhost", "proxy.web.port": "80"}, {"State": "exited"}, False),
    ],
)
def test_no_route_leads_the_proxy_back_to_itself(
    labels: dict[str, str], fields: dict[str, Any], reserved: bool
) -> None:
    builder = RouteBuilder(reserved_ports=frozenset({80, 443, 8888}), is_local=HOST.__eq__)
    found = builder.build(container(labels=labels, **fields))
    assert any("is reserved for the proxy itself" in str(problem) for problem in found.problems) is reserved
    assert (found.routes[0].excluded_reason == ExclusionReason.ERROR) is reserved


def test_agents_are_no_exception() -> None:
    agent = type(LOCAL)(url="agent://10.0.0.9:8890", name="far")
    assert not served("127.0.0.1", 8888, config=agent)


FAR = type(LOCAL)(url="agent://10.0.0.9:8890", name="far")
NEAR = type(LOCAL)(url="agent://127.0.0.1:8890", name="near")


@pytest.mark.parametrize(
    ("host", "port", "fields", "expected"),
    [
        (ADDRESS, 80, {"config": FAR}, True),
        ("127.0.0.1", 9000, {"config": FAR}, False),  # loopback of the agent's machine needs a rule, too
        ("127.0.0.1", 9000, {"config": FAR, **published(9000)}, True),  # but is where its own port is published
        ("127.0.0.1", 9000, {"config": FAR, **HOST_MODE}, True),
        ("10.0.0.9", 9000, {"config": FAR, **HOST_MODE}, True),
        ("127.0.0.1", 8888, {"config": FAR, **HOST_MODE}, True),  # a port of that machine, not of pilotage
        ("127.0.0.1", 8888, {"config": NEAR, **HOST_MODE}, False),  # the agent is on this machine
        (HOST, 8888, {"config": FAR}, False),  # pilotage, by its address
        ("169.254.169.254", 80, {"config": FAR}, False),
    ],
)
def test_behind_an_agent_addresses_are_those_of_its_machine(
    host: str, port: int, fields: dict[str, Any], expected: bool
) -> None:
    assert served(host, port, **fields) is expected


@pytest.mark.parametrize(("fields", "owned"), [({}, False), (published(9000), True), (HOST_MODE, True)])
def test_a_port_of_the_agents_machine_is_the_containers_only_where_it_is_published(
    fields: dict[str, Any], owned: bool
) -> None:
    (endpoint,) = route("10.0.0.9", 9000, config=FAR, **fields).endpoints
    assert is_of_machine("10.0.0.9:8890", endpoint) is owned


def test_the_problem_names_the_place_and_prints_the_rule() -> None:
    (problem,) = route("127.0.0.1", 9000).problems
    assert str(problem) == (
        "local/web: host: a container's route may not point to 127.0.0.1:9000, because it is a loopback address, which "
        "is only for services on this machine; remove the host label, or add to the configuration: "
        'policy: [{who: {engine: "local", image: "acme/web:1.0"}, may: {targets: ["127.0.0.1:9000"]}}]'
    )


def test_an_endpoint_with_a_name_remembers_what_its_addresses_may_be() -> None:
    (endpoint,) = route("nas.lan", 9000, **published(9000)).endpoints
    assert endpoint.reach is not None
    assert endpoint.reach.this_host == {4}
    assert route("10.9.9.9", 9000).endpoints[0].reach is None
    assert route("0x0a090909", 9000).endpoints[0].reach is not None  # only a resolver reads it


def test_stopped_and_excluded_containers_have_no_problem_with_a_target() -> None:
    found = route("127.0.0.1", 9000, labels={"proxy.exclude": "true"})
    assert (found.excluded_reason, found.problems) == (ExclusionReason.MANUAL, ())


def test_the_parts() -> None:
    it = container(**published(9000))
    assert is_own_address(it, Target("http", ADDRESS, PortPair(0, 80)))
    assert not is_own_address(it, Target("http", "127.0.0.1", PortPair(0, 80)))
    assert reach_of(it, Target("http", "x", PortPair(0, 9000))).addresses == (ADDRESS, "127.0.0.1")
    allowed = check_reach(it, Target("http", "10.1.1.1", PortPair(0, 80)), NO_POLICY, reserved_ports=frozenset())
    assert allowed == (None, None)
    assert reserved_target(Target("udp", "127.0.0.1", PortPair(0, 80)), frozenset({80})) is None
    assert not nowhere(HOST)
