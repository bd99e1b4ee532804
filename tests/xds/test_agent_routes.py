"""Which routes their agents can serve, and which are affected when agents change."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from pilotage.routes.route import EndpointHealth
from pilotage.xds.agent import Agent
from pilotage.xds.agent_routes import AgentRoutes
from tests.support.gateway import route

FAR = Agent("10.0.0.2:8890", "far", "10.0.0.2", relay="/run/x")
NEAR = Agent("10.0.0.3:8890", "near", "10.0.0.3")


def routes(*agents: Agent) -> AgentRoutes:
    made = AgentRoutes()
    made.replace(agents)
    return made


def test_a_route_without_an_agent_is_ignored() -> None:
    plain = route("app", 80)
    assert routes(FAR).apply("app", plain) == (plain, ())
    assert routes(FAR).apply("app", None) == (None, ())


@pytest.mark.parametrize("key", [FAR.address, FAR.name])
def test_an_agent_is_found_by_its_address_or_name(key: str) -> None:
    found, problems = routes(FAR).apply("app", route("app", 80, agent=key))
    assert found is not None
    assert (found.agent, problems) == (FAR.address, ())


@pytest.mark.parametrize(
    ("agent", "fields", "message"),
    [
        (FAR, {"agent": "nosuch"}, "agent 'nosuch' not found"),
        (Agent(FAR.address, problem="it is out of order"), {}, "it is out of order"),
        (
            msgspec.structs.replace(FAR, datagrams=False),
            {"scheme": "udp"},
            "scheme udp behind an agent needs pyOpenSSL, so the route is not served",
        ),
        (
            msgspec.structs.replace(FAR, tunnels=False),
            {"scheme": "tcp"},
            "scheme tcp needs a newer agent, because this one has no tunnel, so the route is not served",
        ),
        (
            msgspec.structs.replace(FAR, relay=""),
            {"scheme": "h2c"},
            "scheme h2c behind an agent needs an Envoy that pilotage runs, so the route is not served",
        ),
    ],
)
def test_a_route_that_its_agent_cannot_serve_is_refused(agent: Agent, fields: dict[str, Any], message: str) -> None:
    found, (problem,) = routes(agent).apply("app", route("app", 80, **{"agent": FAR.address, **fields}))
    assert found is None
    assert problem.message == message
    assert problem.hint
    assert (problem.route, problem.container) == ("app", "app")


@pytest.mark.parametrize("scheme", ["http", "https", "tcp", "h2c"])
def test_a_route_that_its_agent_can_serve_is_kept(scheme: str) -> None:
    found, problems = routes(FAR).apply("app", route("app", 80, agent=FAR.address, scheme=scheme))
    assert found is not None
    assert problems == ()


def test_only_the_routes_of_changed_agents_are_affected() -> None:
    made = routes(FAR, NEAR)
    made.apply("a", route("a", 80, agent=FAR.address))
    made.apply("b", route("b", 80, agent="near"))
    made.apply("c", route("c", 80, agent="new"))
    assert made.replace([FAR, NEAR]) == set()
    assert made.replace([FAR, Agent(NEAR.address, "near", "10.0.0.4")]) == {"b"}
    assert made.replace([FAR, Agent(NEAR.address, "new", "10.0.0.4")]) == {"b", "c"}
    assert made.replace([]) == {"a", "c"}
    made.apply("a", None)
    assert made.replace([FAR]) == set()


def test_an_endpoint_that_its_agent_finds_unhealthy_counts_as_unhealthy() -> None:
    made = routes(FAR)
    made.health["app"] = {"127.0.0.1:80": EndpointHealth("unhealthy"), "127.0.0.1:81": EndpointHealth("healthy")}
    found, _ = made.apply("app", route("app", 80, 81, 82, agent=FAR.address))
    assert found is not None
    assert [endpoint.state for endpoint in found.endpoints] == ["unhealthy", "ready", "ready"]
