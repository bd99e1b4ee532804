from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from pilotage import Container, DockerProviderConfig, EngineSnapshot, Problem, Route, build_table
from pilotage.containers.inspection import inspection_failed, needs_inspection, with_inspection
from pilotage.containers.networks import join_shared_network, shared_network_id
from pilotage.containers.parse import ContainerParser
from pilotage.engine.types import Inspect, Port, split_list
from pilotage.policy import Policy
from pilotage.routes.build import Built
from pilotage.table.snapshot import build_snapshot
from tests.support.captures import CAPTURES
from tests.support.summaries import ADDRESS, LOCAL, container

if TYPE_CHECKING:
    from syrupy.assertion import SnapshotAssertion

OWNER, GUEST, THIRD = "a" * 64, "b" * 64, "c" * 64
DOCKER = ["docker-20.10", "docker-26.1", "docker-28.5"]
PODMAN = ["podman-4.3", "podman-5.4"]
SOCKETS = {"podman-4.3-rootless": "unix:///run/user/1000/podman/podman.sock"}


def guest(mode: str, name: str = "guest", own_id: str = GUEST) -> Container:
    return container(name, Id=own_id, Ports=[], NetworkSettings={"Networks": {}}, HostConfig={"NetworkMode": mode})


def routes_of(found: EngineSnapshot) -> dict[str, Route]:
    return {route.alias: route for built in found.built for route in built.routes}


# ---- one engine -----------------------------------------------------------------------------------------------------


def test_a_snapshot_has_the_containers_in_the_engines_order() -> None:
    problem = Problem(message="slow", provider="local")
    found = build_snapshot(LOCAL, [container("b", Id="2"), container("a", Id="1")], problems=[problem])
    assert [each.container_name for each in found.containers] == ["b", "a"]
    assert [[route.alias for route in built.routes] for built in found.built] == [["b"], ["a"]]
    assert (found.config, found.problems) == (LOCAL, (problem,))


def test_reserved_ports_are_passed_on() -> None:
    found = [container(labels={"proxy.web.port": "81"})]
    assert build_snapshot(LOCAL, found).built[0].problems == ()
    assert (
        len(build_snapshot(LOCAL, found, reserved_ports=frozenset({81}), is_local=ADDRESS.__eq__).built[0].problems)
        == 1
    )


@pytest.mark.parametrize(
    ("mode", "wanted"), [("container:abc", "abc"), ("bridge", ""), ("host", ""), ("", ""), ("container:", "")]
)
def test_the_network_mode_names_the_owner_of_a_shared_network(mode: str, wanted: str) -> None:
    assert shared_network_id(guest(mode)) == wanted


@pytest.mark.parametrize("mode", [f"container:{OWNER}", "container:owner"])
def test_a_container_in_a_shared_network_is_reached_at_its_owner(mode: str) -> None:
    owner = container("owner", Id=OWNER, Ports=[{"PrivatePort": 9000}])
    for order in ([owner, guest(mode)], [guest(mode), owner]):
        found = routes_of(build_snapshot(LOCAL, order))
        assert (found["guest"].host, found["guest"].port.proxy) == (ADDRESS, 9000)
        assert found["guest"].endpoints[0].container_id == GUEST


@pytest.mark.parametrize("mode", ["container:nobody", f"container:{GUEST}"])
def test_without_its_owner_a_container_stays_as_it_is(mode: str) -> None:
    alone = guest(mode)
    assert join_shared_network(alone, {GUEST: alone}) is alone


def test_a_container_whose_inspection_failed_gets_no_route_and_says_why() -> None:
    failed = inspection_failed(container(HostConfig={"NetworkMode": "host"}), "403 Forbidden")
    ((built,),) = (build_snapshot(LOCAL, [failed]).built,)
    assert built == Built((), failed.errors)
    assert str(failed.errors[0]) == (
        "local/web: its ports are not known: the container uses the host's network, and inspecting it failed "
        "(403 Forbidden); allow GET /containers/{id}/json, or exclude it with proxy.exclude"
    )


# ---- recorded engines -----------------------------------------------------------------------------------------------


def recorded(engine: str) -> EngineSnapshot:
    """Return the snapshot of a recorded engine, with the inspections that its containers need."""
    config = DockerProviderConfig(url=SOCKETS.get(engine, "unix:///var/run/docker.sock"), name=engine)
    parser = ContainerParser(config)
    inspected = CAPTURES / engine / "inspect.json"
    answers = msgspec.json.decode(inspected.read_bytes(), type=list[Inspect]) if inspected.exists() else []
    known = {answer.Id: answer for answer in answers}
    containers = []
    for raw in split_list((CAPTURES / engine / "list-all.json").read_bytes()):
        found = parser.decode(raw)
        if needs_inspection(found, podman=engine.startswith("podman")):
            found = with_inspection(found, known[found.container_id])
        containers.append(found)
    return build_snapshot(config, containers)


def shown_ports(ports: dict[int, Port], side: str) -> str:
    return " ".join(f"{number}>{getattr(ports[number], side)}/{ports[number].Type}" for number in sorted(ports))


def shown(container: Container, built: Built) -> str:
    """Format a container and its routes as readable text."""
    facts = {
        "state": f"{container.state} {container.health}",
        "image": f"{container.image.author} {container.image.name} {container.image.tag}",
        "network": f"{container.network} {container.private_hostname} of {','.join(container.networks)}",
        "mode": container.network_mode if ":" not in container.network_mode else container.network_mode[:16],
        "inside": shown_ports(container.private_port_mapping, "PublicPort"),
        "outside": shown_ports(container.public_port_mapping, "PrivatePort"),
        "mounts": " ".join(sorted(f"{mount.Type}:{mount.Destination}" for mount in container.mounts)),
        "labels": str(len(container.labels)) if len(container.labels) > 3 else "",
    }
    lines = [container.container_name[:40]]
    lines += [f"  {name}: {text.strip()}" for name, text in facts.items() if text.strip()]
    for route in built.routes:
        state = route.endpoints[0].state if route.endpoints else route.excluded_reason
        lines.append(f"  -> {route.alias[:40]} {route.target or ''} {state}")
    lines += [f"  !! {problem}" for problem in built.problems]
    return "\n".join(line.rstrip() for line in lines)


@pytest.mark.parametrize("engine", [*DOCKER, "docker-28.5-swarm", *PODMAN, "podman-4.3-rootless"])
def test_recorded_containers_match_their_snapshot(engine: str, snapshot: SnapshotAssertion) -> None:
    found = recorded(engine)
    parts = sorted(shown(*pair) for pair in zip(found.containers, found.built, strict=True))
    assert "\n".join(parts) == snapshot


def outcomes(engine: str) -> dict[str, tuple[str, int, str]]:
    """Return alias -> scheme, port and reason, which must not depend on the engine; a stopped container's port may."""
    return {
        alias: (route.scheme, route.port.proxy if route.host else 0, route.excluded_reason)
        for alias, route in routes_of(recorded(engine)).items()
    }


@pytest.mark.parametrize("engine", ["docker-20.10", "docker-26.1"])
def test_the_same_containers_give_the_same_routes_under_every_docker(engine: str) -> None:
    assert outcomes(engine) == outcomes("docker-28.5")


# Podman has no links and no states "dead" and "restarting", and version 4.3 has no SCTP ports. Docker does not list the
# exposed ports of a container on an internal network.
PODMANS_OWN = {"net-link", "state-dead", "state-restarting", "net-internal"}
PODMANS_OWN_BY_VERSION = {"podman-4.3": {"ports-sctp", "net-host"}, "podman-5.4": set[str]()}


@pytest.mark.parametrize("engine", PODMAN)
def test_the_same_containers_give_the_same_routes_under_podman_as_under_docker(engine: str) -> None:
    docker, podman = outcomes("docker-28.5"), outcomes(engine)
    differing = {alias for alias in docker.keys() | podman.keys() if docker.get(alias) != podman.get(alias)}
    assert differing == PODMANS_OWN | PODMANS_OWN_BY_VERSION[engine]


def test_what_podman_cannot_report_is_a_problem() -> None:
    (problem,) = build_table([recorded("podman-4.3")]).problems
    assert (problem.container, problem.severity) == ("net-host", "warning")
    assert "the engine does not report the ports of containers on the host's network" in problem.message


@pytest.mark.parametrize("engine", [*DOCKER, *PODMAN])
def test_no_recorded_container_is_an_error(engine: str) -> None:
    found = recorded(engine)
    assert [container.errors for container in found.containers if container.errors] == []
    assert len(found.containers) > 55


def test_rootless_containers_are_reached_where_they_are_published() -> None:
    found = routes_of(recorded("podman-4.3-rootless"))
    assert [(alias, route.target, route.excluded_reason) for alias, route in sorted(found.items())] == [
        ("w1", "http://127.0.0.1:28180", ""),
        ("w2", "http://127.0.0.1:0", "No port exposed in container"),
        ("w3", "http://127.0.0.1:28182", ""),
    ]


def test_the_policy_is_passed_on() -> None:
    found = [container()]
    assert not build_snapshot(LOCAL, found).built[0].routes[0].excluded
    (problem,) = build_snapshot(LOCAL, found, policy=Policy(default="deny")).built[0].problems
    assert problem.message == "no policy rule allows this container to claim the host web"
