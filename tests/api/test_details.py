from __future__ import annotations

from pilotage.api.details import route_detail
from pilotage.core.problems import Problem
from pilotage.table.traffic import RouteTraffic
from tests.support.api_server import serving


async def test_there_is_no_detail_of_an_unknown_route() -> None:
    async with serving() as caller:
        assert await route_detail(caller.source, "wep") is None


async def test_problems_of_the_route_and_of_its_container_are_listed_once() -> None:
    async with serving() as caller:
        rejected = Problem(message="rejected by Envoy", route="web", provider="local", container="web")
        whole = Problem(message="about the container", provider="local", container="web")
        other = Problem(message="about another container", provider="local", container="db")
        caller.source.found = (rejected, rejected, whole, other)
        detail = await route_detail(caller.source, "web")
        assert detail is not None
        messages = [problem.message for problem in detail.problems]
        assert messages == ["unknown field", "rejected by Envoy", "about the container"]


async def test_other_aliases_of_a_container_with_the_name_of_the_route_are_left_out() -> None:
    async with serving() as caller:
        caller.engine.add("two", labels={"proxy.aliases": "two, three", "proxy.*.port": "80"})
        async for update in caller.source.discovery:
            if "three" in update.new.routes:
                break
        detail = await route_detail(caller.source, "two")
        assert detail is not None
        (container,) = detail.explanation.containers
        assert [route.alias for route in container.routes] == ["two"]


async def test_the_requests_of_a_pool_count_for_its_members() -> None:
    async with serving() as caller:
        caller.engine.add("one", labels={"proxy.one": "port: 80\nload_balance: {link: all}"})
        async for update in caller.source.discovery:
            if "one" in update.new.routes:
                break
        caller.source.counted = {"all": RouteTraffic(requests=3)}
        detail = await route_detail(caller.source, "one")
        assert detail is not None
        assert detail.traffic is not None
        assert detail.traffic.requests == 3
