from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pilotage import DockerProviderConfig, from_docker
from pilotage.core.problems import Problem
from pilotage.policy import Policy
from pilotage.routes import build_routes, not_served, read_route_file, refused_settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pilotage.routes.route import Route


class Refuses:
    """A gateway that refuses or only reports some settings, and counts how often it is asked."""

    def __init__(self, *paths: str, served: bool = False) -> None:
        self.paths = paths
        self.served = served
        self.asked: list[str] = []

    def __call__(self, route: Any) -> tuple[tuple[Problem, ...], bool]:
        self.asked.append(route.alias)
        place = {"provider": route.provider, "container": route.container, "route": route.alias}
        problems = tuple(Problem(message="no", path=path, refused=not self.served, **place) for path in self.paths)
        return problems, self.served

    def complete(self, route: Any) -> Any:
        return route

    def fill_in(self, middlewares: Mapping[str, Any]) -> tuple[dict[str, Any] | None, tuple[Problem, ...]]:
        assert "lan@file" not in middlewares
        return None, ()


def routes(gateway: Refuses, **labels: str) -> tuple[Route, ...]:
    summary = {
        "Id": "1" * 64,
        "Names": ["/web"],
        "State": "running",
        "Labels": labels,
        "Ports": [{"PrivatePort": 80, "Type": "tcp"}],
        "NetworkSettings": {"Networks": {"bridge": {"IPAddress": "172.17.0.2"}}},
    }
    container = from_docker(summary, DockerProviderConfig("unix:///run/docker.sock", name="local"))
    return build_routes(container, policy=Policy(gateway=gateway)).routes


@pytest.mark.parametrize(
    ("labels", "label", "line"),
    [
        ({"proxy.web.rules": "path /x { pass }"}, "proxy.web.rules", 0),
        ({"proxy.*.rules": "path /x { pass }"}, "proxy.*.rules", 0),
        ({"proxy.#1": "port: 80\nrules: path /x { pass }"}, "proxy.#1", 2),
        ({}, "", 0),
    ],
)
def test_a_problem_of_the_gateway_names_the_label_as_written(labels: dict[str, str], label: str, line: int) -> None:
    (route,) = routes(Refuses("rules"), **labels)
    (problem,) = route.problems
    assert (problem.label, problem.line, problem.container) == (label, line, "web")
    assert route.excluded
    assert route.excluded_reason == "Error"
    assert route.endpoints == ()


@pytest.mark.parametrize(
    ("labels", "path", "label"),
    [
        (
            {"proxy.web.middlewares.oidc.allowed_users": "me"},
            "middlewares.oidc",
            "proxy.web.middlewares.oidc.allowed_users",
        ),
        (
            {"proxy.*.middlewares.cidr_whitelist.allow": "10.0.0.0/8", "proxy.web.middlewares.oidc": "{}"},
            "middlewares.oidc",
            "proxy.web.middlewares.oidc",
        ),
        (
            {"proxy.web.middlewares.request.setHeaders": "{A: b}"},
            "middlewares.request.set_headers",
            "proxy.web.middlewares.request.setHeaders",
        ),
    ],
)
def test_the_label_is_that_of_the_deepest_name_in_the_path(labels: dict[str, str], path: str, label: str) -> None:
    (route,) = routes(Refuses(path), **labels)
    assert route.problems[0].label == label


def test_a_problem_with_a_name_is_located_at_the_label_that_sets_the_name() -> None:
    listed = routes(Refuses("alias"), **{"proxy.aliases": "shop"})
    assert [problem.label for problem in listed[0].problems] == ["proxy.aliases"]
    added = routes(Refuses("alias"), **{"proxy.shop.port": "80"})
    assert {route.alias: route.problems[0].label for route in added} == {"web": "", "shop": "proxy.shop.port"}


def test_a_route_that_the_gateway_serves_all_the_same_only_gets_the_problem() -> None:
    (route,) = routes(Refuses("access_log", served=True), **{"proxy.web.access_log.path": "/x"})
    assert not route.excluded
    assert route.endpoints
    assert [problem.path for problem in route.problems][-1] == "access_log"


def test_the_gateway_is_not_asked_about_an_excluded_route() -> None:
    gateway = Refuses("rules")
    routes(gateway, **{"proxy.exclude": "true"})
    assert gateway.asked == []


def test_problems_of_a_route_from_a_file_have_its_line() -> None:
    text = "shop:\n  host: 10.0.0.5\n  middlewares:\n    oidc: {}\n"
    for path, place in (("middlewares.oidc", (4, 5)), ("alias", (1, 1))):
        (route,) = read_route_file(text, "routes.yml", gateway=Refuses(path)).routes
        (problem,) = route.problems
        assert (problem.file, problem.line, problem.column) == ("routes.yml", *place)
        assert (problem.label, problem.provider) == ("", "")
        assert route.excluded


def test_the_settings_that_keep_a_route_from_being_served_are_its_status() -> None:
    (route,) = routes(Refuses("rules", "bind"), **{"proxy.web.rules": "path /x { pass }"})
    assert refused_settings(route.problems) == {"web": ("rules", "bind")}
    assert not_served(("rules", "bind")) == "not served: rules, bind"
    assert not_served(()) == "not served: see below"
    assert refused_settings([Problem(message="", route="web"), Problem(message="", route="x", refused=True)]) == {
        "x": ()
    }


def test_only_twenty_ports_of_a_container_may_speak_http_or_end_tls() -> None:
    names = [f"a{number}" for number in range(30)]
    labels = {"proxy.aliases": ",".join(names), "proxy.*.scheme": "http"}
    labels |= {f"proxy.{name}.port": f"{9000 + number}:80" for number, name in enumerate(names)}
    labels |= {"proxy.a1.scheme": "tcp", "proxy.a2.scheme": "tcp", "proxy.a2.tls_termination": "true"}
    labels["proxy.a29.port"] = "9000:80"  # shared with a0
    found = {route.alias: route for route in routes(Refuses(served=True), **labels)}
    assert [name for name in names if found[name].excluded] == names[21:29]
    (problem,) = found["a21"].problems
    assert problem.message == "the container has more than 20 ports for HTTP or with TLS termination"
    assert (problem.label, problem.refused) == ("proxy.a21.port", True)


def test_only_fifty_routes_of_a_container_may_have_rules() -> None:
    gateway = Refuses(served=True)
    names = [f"a{number}" for number in range(60)]
    bypass = "redirect_http: {bypass: [path /x]}"
    labels = {"proxy.aliases": ",".join(names), "proxy.*.port": "80", "proxy.a0.middlewares": bypass}
    found = routes(gateway, **labels, **{f"proxy.{name}.rules": "path /x { pass }" for name in names[1:59]})
    assert len(gateway.asked) == 51  # a59 has no rules
    refused = [route for route in found if route.excluded]
    assert len(refused) == 9
    for route in refused:
        (problem,) = route.problems
        assert problem.message == "the container has more than 50 routes with rules or bypass options"
