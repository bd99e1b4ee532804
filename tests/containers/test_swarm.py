from __future__ import annotations

from typing import Any

import msgspec

from pilotage import Built, Container, build_routes
from pilotage.containers.parse import ContainerParser
from pilotage.containers.swarm import SwarmServices, is_task, labels_not_read, reachable, task_id, unreachable
from pilotage.engine.types import Endpoint, Port, Service, Summary
from tests.support import captures
from tests.support.summaries import ID, LOCAL, REMOTE, summary

OVERLAY, BRIDGE = "zr68kcczwws2meupmefrlrogf", "6" * 64
TASK = {"com.docker.swarm.service.id": "s1", "com.docker.swarm.service.name": "websvc"}


def networks(**addresses: tuple[str, str]) -> dict[str, Any]:
    return {"Networks": {name: {"IPAddress": ip, "NetworkID": id_} for name, (ip, id_) in addresses.items()}}


def parsed(
    labels: dict[str, str] | None = None,
    *,
    services: SwarmServices | None = None,
    routed: tuple[str, ...] = (),
    remote: bool = False,
    **fields: Any,
) -> Container:
    parser = ContainerParser(REMOTE if remote else LOCAL, routes_to=lambda address: address in routed)
    parser.services = services
    plain = {"NetworkSettings": networks(ingress=("10.0.0.4", OVERLAY))} | fields
    return parser.parse(msgspec.convert(summary("websvc.1.abc", TASK | (labels or {}), **plain), Summary))


def service(labels: dict[str, str] | None = None, *ports: dict[str, Any]) -> SwarmServices:
    plain = {"ID": "s1", "Spec": {"Name": "websvc", "Labels": labels or {}}, "Endpoint": {"Ports": list(ports)}}
    return SwarmServices({"s1": msgspec.convert(plain, Service)}, {ID: "s1"})


def built(found: Container) -> Built:
    return build_routes(found)


def test_a_task_is_recognized_by_its_service() -> None:
    assert is_task(parsed())


def test_an_address_in_the_ingress_network_is_never_used_and_the_reason_is_given() -> None:
    for routed in ((), ("10.0.0.4",)):
        found = parsed(routed=routed)
        assert found.private_hostname == ""
        (route,) = built(found).routes
        assert (route.endpoints, route.excluded_reason) == ((), "Error")
        assert "overlay network ingress" in built(found).problems[0].message
        assert found.unreachable is not None
        assert (found.unreachable.provider, found.unreachable.container) == ("local", "websvc.1.abc")


def test_nothing_is_forged_while_the_services_have_not_been_read() -> None:
    assert not ContainerParser(LOCAL).is_forged(parsed())


def test_recorded_tasks_have_no_route_by_way_of_the_ingress_network() -> None:
    parser = ContainerParser(LOCAL)
    found = [parser.parse(msgspec.convert(each, Summary)) for each in captures.load("docker-28.5-swarm", "list-all")]
    assert {it.private_hostname for it in found} == {"", "172.17.0.2", "172.17.0.3"}


def test_an_overlay_network_is_used_only_if_this_host_routes_to_it() -> None:
    both = networks(ingress=("10.0.0.4", OVERLAY), app=("10.1.0.4", OVERLAY))
    assert parsed(NetworkSettings=both).private_hostname == ""
    reached = parsed(NetworkSettings=both, routed=("10.1.0.4",))
    assert (reached.private_hostname, reached.unreachable) == ("10.1.0.4", None)


def test_a_named_overlay_network_that_cannot_be_reached_has_a_reason_instead_of_another_address() -> None:
    both = networks(bridge=("172.17.0.9", BRIDGE), app=("10.1.0.4", OVERLAY))
    assert parsed(NetworkSettings=both).private_hostname == "172.17.0.9"
    named = parsed({"proxy.network": "app"}, NetworkSettings=both)
    assert (named.private_hostname, named.errors) == ("", ())
    assert "overlay network app" in built(named).problems[0].message


def test_a_port_that_a_task_publishes_on_the_host_is_used() -> None:
    (route,) = built(parsed(Ports=[{"PrivatePort": 80, "PublicPort": 21060, "IP": "0.0.0.0"}])).routes
    assert [endpoint.address for endpoint in route.endpoints] == ["127.0.0.1:21060"]


def test_a_port_that_the_service_publishes_is_used() -> None:
    given = service({}, {"TargetPort": 80, "PublishedPort": 21060, "PublishMode": "ingress", "Protocol": "tcp"})
    for remote, host in ((False, "127.0.0.1"), (True, "192.168.50.10")):
        (route,) = built(parsed(services=given, remote=remote)).routes
        assert [endpoint.address for endpoint in route.endpoints] == [f"{host}:21060"]
    on_the_node = {"TargetPort": 80, "PublishedPort": 21060, "PublishMode": "host"}  # perhaps of another node
    assert built(parsed(services=service({}, on_the_node))).routes[0].endpoints == ()
    assert parsed(services=given).private_port_mapping == {80: Port(80, 21060)}
    assert parsed(services=given, Ports=None).private_port_mapping == {80: Port(80, 21060)}


def test_labels_of_the_service_count_and_the_containers_own_win() -> None:
    given = service({"proxy.aliases": "svc", "proxy.svc.scheme": "https", "other": "x"})
    found = parsed({"proxy.svc.scheme": "http"}, services=given)
    assert found.aliases == ("svc",)
    assert found.actual_labels["proxy.svc.scheme"] == "http"
    assert "other" not in found.actual_labels
    assert found.is_explicit


def test_where_services_cannot_be_read_a_task_without_labels_says_so() -> None:
    unknown = SwarmServices(error="this engine is not a swarm manager")
    (problem,) = parsed(services=unknown).problems
    assert problem.message == (
        "the labels of its swarm service websvc cannot be read: this engine is not a swarm manager"
    )
    assert "--container-label" in problem.hint
    assert (problem.severity, problem.container) == ("warning", "websvc.1.abc")
    assert parsed({"proxy.aliases": "svc"}, services=unknown).problems == ()
    assert parsed().problems == ()  # nobody has asked


def test_tasks_of_one_service_are_replicas_called_by_its_name() -> None:
    attached = networks(bridge=("172.17.0.9", BRIDGE))
    (route,) = built(parsed(NetworkSettings=attached)).routes
    assert (route.alias, route.service) == ("websvc", ("local", "", "websvc"))
    composed = parsed({"com.docker.compose.service": "s"}, NetworkSettings=attached)
    assert built(composed).routes[0].service == ("local", "", "s")


def test_a_container_with_the_labels_of_a_task_gets_nothing_unless_the_engine_reports_the_task() -> None:
    port = {"TargetPort": 80, "PublishedPort": 21060, "PublishMode": "ingress"}
    given = service({"proxy.svc.middlewares.oidc.client_secret": "canary", "proxy.aliases": "svc"}, port)
    attached = networks(bridge=("172.17.0.9", BRIDGE))
    for tasks in ({}, {"b" * 64: "s1"}):
        forged = msgspec.structs.replace(given, tasks=tasks)
        found = parsed({"proxy.web.port": "81"}, services=forged, NetworkSettings=attached)
        assert "canary" not in str(found)
        assert found.aliases == ("websvc.1.abc",)
        assert 21060 not in found.public_port_mapping
        assert all(route.service == () for route in built(found).routes)
        (problem,) = found.problems
        assert (problem.severity, problem.hint.partition(";")[0]) == ("warning", "remove its labels com.docker.swarm.*")
        assert str(problem).startswith("local/websvc.1.abc: it is not a task of the swarm service 'websvc', although")
    stopped = parsed(services=msgspec.structs.replace(given, tasks={}), State="created", Status="Created")
    assert stopped.problems == ()  # the engine reports a task soon after its container was created


def test_a_task_gets_the_labels_of_the_service_that_the_engine_names_not_of_the_one_that_it_names_itself() -> None:
    given = service({"proxy.aliases": "svc"})
    assert parsed({"com.docker.swarm.service.id": "other"}, services=given).aliases == ("svc",)
    assert parsed(services=msgspec.structs.replace(given, tasks={ID: "other"})).aliases == ("websvc",)


def test_the_id_of_a_task_is_one_of_a_swarm() -> None:
    assert task_id(parsed({"com.docker.swarm.task.id": OVERLAY})) == OVERLAY
    for wrong in ("", "1", OVERLAY[:-1], f"{OVERLAY}a", f"{OVERLAY[:-1]}*"):
        assert task_id(parsed({"com.docker.swarm.task.id": wrong})) == ""


def test_the_service_name_alone_makes_no_task() -> None:
    parser = ContainerParser(LOCAL)
    parser.services = SwarmServices()
    labels = {"com.docker.swarm.service.name": "websvc"}
    found = parser.parse(msgspec.convert(summary("web", labels), Summary))
    assert (found.aliases, built(found).routes[0].service) == (("web",), ())
    assert len(found.problems) == 1


def test_a_port_that_the_service_does_not_publish_is_not_added() -> None:
    given = service({}, {"TargetPort": 81, "PublishMode": "ingress", "Protocol": "tcp"})
    assert parsed(services=given).private_port_mapping == {80: Port(80)}


def test_a_service_without_a_specification_or_an_endpoint_adds_nothing() -> None:
    bare = SwarmServices({"s1": msgspec.convert({"ID": "s1"}, Service)}, {ID: "s1"})
    task = msgspec.convert(summary("websvc.1.abc", TASK | {"proxy.web.port": "80"}), Summary)
    completed = bare.complete(task)
    assert completed.Labels == task.Labels
    assert list(completed.Ports or ()) == list(task.Ports or ())


def test_an_element_that_is_no_task_stays_as_it_is() -> None:
    for labels in ({}, {"other": "x"}):
        completed = service({"proxy.a.port": "80"}).complete(Summary(Id="1", Labels=labels))
        assert completed == Summary(Id="1", Labels=labels)


def test_networks_that_are_no_overlays_are_reachable() -> None:
    local = {"bridge": Endpoint(IPAddress="172.17.0.9", NetworkID=BRIDGE), "none": None}
    assert reachable(local, lambda _: False) is local
    overlays: dict[str, Endpoint | None] = {
        "app": Endpoint(IPAddress="10.1.0.4", NetworkID=OVERLAY),
        "six": Endpoint(GlobalIPv6Address="fd00::4", NetworkID=OVERLAY),
        "empty": Endpoint(NetworkID=OVERLAY),
    }
    assert list(reachable(local | overlays, lambda _: False)) == ["bridge", "none", "empty"]
    assert list(reachable(local | overlays, lambda it: it == "fd00::4")) == ["bridge", "none", "six", "empty"]


def test_reports_about_swarms_say_what_to_do() -> None:
    assert labels_not_read("web", "why").hint == (
        "set them on the containers (--container-label, or 'labels' beside 'deploy' in a stack file), "
        "or watch a manager and allow GET /services and GET /tasks"
    )
    problem = unreachable(["b", "a"])
    assert problem.message == (
        "not reachable: this host has no route to its overlay network a, b, and it publishes no port"
    )
    assert problem.hint == "publish its port, or attach it and pilotage to an attachable overlay network"
