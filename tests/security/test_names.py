"""Nobody takes a name that somebody else holds: containers and engines against each other, through a real gateway."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from pilotage.config.engines import EngineChoice
from pilotage.daemon.settings import Flags
from pilotage.testing import FakeEngine
from tests.support.gateway import becomes, target
from tests.support.serving import configured, of, serving
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from pilotage import Table
    from tests.support.gateway import Target
    from tests.support.serving import Served

pytestmark = pytest.mark.process

LINK = "proxy.*.load_balance.link"


def compose(project: str, service: str = "web") -> dict[str, str]:
    return {"com.docker.compose.project": project, "com.docker.compose.service": service}


class Arena:
    """A gateway, one engine, and the servers of a victim and of a stranger.

    Attributes:
        served: the gateway.
        engine: the engine.
        mine: the victim's server.
        theirs: the stranger's server.

    """

    def __init__(self, served: Served, engine: FakeEngine, mine: Target, theirs: Target) -> None:
        self.served = served
        self.engine = engine
        self.mine = mine
        self.theirs = theirs

    @property
    def table(self) -> Table:
        return self.served.daemon.discovery.table

    async def by(self, host: str) -> str:
        """Return whose server answers for a host; the status if none does."""
        status, body = await self.served.ask(host)
        return str(json.loads(body)["by"]) if status == 200 else str(status)

    async def answered(self, host: str, times: int = 12) -> set[str]:
        return {await self.by(host) for _ in range(times)}

    async def intrude(self, aliases: str, labels: dict[str, str] | None = None, **more: Any) -> None:
        """Start the stranger's container, and wait until it serves a name that is free."""
        engine = more.pop("engine", self.engine)
        add(engine, "thief", self.theirs, f"{aliases},free", labels, **more)
        await becomes(lambda: self.by("free.localhost"), "theirs")

    def told(self, container: str = "thief") -> str:
        """Return what the owner of a container is told."""
        problems = self.served.daemon.problems()
        return "\n".join(str(problem) for problem in problems if problem.container == container)


def add(
    engine: FakeEngine, name: str, server: Target, aliases: str, labels: dict[str, str] | None = None, **more: Any
) -> None:
    own = {"proxy.aliases": aliases, "proxy.*.port": str(server.port), **(labels or {})}
    if aliases.endswith(",free") and LINK in own:  # the free name is in no pool
        names = aliases.split(",")
        link = own.pop(LINK)
        own |= {f"proxy.#{number}.load_balance.link": link for number in range(1, len(names))}
    engine.add(name, networks=(), ports=(f"{server.port}:{server.port}",), labels=own, **more)


@asynccontextmanager
async def arena(folder: Path, *before: Any, flags: Flags | None = None, **victim: Any) -> AsyncIterator[Arena]:
    """Run a gateway with the victim's container: ``victim`` has its ``aliases`` and ``labels``."""
    async with target("mine") as mine, target("theirs") as theirs, FakeEngine() as engine:
        add(engine, "shop", mine, victim.pop("aliases", "shop"), created=1_000, **victim)
        for each in before:
            each(engine, mine, theirs)
        async with serving(flags or of(engine), folder) as served:
            yield Arena(served, engine, mine, theirs)


@pytest.mark.parametrize("spelling", ["shop.localhost", "SHOP.localhost", "Shop.LOCALHOST", "shop.localhost."])
async def test_a_newcomer_does_not_take_a_host_by_naming_it_in_full(spelling: str, tmp_path: Path) -> None:
    async with arena(tmp_path) as it:
        await it.intrude(spelling)
        for host in ("shop.localhost", "SHOP.localhost", "shop.localhost.", "shop"):
            assert await it.by(host) == "mine"
        assert "shop" in it.told()


async def test_a_newcomer_does_not_take_an_international_name_in_another_spelling(tmp_path: Path) -> None:
    async with arena(tmp_path, aliases="xn--mnchen-3ya.localhost") as it:
        await it.intrude("XN--MNCHEN-3YA.localhost,münchen.localhost,xn--mnchen-3ya.localhost.")
        for host in ("xn--mnchen-3ya.localhost", "XN--MNCHEN-3YA.localhost", "xn--mnchen-3ya.localhost."):
            assert await it.by(host) == "mine"
        assert "belongs to shop" in it.told()


async def test_a_newcomer_does_not_take_a_name_below_a_domain_of_the_gateway(tmp_path: Path) -> None:
    async with target("mine") as mine, target("theirs") as theirs, FakeEngine() as engine:
        (tmp_path / "pilotage.yml").write_text(configured(engine, more="match_domains: [localhost, example.com]"))
        add(engine, "shop", mine, "shop", created=1_000)
        flags = Flags(choice=EngineChoice(config=str(tmp_path / "pilotage.yml")))
        async with serving(flags, tmp_path) as served:
            it = Arena(served, engine, mine, theirs)
            await it.intrude("shop.example.com,shop.elsewhere.org")
            assert await it.by("shop.example.com") == "mine"
            assert await it.by("shop.elsewhere.org") == "theirs"  # the short alias does not claim it
            assert "host 'shop.example.com' belongs to shop" in it.told()


async def test_a_newcomer_neither_joins_nor_leads_the_pool_of_another_project(tmp_path: Path) -> None:
    async with arena(tmp_path, aliases="zebra", labels={LINK: "pool", **compose("one")}) as it:
        guard = {"proxy.#1.middlewares.cidr_whitelist": "{allow: [10.0.0.0/8]}"}
        await it.intrude("aaa", {LINK: "pool", **guard, **compose("two")})
        assert await it.answered("pool.localhost") == {"mine"}
        assert "cannot join the pool 'pool' of shop" in it.told()
        assert "{who: {engine: local, project: two, service: web}, may: {pools: [pool]}}" in it.told()
        assert not it.told("shop")


async def test_the_rule_that_the_problem_prints_admits_a_container_to_a_pool(tmp_path: Path) -> None:
    file = tmp_path / "pilotage.yml"
    async with target("mine") as mine, target("theirs") as theirs, FakeEngine() as engine:
        file.write_text(configured(engine))
        add(engine, "shop", mine, "zebra", {LINK: "pool", **compose("one")}, created=1_000)
        async with serving(Flags(choice=EngineChoice(config=str(file))), tmp_path) as served:
            it = Arena(served, engine, mine, theirs)
            weight = {"proxy.#1.load_balance.weight": "10000"}
            await it.intrude("aaa", {LINK: "pool", **weight, **compose("two")})
            assert await it.answered("pool.localhost") == {"mine"}
            rule = it.told().partition("add to policy.rules: ")[2]
            file.write_text(configured(engine, more=f"policy: {{rules: [{rule}]}}"))
            it.served.daemon.reload()
            await becomes(lambda: it.answered("pool.localhost"), {"mine", "theirs"})
            assert it.table.pools() == {"pool": ("zebra", "aaa")}
            assert not it.told("shop")


async def test_the_oldest_member_of_a_pool_leads_it_and_stays(tmp_path: Path) -> None:
    async with arena(tmp_path, aliases="zebra", labels={LINK: "pool", **compose("one")}) as it:
        guard = {"proxy.#1.middlewares.cidr_whitelist": "{allow: [10.0.0.0/8]}"}
        await it.intrude("aaa", {LINK: "pool", **guard, **compose("one", "other")})
        assert await it.answered("pool.localhost") == {"mine"}
        assert it.table.pools() == {"pool": ("zebra", "aaa")}
        assert not it.told("shop")


async def test_a_newcomer_does_not_take_a_pool_by_being_named_like_it(tmp_path: Path) -> None:
    async with arena(tmp_path, aliases="zebra", labels={LINK: "pool"}) as it:
        await it.intrude("pool,pool.localhost")
        assert await it.answered("pool.localhost") == {"mine"}
        assert "host 'pool' belongs to the pool of shop" in it.told()
        assert "host 'pool.localhost' belongs to the pool of shop" in it.told() or "belongs to shop" in it.told()


async def test_a_newcomer_does_not_take_a_host_by_naming_a_pool_like_it(tmp_path: Path) -> None:
    async with arena(tmp_path) as it:
        await it.intrude("other", {LINK: "SHOP"})
        assert await it.answered("shop.localhost") == {"mine"}
        assert "host 'shop' belongs to shop" in it.told()


async def test_a_wildcard_takes_no_host_and_nobody_takes_the_wildcard(tmp_path: Path) -> None:
    async with arena(tmp_path, aliases="*.example.com,shop.example.org") as it:
        await it.intrude("*.example.org,*.example.com")
        assert await it.by("anything.example.com") == "mine"
        assert await it.by("shop.example.org") == "mine"
        assert await it.by("another.example.org") == "theirs"
        assert "alias '*.example.com' belongs to shop" in it.told()


@pytest.mark.parametrize("link", [False, True], ids=["alias", "pool"])
async def test_nobody_takes_a_wildcard_or_every_free_host_by_its_name_within_the_gateway(
    link: bool, tmp_path: Path
) -> None:
    names = ("__any__.example.com", "__any__")
    async with arena(tmp_path, aliases="*.example.com") as it:
        if link:
            await it.intrude("one", {LINK: names[0]})
        else:
            await it.intrude(",".join(names))
        assert await it.by("anything.example.com") == "mine"
        assert await it.by("unknown.example.org") == "404"
        assert "no client can request the host '__any__" in it.told()


async def test_a_full_name_below_a_wildcard_belongs_to_the_container_that_names_it(tmp_path: Path) -> None:
    async with arena(tmp_path, aliases="*.example.com") as it:
        await it.intrude("free.example.com")
        assert await it.by("free.example.com") == "theirs"
        assert await it.by("anything.example.com") == "mine"


@asynccontextmanager
async def two_engines(folder: Path) -> AsyncIterator[tuple[Arena, FakeEngine, Path]]:
    """Run a gateway with the victim's container on the first engine, and a second, hostile engine."""
    async with FakeEngine() as hostile, target("mine") as mine, target("theirs") as theirs, FakeEngine() as engine:
        add(engine, "shop", mine, "shop", compose("one"), created=2_000_000_000)
        file = folder / "pilotage.yml"
        file.write_text(configured(engine, hostile))
        async with serving(Flags(choice=EngineChoice(config=str(file))), folder) as served:
            yield Arena(served, engine, mine, theirs), hostile, file


async def test_an_engine_cannot_win_with_an_invented_age(tmp_path: Path) -> None:
    async with two_engines(tmp_path) as (it, hostile, _):
        await it.intrude("shop,shop.localhost", created=1, engine=hostile)
        assert await it.by("shop.localhost") == "mine"
        assert "belongs to engine0/shop, which had it first" in it.told()


async def test_at_the_start_the_engine_that_comes_first_wins_whatever_the_ages(tmp_path: Path) -> None:
    async with FakeEngine() as hostile, target("mine") as mine, target("theirs") as theirs, FakeEngine() as engine:
        add(engine, "shop", mine, "shop", created=2_000_000_000)
        add(hostile, "thief", theirs, "shop,shop.localhost,free", created=1)
        (tmp_path / "pilotage.yml").write_text(configured(engine, hostile))
        async with serving(Flags(choice=EngineChoice(config=str(tmp_path / "pilotage.yml"))), tmp_path) as served:
            it = Arena(served, engine, mine, theirs)
            assert (await it.by("shop.localhost"), await it.by("free.localhost")) == ("mine", "theirs")
            assert "belongs to engine0/shop, whose engine comes first" in it.told()


async def test_another_engine_joins_neither_the_replicas_nor_the_pool_of_a_service(tmp_path: Path) -> None:
    async with two_engines(tmp_path) as (it, hostile, _):
        add(it.engine, "member", it.mine, "m1", {LINK: "pool", **compose("one", "m")})
        await it.served.answers("pool.localhost")
        add(hostile, "joiner", it.theirs, "m2", {LINK: "pool", **compose("one", "m")})
        await it.intrude("shop", compose("one"), engine=hostile)
        await until(lambda: "cannot join the pool" in it.told("joiner"))
        assert await it.answered("shop.localhost") == {"mine"}
        assert await it.answered("pool.localhost") == {"mine"}


async def test_a_name_in_force_stays_over_a_lost_engine_and_a_reload(tmp_path: Path) -> None:
    async with two_engines(tmp_path) as (it, hostile, file):
        await it.intrude("shop", created=1, engine=hostile)
        it.engine.crash()
        await until(lambda: it.table.engines["engine0"].state == "stale")
        assert await it.by("shop.localhost") == "mine"
        await it.engine.recover()
        await until(lambda: it.table.engines["engine0"].state == "live")
        assert await it.by("shop.localhost") == "mine"
        lines = file.read_text().splitlines()
        file.write_text("\n".join([*lines[:2], *lines[:1:-1]]))  # the hostile engine comes first now
        it.served.daemon.reload()
        await until(lambda: it.table.engine_order == ("engine1", "engine0"))
        assert await it.by("shop.localhost") == "mine"


async def test_a_container_that_restarts_gets_its_name_back(tmp_path: Path) -> None:
    async with arena(tmp_path) as it:
        await it.intrude("shop,shop.localhost")
        it.engine.stop("shop")
        await until(lambda: it.table.routes["shop"].container == "thief")
        it.engine.start("shop")
        await until(lambda: it.table.routes["shop"].container == "shop")
        await it.served.daemon.ads.wait_for_acks()
        assert await it.answered("shop.localhost", 3) == {"mine"}


async def test_a_waiting_container_takes_over_when_the_holder_is_removed(tmp_path: Path) -> None:
    async with arena(tmp_path) as it:
        await it.intrude("shop")
        it.engine.remove("shop")
        await becomes(lambda: it.by("shop.localhost"), "theirs")
        assert not it.told()


async def test_whoever_starts_containers_on_an_engine_can_join_replicas_there(tmp_path: Path) -> None:
    """The limit: Compose's labels are text, and anybody on the same engine can write them."""
    async with arena(tmp_path, labels=compose("one")) as it:
        add(it.engine, "forged", it.theirs, "shop", compose("one"))
        await becomes(lambda: it.answered("shop.localhost"), {"mine", "theirs"})
