"""Teams share one gateway without trusting each other: a container of team A claims what belongs to team B."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from pilotage.testing import FakeEngine
from tests.support.command import pilotage_serve
from tests.support.ports import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = [pytest.mark.process, pytest.mark.slow]

PER_PROJECT = """
match_domains: [example.com]
policy:
  default: deny
  rules:
    - name: teams
      who: {project: "team-*"}
      may: {hosts: ["{{project}}-*", "**.{{project}}.example.com"], middlewares: [redirect_http]}
    - name: nobody
      who: {project: "*"}
      may: nothing
"""
PER_ENGINE = """
policy:
  default: deny
  rules:
    - name: edge
      who: {engine: engine0}
      may: {hosts: [shop, "*.a.example.com"]}
    - name: lab
      who: {engine: engine1}
      may: {hosts: [blog, "*.b.example.com"], pools: [], middlewares: ["*"]}
"""


@asynccontextmanager
async def site(name: str) -> AsyncIterator[int]:
    """A web site that says whose it is; yields its port."""

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(text=name)

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield port
    finally:
        await runner.cleanup()


def start(engine: FakeEngine, name: str, port: int, aliases: str, project: str = "", **labels: str) -> None:
    own: dict[str, Any] = {"proxy.aliases": aliases, "proxy.*.port": str(port)}
    own |= {f"proxy.*.{key.replace('__', '.')}": value for key, value in labels.items()}
    if project:
        own |= {"com.docker.compose.project": project, "com.docker.compose.service": name}
    engine.add(name, networks=(), ports=(f"{port}:{port}",), labels=own)


async def test_a_project_cannot_take_the_hosts_of_another(tmp_path: Path) -> None:
    async with site("a") as a, site("b") as b, FakeEngine() as engine:
        # Team A's container is there first and claims, in every way, the hosts of team B, which starts only later.
        stolen = "team-b-shop, team-b-shop.example.com, shop.team-b.example.com, *.team-b.example.com, *.example.com"
        start(engine, "thief", a, f"team-a-shop, {stolen}", "team-a")
        start(engine, "linked", a, "team-a-linked", "team-a", load_balance__link="team-b-shop")
        async with pilotage_serve(tmp_path, engine, config=PER_PROJECT) as command:
            await command.answers("team-a-shop.example.com", (200, "a"))
            for host in ("team-b-shop.example.com", "shop.team-b.example.com", "x.team-b.example.com"):
                assert await command.status(host) == 404
            start(engine, "shop", b, "team-b-shop, shop.team-b.example.com", "team-b")
            await command.answers("team-b-shop.example.com", (200, "b"))
            await command.answers("shop.team-b.example.com", (200, "b"))
            messages = await command.problems("thief")
            assert len(messages) == 5
            rule = f"rule 1 'teams' ({tmp_path}/pilotage.yml:"
            assert all(message.startswith("this container may not claim the host ") for message in messages)
            assert all(rule in message for message in messages)
            assert any("team-b-shop" in message for message in await command.problems("linked"))


async def test_a_project_name_is_never_a_pattern(tmp_path: Path) -> None:
    async with site("a") as a, FakeEngine() as engine:
        for number, project in enumerate(["team-*", "team-b.x", "team-?", "team-b-shop", "TEAM-b", "", "other"]):
            start(engine, f"thief{number}", a, f"team-b-shop, {number}.team-b.example.com", project)
        start(engine, "good", a, "team-c-shop", "team-c")
        async with pilotage_serve(tmp_path, engine, config=PER_PROJECT) as command:
            await command.answers("team-c-shop.example.com", (200, "a"))
            assert await command.status("team-b-shop.example.com") == 404
            for number in range(7):
                assert await command.status(f"{number}.team-b.example.com") == 404


async def test_an_engine_cannot_take_the_hosts_of_another_whatever_its_labels_say(tmp_path: Path) -> None:
    async with site("a") as a, site("b") as b, FakeEngine() as first, FakeEngine() as second:
        start(first, "shop", a, "shop", "web")
        start(second, "thief", b, "blog, shop, shop.localhost, x.a.example.com", "web")
        async with pilotage_serve(tmp_path, first, second, config=PER_ENGINE) as command:
            await command.answers("shop.localhost", (200, "a"))
            await command.answers("blog.localhost", (200, "b"))
            assert await command.status("x.a.example.com") == 404
            first.remove("shop")
            async with asyncio.timeout(60):
                while await command.status("shop.localhost") != 404:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            assert (await command.route_of("shop", "thief"))["excluded_reason"] == "Error"  # the heir is refused, too


async def test_a_middleware_that_is_not_allowed_closes_the_route(tmp_path: Path) -> None:
    async with site("a") as a, FakeEngine() as engine:
        start(engine, "plain", a, "team-a-plain", "team-a")
        start(engine, "setter", a, "team-a-setter", "team-a", middlewares__response__set_headers__Set_Cookie="x")
        async with pilotage_serve(tmp_path, engine, config=PER_PROJECT) as command:
            await command.answers("team-a-plain.example.com", (200, "a"))
            assert await command.status("team-a-setter.example.com") == 404
            (message,) = await command.problems("setter")
            assert message.startswith("this container may not use the middleware response: rule 1 'teams'")


async def test_new_rules_apply_without_a_restart_and_drop_no_other_route(tmp_path: Path) -> None:
    async with site("a") as a, FakeEngine() as engine:
        start(engine, "one", a, "team-a-one", "team-a")
        start(engine, "two", a, "team-b-two", "team-b")
        async with pilotage_serve(tmp_path, engine, config=PER_PROJECT) as command:
            await command.answers("team-a-one.example.com", (200, "a"))
            await command.answers("team-b-two.example.com", (200, "a"))
            text = command.config.read_text()
            command.config.write_text(text.replace('"team-*"', "team-a"))
            failed = 0
            async with asyncio.timeout(60):
                while await command.status("team-b-two.example.com") != 404:
                    failed += await command.status("team-a-one.example.com") != 200
            command.config.write_text(text.replace("who:", "whom:"))  # an error: the rules stay
            async with asyncio.timeout(60):
                while "whom" not in (tmp_path / "log").read_text():
                    failed += await command.status("team-a-one.example.com") != 200
            assert await command.status("team-b-two.example.com") == 404
            command.config.write_text(text)
            await command.answers("team-b-two.example.com", (200, "a"))
            failed += await command.status("team-a-one.example.com") != 200
            assert failed == 0
