"""Claims come and go in any order: the outcome, and who keeps what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from pilotage import Problem
from pilotage.policy import Policy
from pilotage.routes.build import Built
from pilotage.routes.exclusion import ExclusionReason
from pilotage.table.names import Names
from tests.support.claims import claim, excluded, linked, owner_of, put, static, stopped, store_of

if TYPE_CHECKING:
    import pytest

    from pilotage import Route
    from pilotage.table.store import RouteStore


def served(store: RouteStore) -> dict[str, str]:
    """Alias -> container that serves it."""
    return {alias: route.container for alias, route in store.table.routes.items() if not route.excluded}


def test_many_names_are_resolved_in_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pilotage.table.names._BATCH", 2)
    names = Names()
    for alias in "abcde":
        names.set_claims(("local", alias), {alias: claim(alias, alias=alias)})
    assert len(list(names.resolve())) == 2 + 2 + 1  # after each second alias, after each second result, at the end


# ---- full names, short aliases, pools, wildcards


def test_a_newcomer_does_not_take_a_host_by_naming_it_in_full() -> None:
    store = store_of(claim("shop", 1, alias="shop"), claim("thief", 2, alias="shop.localhost"))
    assert served(store) == {"shop": "shop"}
    loser = store.table.routes["shop.localhost"]
    assert (loser.excluded_reason, loser.endpoints, loser.health_check) == (ExclusionReason.TAKEN, (), False)
    (problem,) = store.table.problems
    assert (problem.container, problem.route) == ("thief", "shop.localhost")
    assert "belongs to shop" in problem.message


def test_an_older_full_name_stays_and_the_short_alias_has_the_rest() -> None:
    store = store_of(claim("first", 1, alias="shop.localhost"), claim("shop", 2, alias="shop"))
    assert served(store) == {"shop": "shop", "shop.localhost": "first"}
    (problem,) = store.table.problems_by_key["", "shop"]
    assert (problem.container, problem.severity) == ("shop", "warning")
    assert (
        problem.message == "alias 'shop' does not answer for full names that belong to others: shop.localhost (first)"
    )
    store.set_routes(("local", "id-first"), None)
    assert store.commit().table.problems == ()


def test_a_pool_that_disappears_takes_the_problem_with_its_full_names_along() -> None:
    store = store_of(claim("a", 1, alias="shop.localhost"), linked("b", "b", 2))
    assert ("", "shop") in store.table.problems_by_key
    store.set_routes(("local", "id-b"), None)
    assert store.commit().table.problems == ()


def test_of_many_full_names_three_are_listed() -> None:
    names = [claim(f"c{n}", 1, alias=f"www.site{n}.com") for n in range(9)]
    store = store_of(*names, claim("www", 2, alias="www"))
    (problem,) = store.table.problems
    assert problem.message.endswith("www.site0.com (c0), www.site1.com (c1), www.site2.com (c2) and 6 other names")


def test_domains_limit_what_a_short_alias_answers_for() -> None:
    claims = claim("shop", 1, alias="shop"), claim("a", 2, alias="shop.a.com"), claim("b", 2, alias="shop.b.com")
    store = store_of(*claims, domains=("a.com",))
    assert served(store) == {"shop": "shop", "shop.b.com": "b"}
    store.configure(policy=Policy(domains=("b.com",)))
    store.commit()
    assert served(store) == {"shop": "shop", "shop.a.com": "a"}
    store.configure(policy=Policy())
    store.commit()
    assert served(store) == {"shop": "shop"}


def test_a_wildcard_and_a_name_below_it_have_an_owner_each() -> None:
    store = store_of(claim("all", 1, alias="*.example.com"), claim("app", 2, alias="app.example.com"))
    put(store, claim("other", 3, alias="*.example.com"))
    assert served(store) == {"*.example.com": "all", "app.example.com": "app"}
    (problem,) = store.table.problems
    assert (problem.container, problem.route) == ("other", "*.example.com")


def test_a_wildcard_takes_no_name_from_anyone() -> None:
    store = store_of(claim("app", 2, alias="app.example.com"), claim("all", 1, alias="*.example.com"), keep=True)
    assert served(store) == {"*.example.com": "all", "app.example.com": "app"}
    assert store.table.problems == ()


def test_names_that_clients_cannot_request_claim_no_host() -> None:
    for spelling in ("shop.localhost.", "shop..localhost", "\u017fhop.localhost"):
        store = store_of(claim("shop", 1, alias="shop"), claim("odd", 2, alias=spelling))
        assert served(store) == {"shop": "shop", spelling: "odd"}  # the gateway refuses the second one
    store = store_of(linked("a", "a", link="shop."), claim("shop", 2, alias="shop"))
    assert (served(store), dict(store.table.pool_members)) == ({"a": "a", "shop": "shop"}, {})


def test_a_stream_claims_no_host() -> None:
    store = store_of(claim("db", 1, alias="shop", scheme="tcp"), claim("web", 2, alias="shop.localhost"))
    assert served(store) == {"shop": "db", "shop.localhost": "web"}


def test_a_member_may_have_the_name_of_its_pool() -> None:
    for members in ([linked("shop", "one")], [linked("shop", "one"), linked("b", "two", 2)]):
        for keep in (False, True):
            store = put(store_of(keep=keep), *members)
            assert served(store) == {route.alias: route.container for route in members}
            assert dict(store.table.pool_members) == {"shop": tuple(route.alias for route in members)}
            assert store.table.problems == ()


def test_an_alias_that_was_refused_under_another_host_answers_for_its_own() -> None:
    store = store_of(claim("b", 2, alias="web.a.com"), linked("web", "far", provider="far", link="web.a.com"))
    put(store, claim("a", 1, alias="web"))
    assert served(store) == {"web": "a"}


def test_a_newcomer_neither_leads_a_pool_nor_throws_a_member_out() -> None:
    store = store_of(linked("m", "old", 1), keep=True)
    put(store, linked("a", "new", 0), linked("b", "stranger", 2, service=("local", "evil", "x")))
    assert dict(store.table.pool_members) == {"shop": ("m", "a")}
    assert store.table.routes["b"].excluded_reason == ExclusionReason.TAKEN


def test_a_newcomer_does_not_take_a_pool_by_being_named_like_it() -> None:
    store = store_of(linked("m", "old", 5), keep=True)
    put(store, claim("shop", 1, alias="shop"))
    assert served(store) == {"m": "old"}
    assert dict(store.table.pool_members) == {"shop": ("m",)}


def test_a_route_that_leaves_a_pool_for_a_contested_alias_is_judged_by_its_alias() -> None:
    store = store_of(claim("x", 1, alias="x"), linked("s", "old", 1), keep=True)
    put(store, linked("x.localhost", "new", 3, service=("local", "evil", "x")))
    assert store.table.routes["x.localhost"].excluded
    put(store, claim("new", 3, alias="x.localhost", service=("local", "evil", "x")))
    assert store.table.routes["x.localhost"].excluded
    (problem,) = store.table.problems
    assert "belongs to x" in problem.message
    put(store, linked("x.localhost", "new", 3, link="free"))
    assert not store.table.routes["x.localhost"].excluded
    assert store.table.problems == ()


def test_a_route_that_leaves_one_refusal_for_another_keeps_the_new_one() -> None:
    store = store_of(linked("m", "owner", link="x"), linked("s", "old"), keep=True)
    stranger: dict[str, Any] = {"service": ("local", "evil", "x")}
    put(store, linked("x", "new", 3, **stranger))
    assert store.table.routes["x"].excluded
    put(store, claim("new", 3, alias="x", **stranger))
    assert store.table.routes["x"].excluded
    (problem,) = store.table.problems
    assert "host 'x' belongs to the pool of owner" in problem.message


def test_the_warning_about_full_names_of_others_is_for_the_leader_of_the_pool() -> None:
    members = linked("a", "first", 2), linked("b", "second", 3)
    store = store_of(claim("own", 1, alias="shop.localhost"), *members)
    assert [problem.container for problem in store.table.problems] == ["first"]
    store.set_routes(owner_of(members[0]), None)
    store.commit()
    assert [problem.container for problem in store.table.problems] == ["second"]


# ---- history


def test_the_claim_in_force_stays_although_an_engine_that_comes_first_has_an_older_one() -> None:
    there = claim("there", 9, provider="far")
    store = store_of(there, keep=True)
    put(store, claim("new", 1, provider="local"))
    assert served(store) == {"app": "there"}
    (problem,) = store.table.problems
    assert "belongs to far/there, which had it first" in problem.message
    # a fresh start decides by engine
    assert served(store_of(there, claim("new", 1, provider="local"))) == {"app": "new"}


def test_an_engine_cannot_win_by_the_age_of_its_containers() -> None:
    assert served(store_of(claim("web", 2_000_000_000), claim("forged", 1, provider="far"))) == {"app": "web"}


def test_a_holder_that_restarts_gets_its_name_back() -> None:
    web, other = claim("web", 5), claim("other", 1)
    store = store_of(web, keep=True)
    put(store, other)
    put(store, stopped(web))
    assert served(store) == {"app": "other"}
    put(store, claim("third", 0))
    assert served(store) == {"app": "other"}  # who stands in keeps it from others
    put(store, web)
    assert served(store) == {"app": "web"}
    store.set_routes(owner_of(web), None)
    store.commit()
    assert served(store) == {"app": "other"}
    put(store, web)
    assert served(store) == {"app": "other"}  # a new container with the same claim is a newcomer


def in_state(state: Any, route: Route) -> Route:
    (endpoint,) = route.endpoints
    return msgspec.structs.replace(route, endpoints=(msgspec.structs.replace(endpoint, state=state),))


def test_who_stands_in_serves_until_the_holder_is_healthy_again() -> None:
    for web, other, newcomer in (
        (claim("web", 5), claim("other", 1), claim("third", 0)),
        (linked("m", "web", 5), claim("other", 1, alias="shop"), claim("third", 0, alias="shop")),
    ):
        store = store_of(web, keep=True)
        put(store, other)
        assert set(served(store).values()) == {"web"}
        put(store, in_state("waiting", web))
        assert set(served(store).values()) == {"web"}  # nobody has stood in so far
        put(store, in_state("draining", web))
        assert set(served(store).values()) == {"other"}
        put(store, newcomer)
        put(store, in_state("waiting", web))
        assert set(served(store).values()) == {"other"}
        put(store, in_state("ready", web))
        assert set(served(store).values()) == {"web"}


def test_a_service_keeps_its_name_when_its_containers_are_replaced() -> None:
    service = ("local", "shop", "web")
    first, second = claim("web-1", 5, service=service), claim("web-2", 9, service=service)
    store = store_of(first, keep=True)
    put(store, claim("other", 1), stopped(second))
    store.set_routes(owner_of(first), None)
    store.commit()
    assert served(store) == {"app": "other"}
    put(store, second)
    assert served(store) == {"app": "web-2"}


def test_a_host_is_kept_like_an_alias() -> None:
    shop, thief = claim("shop", 5, alias="shop"), claim("thief", 1, alias="shop.localhost")
    store = store_of(shop, keep=True)
    put(store, thief)
    assert served(store) == {"shop": "shop"}
    put(store, stopped(shop))
    assert served(store) == {"shop.localhost": "thief"}
    put(store, shop)
    assert served(store) == {"shop": "shop"}


def test_holders_stay_when_their_engine_gets_another_name() -> None:
    web, other = claim("web", 5), claim("other", 1, provider="far")
    store = store_of(web, keep=True)
    put(store, other)
    renamed = msgspec.structs.replace(web, provider="new name")
    put(store, renamed)
    store.rename_engine("local", "new name")
    store.set_routes(owner_of(web), None)
    store.commit()
    assert served(store) == {"app": "web"}


def test_a_file_wins_over_what_is_in_force() -> None:
    store = store_of(claim("web", 1), keep=True)
    put(store, static())
    assert store.table.routes["app"].is_static


def test_nothing_is_kept_before_clients_are_served() -> None:
    store = store_of(claim("far", 1, provider="far"))
    put(store, claim("near", 9))
    assert served(store) == {"app": "near"}


def test_a_name_is_forgotten_with_its_last_claim() -> None:
    routes = (claim("web", 1, alias="shop"), claim("a", 1, alias="shop.a.com"), linked("m", "m"), linked("n", "n", 3))
    store = store_of(*routes, keep=True)
    put(store, claim("b", 9, alias="shop.b.com"), static())
    for route in (*routes, claim("b", 9), static()):
        store.set_routes(owner_of(route), None)
    store.commit()
    assert (dict(store.table.routes), store.table.problems, dict(store.table.pool_members)) == ({}, (), {})
    left = {name: value for name, value in vars(store._names).items() if name not in ("_rules", "_domains", "_keeps")}
    assert left == {name: {} for name in left}


# ---- cost


def test_a_change_resolves_only_the_names_that_it_touches() -> None:
    routes = [claim(f"c{n}", 1, alias=f"app{n}") for n in range(500)]
    routes += [claim(f"w{n}", 1, alias=f"www.site{n}.com") for n in range(500)]
    store = store_of(*routes, claim("www", 0, alias="www"), keep=True)
    before = store.table
    put(store, claim("w7", 1, alias="www.site7.com", host="10.9.9.9"))
    changed = [alias for alias, route in store.table.routes.items() if before.routes[alias] is not route]
    assert changed == ["www.site7.com"]
    calls = []
    original = store._names._resolve_host

    def counted(name: str, *rest: Any) -> None:
        calls.append(name)
        original(name, *rest)

    store._names._resolve_host = counted  # type: ignore[method-assign,assignment]
    put(store, claim("w8", 1, alias="www.site8.com", host="10.9.9.9"), claim("www", 0, alias="www", host="10.9.9.8"))
    assert sorted(calls) == ["www", "www.site8.com"]


def test_an_excluded_route_says_its_own_reason_before_that_of_the_table() -> None:
    store = store_of(claim("shop", 1, alias="shop"), msgspec.structs.replace(excluded("off"), alias="shop.localhost"))
    assert store.table.routes["shop.localhost"].excluded_reason == "Container not running"
    assert isinstance(store._names, Names)


def test_a_change_of_a_pool_changes_the_aliases_of_all_its_members() -> None:
    store = store_of(linked("a", "a", 2), linked("b", "b", 3))
    store.set_routes(("local", "id-first"), Built((linked("first", "first", 1),)), "start of first")
    found = store.commit()
    assert found.table.pools() == {"shop": ("first", "a", "b")}
    assert found.aliases == dict.fromkeys(("first", "a", "b"), "start of first")
    store.set_routes(("local", "id-first"), None, "end of first")
    found = store.commit()
    assert found.table.pools() == {"shop": ("a", "b")}
    assert found.aliases == dict.fromkeys(("first", "a", "b"), "end of first")


def test_full_names_of_others_are_reported_at_the_alias_whether_a_container_or_a_file_has_it() -> None:
    message = "alias 'app' does not answer for full names that belong to others: app.localhost ({})"
    hint = "use another alias, or list your domains in match_domains"
    place: dict[str, Any] = {"hint": hint, "severity": "warning", "route": "app"}
    first = claim("first", 1, alias="app.localhost")
    store = store_of(first, claim("web", 2))
    assert store.table.problems_by_key["", "app"] == (
        Problem(message=message.format("first"), provider="local", container="web", **place),
    )
    elsewhere = msgspec.structs.replace(static("a.yml"), alias="app.localhost")
    store = store_of(elsewhere, static("own.yml"))
    assert store.table.problems_by_key["", "app"] == (
        Problem(message=message.format("the file a.yml"), file="own.yml", **place),
    )


def test_a_contested_alias_also_says_which_full_names_belong_to_others() -> None:
    store = store_of(claim("first", 1, alias="app.localhost"), claim("web", 2), claim("late", 3))
    problems = store.table.problems_by_key["", "app"]
    assert [(problem.container, problem.severity) for problem in problems] == [("late", "error"), ("web", "warning")]
