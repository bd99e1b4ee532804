from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pilotage.config.engines import DEFAULT_POLICY
from pilotage.core.errors import ConfigError
from pilotage.lint.compose import Site
from pilotage.lint.plan import Plan, make_plan
from pilotage.lint.planned import read_projects
from pilotage.lint.sources import Sources
from pilotage.output.view import View
from pilotage.table import build_table
from tests.support.example_engine import at, engine_snapshot, one

pytestmark = pytest.mark.usefixtures("folder")


def of(service: str, project: str = "p", *, aliases: str = "", **more: Any) -> dict[str, Any]:
    compose = {"com.docker.compose.project": project, "com.docker.compose.service": service}
    labels = compose | ({"proxy.aliases": aliases} if aliases else {}) | more.pop("labels", {})
    given = {"Image": "web", "NetworkSettings": at("10.1.0.2", f"{project}_default")}
    return one(f"{project}-{service}-1", labels, **given | more)


def planned(services: str, *engines: list[dict[str, Any]], on: str = "") -> Plan:
    Path("compose.yml").write_text(f"name: p\nservices: {{{services}}}")
    snapshots = tuple(engine_snapshot(containers, name=f"e{number}") for number, containers in enumerate(engines))
    view = View(snapshots, build_table(snapshots, policy=DEFAULT_POLICY))
    projects = read_projects(["compose.yml"], {}, Sources(), Site())
    return make_plan(view, projects, policy=DEFAULT_POLICY, reserved_ports=frozenset(), now=1_800_000_000, engine=on)


def kinds(plan: Plan) -> list[tuple[str, str]]:
    return [(change.kind, change.name) for change in plan.changes]


def test_a_container_that_is_re_created_keeps_its_name_and_what_the_engine_knows_of_it() -> None:
    running = [
        of("web", aliases="shop", age=9, Ports=[{"PrivatePort": 3000, "Type": "tcp"}]),
        of("web", "q", aliases="shop", age=5),  # older than the new container would be
    ]
    plan = planned("web: {image: web, labels: {proxy.aliases: shop, proxy.shop.homepage.name: Shop}}", running)
    (change,) = plan.changes
    assert (change.kind, change.fields) == ("changed", ("homepage",))
    assert [problem.container for problem in plan.conflicts] == []


def test_a_service_takes_the_name_that_another_one_gives_up() -> None:
    running = [of("web", aliases="shop", age=9), of("web", "q", aliases="shop", age=5)]
    plan = planned("web: {image: web, labels: {proxy.aliases: www}}", running)
    assert kinds(plan) == [("new", "www"), ("moved", "shop")]
    assert (plan.changes[1].before, plan.changes[1].after) == ("e0/p-web-1", "e0/q-web-1")


def test_a_pool_is_lost_with_its_last_member() -> None:
    link = {"proxy.a.load_balance.link": "shop"}
    plan = planned("web: {image: web, labels: {proxy.aliases: a}}", [of("web", aliases="a", labels=link)])
    assert kinds(plan) == [("new", "a"), ("lost", "shop")]
    plan = planned(
        "web: {image: web, labels: {proxy.aliases: a, proxy.a.load_balance.link: shop}}", [of("web", aliases="a")]
    )
    assert kinds(plan) == [("new", "shop"), ("lost", "a")]
    assert plan.changes[1].reason == "it joins the pool shop and answers under that name"


def test_when_a_container_sleeps_is_a_field_too() -> None:
    text = "web: {image: web, labels: {proxy.aliases: a, proxy.idle_timeout: 5m}}"
    running = of("web", aliases="a", labels={"proxy.idle_timeout": "30m"})
    (change,) = planned(text, [running]).changes
    assert (change.kind, change.name, change.fields) == ("changed", "a", ("idle_timeout",))


def test_a_route_with_an_error_is_lost_for_that_reason() -> None:
    text = "web: {image: web, labels: {proxy.aliases: a, proxy.a.midlewares.cidr_whitelist.allow: 10.0.0.0/8}}"
    (change,) = planned(text, [of("web", aliases="a")]).changes
    assert (change.kind, change.name) == ("lost", "a")
    assert "unknown field" in change.reason


def test_a_stopped_container_would_start() -> None:
    stopped = of("web", aliases="a", State="exited", Status="Exited (0) 2 hours ago")
    assert kinds(planned("web: {image: web, labels: {proxy.aliases: a}}", [stopped])) == [("new", "a")]


def test_published_ports_and_replicas_follow_the_file() -> None:
    ports = [{"PrivatePort": 80, "PublicPort": 8080, "Type": "tcp", "IP": ip} for ip in ("0.0.0.0", "::")]
    running = [
        of("web", aliases="a", Ports=ports),
        one("p-web-2", of("web", aliases="a")["Labels"], Image="web", Ports=ports),
    ]
    labels = "labels: {proxy.aliases: a}"
    assert kinds(planned(f"web: {{image: web, ports: ['8080:80'], {labels}}}", running)) == []
    assert kinds(planned(f"web: {{image: web, ports: ['8081:80'], {labels}}}", running)) == []  # reached inside
    plan = planned(f"web: {{image: web, scale: 1, ports: ['8080:80'], {labels}}}", running)
    assert (kinds(plan), plan.removed) == ([], ("p-web-2",))


def test_the_engine_is_the_one_that_runs_the_project() -> None:
    text = "web: {image: web, labels: {proxy.aliases: a}}"
    other, mine = [of("web", "q")], [of("web", aliases="b")]
    assert planned(text, other, mine).engines == {"p": "e1"}
    assert planned(text, other, mine, on="e0").engines == {"p": "e0"}
    for engines in ((other, other), (mine, mine)):
        with pytest.raises(ConfigError, match="can run on several engines; choose one with --on: e0, e1"):
            planned(text, *engines)


def test_one_off_containers_are_not_replaced() -> None:
    running = [of("web", aliases="a"), one("p-web-run-1", of("web")["Labels"] | {"com.docker.compose.oneoff": "True"})]
    plan = planned("web: {image: web, labels: {proxy.aliases: a}}", running)
    assert (plan.changes, plan.removed) == ((), ())
    assert planned("api: {image: web, labels: {proxy.aliases: a}}", running).removed == ("p-web-1",)
