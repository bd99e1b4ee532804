"""One host, one owner: alias, full name, pool and their order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from pilotage import Endpoint, Route
from pilotage.policy import Policy
from pilotage.policy.claims import PolicyRule
from pilotage.routes.schema import LoadBalance, RouteSettings
from pilotage.table.hosts import HostClaims, HostResolution, HostRules, resolve_host, route_claimant
from pilotage.table.precedence import Ranking, holder_of
from tests.support.claims import claim, static

if TYPE_CHECKING:
    from collections.abc import Iterable

RULES = HostRules(ranking=Ranking(["local", "far"]))


def member(name: str, created: int = 1, *, project: str = "", link: str = "shop", **fields: Any) -> Route:
    """A route in a pool, whose alias is the name of its container."""
    fields.setdefault("service", (fields.get("provider", "local"), project, name) if project else ())
    settings = RouteSettings(load_balance=LoadBalance(link=link))
    return claim(name, created, **({"alias": name, "settings": settings} | fields))


def leaving(route: Route) -> dict[str, Any]:
    return {"endpoints": (Endpoint(route.host, 80, route.container, route.container_id, "draining"),)}


def resolve(rules: HostRules = RULES, name: str = "shop", **claims: Any) -> HostResolution:
    return resolve_host(HostClaims(name=name, **claims), rules)


def aliases(routes: Iterable[Route]) -> list[str]:
    return [route.alias for route in routes]


def test_nobody_has_a_host_that_nobody_claims() -> None:
    assert resolve() == HostResolution()


def test_the_oldest_member_leads_a_pool_whatever_the_aliases() -> None:
    found = resolve(pooled=(member("a", 2), member("z", 1)))
    assert (found.kind, aliases(found.routes), found.refused) == ("pool", ["z", "a"], {})


def test_a_member_in_force_leads_before_an_older_one() -> None:
    first = member("first", 2)
    assert aliases(resolve(pooled=(member("old", 1), first), held=(holder_of(first),)).routes) == ["first", "old"]


def test_a_sleeping_member_does_not_lead() -> None:
    assert aliases(resolve(pooled=(member("asleep", 1, endpoints=()), member("awake", 2))).routes) == [
        "awake",
        "asleep",
    ]


def test_a_container_of_another_project_joins_no_pool() -> None:
    found = resolve(pooled=(member("one", 1, project="shop"), member("two", 2, project="evil")))
    assert aliases(found.routes) == ["one"]
    problem = found.refused["two"]
    assert problem is not None
    assert (problem.container, problem.route, problem.path) == ("two", "two", "load_balance.link")
    assert (problem.provider, problem.file) == ("local", "")
    assert "cannot join the pool 'shop' of one" in problem.message
    assert (
        "add to policy.rules: {who: {engine: local, project: evil, service: two}, may: {pools: [shop]}}" in problem.hint
    )


def test_a_container_of_another_engine_joins_no_pool() -> None:
    found = resolve(pooled=(member("one", 1), member("two", 2, provider="far")))
    assert aliases(found.routes) == ["one"]
    problem = found.refused["two"]
    assert problem is not None
    assert "of local/one" in problem.message


def test_containers_without_a_project_share_a_pool_of_their_engine_but_not_that_of_a_project() -> None:
    assert len(resolve(pooled=(member("one", 1), member("two", 2))).routes) == 2
    assert aliases(resolve(pooled=(member("one", 1, project="shop"), member("two", 2))).routes) == ["one"]


def test_a_policy_rule_admits_a_container_of_another_project() -> None:
    rule = PolicyRule(engine=("far",), pools=("shop",))
    rules = HostRules(ranking=RULES.ranking, policy=Policy(rules=(rule,)))
    found = resolve(rules, pooled=(member("one", 2), member("two", 1, provider="far")))
    assert (aliases(found.routes), found.refused) == (["one", "two"], {})


def test_a_refusal_by_a_rule_says_which() -> None:
    rules = HostRules(ranking=RULES.ranking, policy=Policy(rules=(PolicyRule(number=7, engine=("far",), pools=()),)))
    problem = resolve(rules, pooled=(member("one"), member("two", provider="far"))).refused["two"]
    assert problem is not None
    assert "rule 7" in problem.message


def test_the_rule_in_a_hint_quotes_untrusted_names() -> None:
    problem = resolve(pooled=(member("one"), member("two", project='x"}, may: nothing'))).refused["two"]
    assert problem is not None
    assert r'project: "x\"}, may: nothing"' in problem.hint
    for glob in ("*", "a?", "{{engine}}"):
        problem = resolve(pooled=(member("one"), member("two", project=glob))).refused["two"]
        assert problem is not None
        assert problem.hint == "choose another pool"


def test_a_rule_that_says_nothing_about_pools_is_named_in_the_hint() -> None:
    rules = HostRules(ranking=RULES.ranking, policy=Policy(rules=(PolicyRule(number=7, hosts=("**",)),)))
    problem = resolve(rules, pooled=(member("one"), member("two", provider="far"))).refused["two"]
    assert problem is not None
    assert problem.hint == "choose another pool, or add pools: [shop] to what rule 7 allows"


def test_a_rule_without_pools_separates_containers_without_a_project_but_not_the_routes_of_one() -> None:
    rules = HostRules(ranking=RULES.ranking, policy=Policy(rules=(PolicyRule(pools=()),)))
    one = member("one", 1)
    also = member("also", 1, container=one.container, container_id=one.container_id)
    found = resolve(rules, pooled=(one, also, member("two", 2)))
    assert set(aliases(found.routes)) == {"one", "also"}
    assert set(found.refused) == {"two"}


def test_a_file_may_join_any_pool_and_leads_it() -> None:
    nas = static("own.yml", settings=RouteSettings(load_balance=LoadBalance(link="shop")))
    found = resolve(pooled=(nas,))
    assert (found.kind, found.routes) == ("pool", (nas,))
    assert set(resolve(pooled=(member("one"), nas)).refused) == {"one"}
    assert route_claimant(nas).engine == "own.yml"


def test_the_problem_of_a_route_from_a_file_names_the_file() -> None:
    pool = RouteSettings(load_balance=LoadBalance(link="app"))
    holder = msgspec.structs.replace(static("first.yml", settings=pool), alias="nas")
    found = resolve(name="app", route=static("own.yml"), pooled=(holder,), held=(holder_of(holder),))
    problem = found.refused["app"]
    assert problem is not None
    assert (problem.provider, problem.file, problem.path) == ("", "own.yml", "")


def test_a_pool_keeps_its_name_from_a_newer_alias_and_an_older_alias_from_a_pool() -> None:
    pooled = (member("a", 2), member("b", 3))
    newer = resolve(route=claim("new", 4, alias="shop"), pooled=pooled)
    assert (newer.kind, set(newer.refused)) == ("pool", {"shop"})
    problem = newer.refused["shop"]
    assert problem is not None
    assert "host 'shop' belongs to the pool of a, which is older" in problem.message
    older = resolve(route=claim("old", 1, alias="shop"), pooled=pooled)
    assert (older.kind, set(older.refused)) == ("route", {"a", "b"})
    refusal = older.refused["a"]
    assert refusal is not None
    assert "host 'shop' belongs to old, which is older" in refusal.message


def full(name: str, created: int, **fields: Any) -> Route:
    return claim(name, created, alias="shop.localhost", **fields)


def test_a_full_name_below_a_short_alias_belongs_to_the_first_of_both() -> None:
    above = (claim("shop", 2, alias="shop"),)
    newer = resolve(name="shop.localhost", route=full("thief", 3), above=above)
    assert (newer.kind, set(newer.refused)) == ("above", {"shop.localhost"})
    problem = newer.refused["shop.localhost"]
    assert problem is not None
    assert "belongs to shop, whose alias 'shop' answers below this domain, too, and which is older" in problem.message
    assert "match_domains" in problem.hint
    older = resolve(name="shop.localhost", route=full("first", 1), above=above)
    assert (older.kind, older.refused) == ("route", {})


def test_a_container_may_name_in_full_what_its_own_alias_covers() -> None:
    shop = claim("shop", 2, alias="shop")
    assert resolve(name="shop.localhost", route=full("shop", 2), above=(shop,)).kind == "route"


def test_a_pool_with_a_full_name_competes_with_the_short_alias() -> None:
    pooled = (member("a", 3, link="shop.localhost"),)
    found = resolve(name="shop.localhost", pooled=pooled, above=(claim("shop", 2, alias="shop"),))
    assert (found.kind, set(found.refused)) == ("above", {"a"})


def test_another_takes_over_when_the_holder_drains_but_not_the_short_alias() -> None:
    old, new = member("old", 1, project="one"), member("new", 2, project="two")
    draining = member("old", 1, project="one", **leaving(old))
    assert aliases(resolve(pooled=(draining, new)).routes) == ["new"]
    assert resolve(pooled=(draining, new)).refused == {"old": None}
    assert resolve(route=claim("direct", 3, alias="shop"), pooled=(draining,)).kind == "route"
    named = full("named", 1)
    restarting = full("named", 1, **leaving(named))
    assert resolve(name="shop.localhost", route=restarting, above=(claim("shop", 2, alias="shop"),)).kind == "route"


def test_a_draining_pool_keeps_its_name_while_no_other_is_ready() -> None:
    old = member("old", 1, project="one")
    draining = member("old", 1, project="one", **leaving(old))
    waiting = member("new", 2, project="two", endpoints=(Endpoint("10.0.0.2", 80, "new", "id-new", "waiting"),))
    assert aliases(resolve(pooled=(draining, waiting)).routes) == ["old"]


def test_thousands_of_refused_containers_cost_one_comparison_each() -> None:
    asked = 0

    class Counting(Policy, frozen=True):
        def may_join_pool(self, claimant: Any, pool: str, leader: Any) -> Any:
            nonlocal asked
            asked += 1
            return super().may_join_pool(claimant, pool, leader)

    pooled = tuple(member(f"m{number:04}", number + 1, project=f"p{number}") for number in range(1000))
    found = resolve(HostRules(ranking=RULES.ranking, policy=Counting()), pooled=pooled)
    assert (aliases(found.routes), len(found.refused)) == (["m0000"], 999)
    assert asked <= 2 * 999


def test_a_service_may_name_in_full_what_the_alias_of_its_replicas_covers() -> None:
    service = ("local", "", "web")
    above = (claim("web-1", 1, alias="shop", service=service),)
    assert resolve(name="shop.localhost", route=full("web-2", 2, service=service), above=above).kind == "route"


def test_of_many_draining_pools_only_eight_are_waited_for() -> None:
    draining = []
    for number in range(8):
        leader = member(f"m{number}", number + 1, project=f"p{number}")
        draining.append(member(f"m{number}", number + 1, project=f"p{number}", **leaving(leader)))
    ready = member("ready", 9, project="ready")
    assert aliases(resolve(pooled=(*draining[1:], ready)).routes) == ["ready"]
    assert aliases(resolve(pooled=(*draining, ready)).routes) == ["m0"]
