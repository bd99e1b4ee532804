"""Nobody takes a name that somebody else holds: containers and engines against each other, through a real gateway.

Most attacks share one daemon with two engines, of which the second is hostile; each begins without containers.
"""

from __future__ import annotations

import asyncio
import json
import signal
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

import pytest
import pytest_asyncio

from pilotage.testing import FakeEngine
from tests.support.command import pilotage_serve
from tests.support.gateway import becomes, target

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.command import Command
    from tests.support.gateway import Target

pytestmark = [pytest.mark.process, pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

LINK: Final = "proxy.*.load_balance.link"
_NAMES: Final = ("shop", "thief", "member", "joiner", "forged")


def compose(project: str, service: str = "web") -> dict[str, str]:
    return {"com.docker.compose.project": project, "com.docker.compose.service": service}


class Arena:
    """A daemon, its engines, and the servers of a victim and of a stranger.

    Attributes:
        served: the daemon.
        engine: its first engine, with the victim's container.
        hostile: its second engine.
        mine: the victim's server.
        theirs: the stranger's server.

    """

    def __init__(self, served: Command, engine: FakeEngine, hostile: FakeEngine, mine: Target, theirs: Target) -> None:
        self.served = served
        self.engine = engine
        self.hostile = hostile
        self.mine = mine
        self.theirs = theirs

    async def by(self, host: str) -> str:
        """Return whose server answers for a host; the status if none does."""
        status, body = await self.served.ask(host)
        return str(json.loads(body)["by"]) if status == 200 else str(status)

    async def answered(self, host: str, times: int = 12) -> set[str]:
        return {await self.by(host) for _ in range(times)}

    async def place(self, aliases: str = "shop", labels: dict[str, str] | None = None, **more: Any) -> None:
        """Start the victim's container, and wait until it is served."""
        add(self.engine, "shop", self.mine, aliases, labels, **{"created": 1_000, **more})
        await self.holds(aliases.partition(",")[0], "shop")

    async def holds(self, alias: str, container: str) -> None:
        """Wait until a container has an alias, and the gateway serves it."""
        await becomes(lambda: self.holder(alias), container)

    async def holder(self, alias: str) -> str | None:
        route = await self.served.route(alias)
        return route["container"] if route is not None and route["endpoints"] else None

    async def intrude(self, aliases: str, labels: dict[str, str] | None = None, **more: Any) -> None:
        """Start the stranger's container, and wait until it serves a name that is free."""
        engine = more.pop("engine", self.engine)
        add(engine, "thief", self.theirs, f"{aliases},free", labels, **more)
        await becomes(lambda: self.by("free.localhost"), "theirs")

    async def told(self, container: str = "thief") -> str:
        """Return what the owner of a container is told."""
        found = (await self.served.get("/v1/problems"))["problems"]
        return "\n".join(f"{it['message']}; {it['hint']}" for it in found if it["container"] == container)

    async def pools(self) -> Any:
        return {name: it["members"] for name, it in (await self.served.get("/v1/routes"))["pools"].items()}

    async def engines(self) -> list[tuple[str, str]]:
        return [(it["name"], it["state"]) for it in (await self.served.get("/v1/engines"))["engines"]]

    def reload(self) -> None:
        self.served.process.send_signal(signal.SIGHUP)

    async def clear(self) -> None:
        """Remove all containers without telling them to stop, because requests wait for a container that is told to."""
        for engine in (self.engine, self.hostile):
            for name in _NAMES:
                with suppress(LookupError):
                    engine.die(name)
                    engine.remove(name)
        async with asyncio.timeout(60):
            while (await self.served.get("/v1/routes"))["routes"]:  # noqa: ASYNC110
                await asyncio.sleep(0.02)


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
async def arena(folder: Path, *, config: str = "", **thief: Any) -> AsyncIterator[Arena]:
    """Run a daemon; with ``thief``, both have their containers when it starts."""
    async with target("mine") as mine, target("theirs") as theirs, FakeEngine() as engine, FakeEngine() as hostile:
        if thief:
            add(engine, "shop", mine, "shop", created=2_000_000_000)
            add(hostile, "thief", theirs, **thief)
        async with pilotage_serve(folder, engine, hostile, config=config) as served:
            yield Arena(served, engine, hostile, mine, theirs)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Arena]:
    async with arena(tmp_path_factory.mktemp("names")) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module")
async def it(shared: Arena) -> AsyncIterator[Arena]:
    """The shared daemon without containers."""
    yield shared
    await shared.clear()


@pytest.mark.parametrize("spelling", ["shop.localhost", "SHOP.localhost", "Shop.LOCALHOST", "shop.localhost."])
async def test_a_newcomer_does_not_take_a_host_by_naming_it_in_full(spelling: str, it: Arena) -> None:
    await it.place()
    await it.intrude(spelling)
    for host in ("shop.localhost", "SHOP.localhost", "shop.localhost.", "shop"):
        assert await it.by(host) == "mine"
    assert "shop" in await it.told()


async def test_a_newcomer_does_not_take_an_international_name_in_another_spelling(it: Arena) -> None:
    await it.place(aliases="xn--mnchen-3ya.localhost")
    await it.intrude("XN--MNCHEN-3YA.localhost,münchen.localhost,xn--mnchen-3ya.localhost.")
    for host in ("xn--mnchen-3ya.localhost", "XN--MNCHEN-3YA.localhost", "xn--mnchen-3ya.localhost."):
        assert await it.by(host) == "mine"
    assert "belongs to shop" in await it.told()


async def test_a_newcomer_does_not_take_a_name_below_a_domain_of_the_gateway(tmp_path: Path) -> None:
    async with arena(tmp_path, config="match_domains: [localhost, example.com]") as it:
        await it.place()
        await it.intrude("shop.example.com,shop.elsewhere.org")
        assert await it.by("shop.example.com") == "mine"
        assert await it.by("shop.elsewhere.org") == "theirs"  # the short alias does not claim it
        assert "host 'shop.example.com' belongs to shop" in await it.told()


async def test_a_newcomer_neither_joins_nor_leads_the_pool_of_another_project(it: Arena) -> None:
    await it.place(aliases="zebra", labels={LINK: "pool", **compose("one")})
    guard = {"proxy.#1.middlewares.cidr_whitelist": "{allow: [10.0.0.0/8]}"}
    await it.intrude("aaa", {LINK: "pool", **guard, **compose("two")})
    assert await it.answered("pool.localhost") == {"mine"}
    assert "cannot join the pool 'pool' of shop" in await it.told()
    assert "{who: {engine: engine0, project: two, service: web}, may: {pools: [pool]}}" in await it.told()
    assert not await it.told("shop")


async def test_the_rule_that_the_problem_prints_admits_a_container_to_a_pool(tmp_path: Path) -> None:
    async with arena(tmp_path) as it:
        await it.place("zebra", {LINK: "pool", **compose("one")})
        weight = {"proxy.#1.load_balance.weight": "10000"}
        await it.intrude("aaa", {LINK: "pool", **weight, **compose("two")})
        assert await it.answered("pool.localhost") == {"mine"}
        rule = (await it.told()).partition("add to policy.rules: ")[2]
        with it.served.config.open("a") as file:
            file.write(f"\npolicy: {{rules: [{rule}]}}\n")
        it.reload()
        await becomes(lambda: it.answered("pool.localhost"), {"mine", "theirs"})
        assert await it.pools() == {"pool": ["zebra", "aaa"]}
        assert not await it.told("shop")


async def test_the_oldest_member_of_a_pool_leads_it_and_stays(it: Arena) -> None:
    await it.place(aliases="zebra", labels={LINK: "pool", **compose("one")})
    guard = {"proxy.#1.middlewares.cidr_whitelist": "{allow: [10.0.0.0/8]}"}
    await it.intrude("aaa", {LINK: "pool", **guard, **compose("one", "other")})
    assert await it.answered("pool.localhost") == {"mine"}
    assert await it.pools() == {"pool": ["zebra", "aaa"]}
    assert not await it.told("shop")


async def test_a_newcomer_does_not_take_a_pool_by_being_named_like_it(it: Arena) -> None:
    await it.place(aliases="zebra", labels={LINK: "pool"})
    await it.intrude("pool,pool.localhost")
    assert await it.answered("pool.localhost") == {"mine"}
    assert "host 'pool' belongs to the pool of shop" in await it.told()
    assert (
        "host 'pool.localhost' belongs to the pool of shop" in await it.told() or "belongs to shop" in await it.told()
    )


async def test_a_newcomer_does_not_take_a_host_by_naming_a_pool_like_it(it: Arena) -> None:
    await it.place()
    await it.intrude("other", {LINK: "SHOP"})
    assert await it.answered("shop.localhost") == {"mine"}
    assert "host 'shop' belongs to shop" in await it.told()


async def test_a_wildcard_takes_no_host_and_nobody_takes_the_wildcard(it: Arena) -> None:
    await it.place(aliases="*.example.com,shop.example.org")
    await it.intrude("*.example.org,*.example.com")
    assert await it.by("anything.example.com") == "mine"
    assert await it.by("shop.example.org") == "mine"
    assert await it.by("another.example.org") == "theirs"
    assert "alias '*.example.com' belongs to shop" in await it.told()


@pytest.mark.parametrize("link", [False, True], ids=["alias", "pool"])
async def test_nobody_takes_a_wildcard_or_every_free_host_by_its_name_within_the_gateway(link: bool, it: Arena) -> None:
    names = ("~any~.example.com", "~any~")
    await it.place("*.example.com")
    if link:
        await it.intrude("one", {LINK: names[0]})
    else:
        await it.intrude(",".join(names))
    assert await it.by("anything.example.com") == "mine"
    assert await it.by("unknown.example.org") == "404"
    assert "no client can request the host '~any~" in await it.told()


async def test_a_full_name_below_a_wildcard_belongs_to_the_container_that_names_it(it: Arena) -> None:
    await it.place(aliases="*.example.com")
    await it.intrude("free.example.com")
    assert await it.by("free.example.com") == "theirs"
    assert await it.by("anything.example.com") == "mine"


async def test_an_engine_cannot_win_with_an_invented_age(it: Arena) -> None:
    await it.place(labels=compose("one"), created=2_000_000_000)
    await it.intrude("shop,shop.localhost", created=1, engine=it.hostile)
    assert await it.by("shop.localhost") == "mine"
    assert "belongs to engine0/shop, which had it first" in await it.told()


async def test_at_the_start_the_engine_that_comes_first_wins_whatever_the_ages(tmp_path: Path) -> None:
    async with arena(tmp_path, aliases="shop,shop.localhost,free", created=1) as it:
        await becomes(lambda: it.by("free.localhost"), "theirs")
        assert await it.by("shop.localhost") == "mine"
        assert "belongs to engine0/shop, whose engine comes first" in await it.told()


async def test_another_engine_joins_neither_the_replicas_nor_the_pool_of_a_service(it: Arena) -> None:
    await it.place(labels=compose("one"))
    add(it.engine, "member", it.mine, "m1", {LINK: "pool", **compose("one", "m")})
    await becomes(lambda: it.by("pool.localhost"), "mine")
    add(it.hostile, "joiner", it.theirs, "m2", {LINK: "pool", **compose("one", "m")})
    await it.intrude("shop", compose("one"), engine=it.hostile)
    assert "cannot join the pool" in await it.told("joiner")
    assert await it.answered("shop.localhost") == {"mine"}
    assert await it.answered("pool.localhost") == {"mine"}


async def test_a_held_name_survives_a_lost_engine_and_a_reload(tmp_path: Path) -> None:
    async with arena(tmp_path) as it:
        await it.place(labels=compose("one"), created=2_000_000_000)
        await it.intrude("shop", created=1, engine=it.hostile)
        it.engine.crash()
        await becomes(it.engines, [("engine0", "stale"), ("engine1", "live")])
        assert await it.by("shop.localhost") == "mine"
        await it.engine.recover()
        await becomes(it.engines, [("engine0", "live"), ("engine1", "live")])
        assert await it.by("shop.localhost") == "mine"
        first, second = (
            f"    {name}: {engine.url}" for name, engine in (("engine0", it.engine), ("engine1", it.hostile))
        )
        it.served.config.write_text(f"providers:\n  docker:\n{second}\n{first}\n")
        it.reload()
        await becomes(it.engines, [("engine1", "live"), ("engine0", "live")])
        assert await it.by("shop.localhost") == "mine"


async def test_a_container_that_restarts_gets_its_name_back(it: Arena) -> None:
    await it.place()
    await it.intrude("shop,shop.localhost")
    it.engine.stop("shop")
    await becomes(lambda: it.by("shop.localhost"), "theirs")
    it.engine.start("shop")
    await it.holds("shop", "shop")
    await becomes(lambda: it.answered("shop.localhost", 3), {"mine"})


async def test_a_waiting_container_takes_over_when_the_holder_is_removed(it: Arena) -> None:
    await it.place()
    await it.intrude("shop")
    it.engine.remove("shop")
    await becomes(lambda: it.by("shop.localhost"), "theirs")
    assert not await it.told()


async def test_whoever_starts_containers_on_an_engine_can_join_replicas_there(it: Arena) -> None:
    """The limit: Compose's labels are text, and anybody on the same engine can write them."""
    await it.place(labels=compose("one"))
    add(it.engine, "forged", it.theirs, "shop", compose("one"))
    await becomes(lambda: it.answered("shop.localhost"), {"mine", "theirs"})
