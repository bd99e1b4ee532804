from __future__ import annotations

import pytest

from pilotage import Container, DockerProviderConfig, build_routes, from_docker
from pilotage.containers.engine_facts import engine_facts, is_rootless
from tests.support.summaries import ADDRESS, summary


def reported(found: Container) -> list[tuple[str, str, str]]:
    return [(problem.label, problem.message, problem.hint) for problem in (*found.errors, *found.problems)]


@pytest.mark.parametrize(
    ("url", "env", "private", "public"),
    [
        ("unix:///var/run/docker.sock", {}, ADDRESS, "127.0.0.1"),
        ("tcp://127.0.0.1:2375", {}, ADDRESS, "127.0.0.1"),
        ("tcp://localhost:2375", {}, ADDRESS, "127.0.0.1"),
        ("tcp://[::1]:2375", {}, ADDRESS, "127.0.0.1"),
        ("tcp://0.0.0.0:2375", {}, ADDRESS, "127.0.0.1"),
        ("tcp://10.0.0.9:2375", {}, "", "10.0.0.9"),
        ("tcp://10.0.0.9:2375", {"DOCKER_HOST": "tcp://10.0.0.9:2375"}, ADDRESS, "127.0.0.1"),
        ("ssh://me@node1:22/run/docker.sock", {}, "", "node1"),
        ("tcp://[fd00::9]:2375", {}, "", "fd00::9"),
        ("unix:///run/user/1000/podman/podman.sock", {}, "", "127.0.0.1"),
        ("unix:///home/me/.docker/run/docker.sock", {}, "", "127.0.0.1"),
    ],
)
def test_addresses_of_containers_are_used_where_they_can_be_reached(
    url: str, env: dict[str, str], private: str, public: str
) -> None:
    found = from_docker(summary(), DockerProviderConfig(url=url, name="n"), env=env)
    assert (found.private_hostname, found.public_hostname, found.errors) == (private, public, ())


def test_rootless_engines_are_known_by_their_socket() -> None:
    assert is_rootless("unix:///run/user/1000/docker.sock")
    assert not is_rootless("unix:///run/docker.sock")


def test_an_agent_reaches_its_containers() -> None:
    config = DockerProviderConfig(url="agent://10.0.0.9:8890", name="node9")
    found = from_docker(summary(), config, agents={"10.0.0.9:8890": "node9"})
    assert (found.agent, found.private_hostname, found.public_hostname) == ("node9", ADDRESS, "10.0.0.9")


def test_without_a_list_of_agents_an_agent_has_its_providers_name() -> None:
    found = from_docker(summary(), DockerProviderConfig(url="agent://10.0.0.9:8890", name="node9"))
    assert (found.agent, found.private_hostname, found.errors) == ("node9", ADDRESS, ())


def test_an_unknown_agent_is_an_error() -> None:
    config = DockerProviderConfig(url="agent://10.0.0.9:8890", name="node9")
    found = from_docker(summary(), config, agents={"10.0.0.8:8890": "node8"})
    assert [message for _, message, _ in reported(found)] == ["agent 'agent://10.0.0.9:8890' not found"]
    assert build_routes(found).routes == ()


def test_by_default_this_host_has_no_route_to_an_overlay_network() -> None:
    assert engine_facts(DockerProviderConfig("unix:///run/docker.sock")).routes_to("10.0.1.5") is False


@pytest.mark.parametrize(
    ("agents", "hint"), [({}, "known agents: none"), ({"b:1": "b", "a:1": "a"}, "known agents: a:1, b:1")]
)
def test_an_unknown_agent_is_reported_with_the_known_ones(agents: dict[str, str], hint: str) -> None:
    (problem,) = engine_facts(DockerProviderConfig("agent://c:1", name="c"), agents=agents).errors
    assert (problem.hint, problem.provider) == (hint, "c")
