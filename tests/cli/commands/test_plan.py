"""``pilotage plan``: what a person sees of it."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pilotage.api.listen import Listen
from tests.support.api_server import serving
from tests.support.commandline import a_process
from tests.support.example_engine import at, one, recording

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.commandline import Said


def of(service: str, labels: dict[str, str], project: str = "store", **more: Any) -> dict[str, Any]:
    compose = {"com.docker.compose.project": project, "com.docker.compose.service": service}
    network = at(more.pop("address", "10.1.0.2"), f"{project}_default")
    return one(f"{project}-{service}-1", compose | labels, Image="acme/web:1", NetworkSettings=network, **more)


RUNNING = [
    of("shop", {"proxy.aliases": "shop, admin", "proxy.shop.port": "8080"}),
    of("blog", {"proxy.aliases": "blog", "proxy.blog.port": "81"}, address="10.1.0.3"),
    of("old", {"proxy.aliases": "news"}, address="10.1.0.4"),
    of("wiki", {"proxy.aliases": "wiki, docs"}, project="others", address="10.2.0.2"),
]

SAME = """
name: store
services:
  shop: {image: "acme/web:1", labels: {proxy.aliases: "shop, admin", proxy.shop.port: 8080}}
  blog: {image: "acme/web:1", labels: {proxy.aliases: blog, proxy.blog.port: 81}}
  old: {image: "acme/web:1", labels: {proxy.aliases: news}}
  tools: {image: "acme/web:1", profiles: [tools], labels: {proxy.aliases: tools}}
"""

OTHER = """
name: store
services:
  shop: {image: "acme/web:1", labels: {proxy.aliases: "shop, docs", proxy.shop.port: 8081}}
  blog: {image: "acme/web:1", labels: {proxy.aliases: "blog, news", proxy.blog.prot: 82}}
  mail: {image: "acme/mail:1", labels: {proxy.mail.port: 25, proxy.aliases: "mail"}}
"""


@pytest.fixture
def plan(pilotage: Callable[..., Said]) -> Callable[..., Said]:
    def made(text: str, *more: str, running: list[dict[str, Any]] = RUNNING) -> Said:
        Path("compose.yml").write_text(text)
        Path("engine.json").write_text(json.dumps(recording(running)))
        return pilotage("plan", "compose.yml", "--replay", "engine.json", *more)

    return made


def test_files_as_they_run_change_nothing(plan: Callable[..., Said]) -> None:
    said = plan(SAME)
    assert (said.status, said.out) == (
        0,
        "project store on local: 0 new, 0 changed, 0 moved, 0 lost, 0 conflicts, 0 problems\n",
    )
    assert said.err.startswith("Not known in advance: the ports and labels of new images, the networks and addresses")


def test_each_kind_of_change_is_shown_and_a_lost_name_gives_status_2(plan: Callable[..., Said]) -> None:
    said = plan(OTHER)
    assert said.status == 2
    lines = [" ".join(line.split()) for line in said.out.splitlines()]
    assert lines[1:6] == [
        "new mail local/store-mail-1, port 25",
        "changed blog local/store-blog-1: port",
        "changed shop local/store-shop-1: port",
        "moved news local/store-old-1 → local/store-blog-1",
        "lost admin was local/store-shop-1; no container claims it any more",
    ]
    assert lines[6] == "Conflicts:"
    assert lines[7].startswith(
        "error: local/store-shop-1: route docs: alias 'docs' belongs to others-wiki-1, which had"
    )
    assert lines[8] == "Problems:"
    assert "compose.yml:5:" in lines[9]
    assert "unknown field; did you mean 'port'?" in lines[9]
    assert lines[-1] == "project store on local: 1 new, 2 changed, 1 moved, 1 lost, 1 conflict, 1 problem"
    assert "Compose removes store-old-1 only with --remove-orphans" in said.err


def test_json_has_the_same_changes(plan: Callable[..., Said]) -> None:
    said = plan(OTHER, "--format", "json")
    found = json.loads(said.out)
    assert said.status == 2
    assert [(it["kind"], it["name"], it["fields"]) for it in found["changes"]] == [
        ("new", "mail", []),
        ("changed", "blog", ["port"]),
        ("changed", "shop", ["port"]),
        ("moved", "news", []),
        ("lost", "admin", []),
    ]
    assert [problem["route"] for problem in found["conflicts"]] == ["docs"]
    assert [problem["line"] for problem in found["problems"]] == [5]
    assert (found["engines"], found["removed"]) == ({"store": "local"}, ["store-old-1"])


def test_other_projects_keep_their_containers(plan: Callable[..., Said]) -> None:
    said = plan(OTHER, "--project", "fresh", "--format", "json")
    found = json.loads(said.out)
    assert (said.status, found["removed"]) == (0, [])
    assert [(it["kind"], it["name"]) for it in found["changes"]] == [("new", "mail")]
    assert {problem["route"] for problem in found["conflicts"]} == {"shop", "docs", "blog", "news"}


def test_a_service_that_is_excluded_or_scaled_to_zero_loses_its_names(plan: Callable[..., Said]) -> None:
    excluded = SAME.replace("proxy.blog.port: 81", "proxy.exclude: true")
    for text in (excluded, SAME.replace("blog: {", "blog: {scale: 0, ")):
        said = plan(text)
        assert said.status == 2
        assert [line.split()[:2] for line in said.out.splitlines()[1:-1]] == [["lost", "blog"]]


@pytest.mark.parametrize(
    ("text", "more", "said"),
    [
        ("x: 1", (), "compose.yml: this is not a Compose file; name a file that defines services"),
        ("services: [", (), "compose.yml:2:1: not valid YAML"),
        (SAME, ("--on", "far"), "there is no engine 'far'; the engines are local"),
        (SAME, ("--replay", "engine.json"), "Use one recording"),
        (SAME, ("none.yml",), "none.yml: cannot be read"),
        (SAME, ("./compose.yml",), "the service 'shop' of the project 'store' is also defined in compose.yml"),
    ],
)
def test_without_a_plan_the_status_is_2(plan: Callable[..., Said], text: str, more: tuple[str, ...], said: str) -> None:
    found = plan(text, *more)
    assert (found.status, found.out) == (2, "")
    assert said in found.err


@pytest.mark.process
async def test_the_running_daemon_is_compared_under_its_own_rules(short_path: Path) -> None:
    rules = short_path / "pilotage-of-the-daemon.yml"
    rules.write_text("policy: [{who: {}, may: {hosts: [a-*]}}]\n")
    (short_path / "compose.yml").write_text(
        "name: store\nservices: {web: {image: 'acme/web:1', labels: {proxy.aliases: 'a-web, web'}}}\n"
    )
    async with serving(Listen(path=str(short_path / "api.sock"))) as caller:
        caller.source.config_file = str(rules)
        labels = {"com.docker.compose.project": "store", "com.docker.compose.service": "web", "proxy.aliases": "first"}
        caller.engine.add("store-web-1", labels=labels)
        subscription = caller.source.discovery.subscribe()
        while "first" not in caller.source.discovery.table.routes:
            await anext(subscription)
        env = os.environ | {"PILOTAGE_SOCKET": str(short_path / "api.sock"), "HOME": str(short_path)}
        lists = caller.engine.calls["list"]
        with a_process("plan", "compose.yml", "--format", "json", env=env, cwd=short_path) as process:
            out, err = await asyncio.to_thread(process.communicate)
        assert caller.engine.calls["list"] == lists  # the engine has not been asked
        caller.source.config_file = "/nonexistent/pilotage.yml"
        with a_process("plan", "compose.yml", env=env, cwd=short_path) as other:
            without_rules, _ = await asyncio.to_thread(other.communicate)
    assert process.returncode == 2
    assert err == f"From the running daemon (process {os.getpid()}).\n"
    found = json.loads(out)
    assert [(it["kind"], it["name"]) for it in found["changes"]] == [("new", "a-web"), ("lost", "first")]
    assert "warning: /nonexistent/pilotage.yml: the daemon's configuration is not used" in without_rules
    assert any("may not claim the host web" in problem["message"] for problem in found["problems"])
