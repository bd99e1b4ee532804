from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pilotage.xds.rule_budget import RuleBudget
from pilotage.xds.rule_outcomes import route_rules
from tests.support.gateway import becomes, route, target

if TYPE_CHECKING:
    from pilotage.routes.route import Route
    from tests.xds.conftest import Envoy

MIB = 1 << 20


def ruled(alias: str, container: str = "", size: int = 100, **fields: Any) -> Route:
    """Make a route whose rules need about as many KiB as ``size``."""
    rules = f"path regex((ab){{{size}}}) {{ error 403 x }}"
    return route(alias, 1, container=container or alias, rules=rules, folders=(), **fields)


def test_the_size_grows_with_the_patterns() -> None:
    small, large = (route_rules(ruled("app", size=size)).memory for size in (5, 60))
    assert 4_000 < small < large / 2


def test_each_container_has_a_share() -> None:
    budget, number = RuleBudget(1), 0
    while not (problems := budget.apply(f"a{number}", ruled(f"a{number}", "web", 40))):
        number += 1
    assert number > 2
    assert problems[0].message.startswith("the rules of the container need more than 0.25 MiB in Envoy")
    assert "gateway.max_rule_memory" in problems[0].hint
    assert (problems[0].path, problems[0].refused) == ("rules", True)
    assert budget.apply("b", ruled("b", "other", 40)) == ()


def test_routes_wait_until_others_need_less() -> None:
    budget, number = RuleBudget(1), 0
    while not (problems := budget.apply(f"a{number}", ruled(f"a{number}", size=40))):
        number += 1
    assert problems[0].message.startswith("the rules of all containers need more than 1 MiB in Envoy")
    last = f"a{number}"
    assert (budget.refused, budget.retry()) == ({last}, set())
    budget.apply("a0", ruled("a0", size=1))
    assert budget.retry() == {last}
    assert budget.apply(last, ruled(last, size=40)) == ()
    assert budget.refused == set()
    successor = RuleBudget(1)
    successor.inherit(budget)
    assert successor.apply("new", ruled("new", size=40))
    assert successor.apply(last, ruled(last, size=40)) == ()
    budget.apply(last, None)
    assert budget.retry() == set()


async def test_a_refused_route_is_served_once_there_is_room(envoy: Envoy) -> None:
    async with target() as it, envoy(max_rule_memory=1) as gw:
        names = [f"a{number}" for number in range(60)]
        large = [ruled(name, size=40, endpoints=route(name, it.port).endpoints) for name in names]
        await gw.publish(*large)
        refused = {
            problem.route
            for found in gw.ads.snapshot.problems.values()
            for problem in found
            if "max_rule_memory" in problem.hint
        }
        assert 0 < len(refused) < 60
        one = min(refused)
        assert (await gw.ask(one)).status == 404
        await gw.publish(*(it for it in large if it.alias in refused))

        async def status() -> int:
            return (await gw.ask(one)).status

        await becomes(status, 200)
