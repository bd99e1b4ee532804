from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pilotage.policy import Policy
from pilotage.routes.build import Built
from pilotage.routes.exclusion import ExclusionReason
from pilotage.table.reserved import HeldName, ReservedNames
from pilotage.table.store import RouteStore
from tests.support.claims import claim, linked, put, static, stopped

if TYPE_CHECKING:
    from pilotage.routes.route import Route

OURS = HeldName("far", "old")
HELD = {"app": OURS, "shop": OURS, "www.example.com": OURS}


def store_of(held: dict[str, HeldName] | None = None, domains: tuple[str, ...] = ()) -> RouteStore:
    store = RouteStore()
    store.configure(engines=["local", "far"], policy=Policy(domains=domains))
    store.reserve(HELD if held is None else held, ["local", "far"])
    return store


def served(store: RouteStore) -> dict[str, str]:
    return {alias: it.provider for alias, it in store.table.routes.items() if not it.excluded}


def far(alias: str = "app", **fields: Any) -> Route:
    return claim("old", 5, alias=alias, provider="far", **fields)


def test_a_name_is_kept_for_the_engine_that_held_it_until_it_is_listed() -> None:
    store = store_of()
    put(store, claim("new"))
    store.keep_holders()
    route = store.table.routes["app"]
    assert (route.excluded_reason, route.endpoints) == (ExclusionReason.TAKEN, ())
    (problem,) = store.table.problems
    assert str(problem) == (
        "local/new: route app: 'app' belonged to far/old when pilotage last ran, and pilotage has not been able to "
        "list that engine's containers since; this route waits until it can; "
        "if the engine no longer exists, remove it from the configuration"
    )
    put(store, far())
    store.release("far")
    store.commit()
    assert served(store) == {"app": "far"}
    assert "which had it first" in str(store.table.problems)


def test_a_name_whose_holder_is_gone_is_free_once_its_engine_is_listed() -> None:
    store = store_of()
    put(store, claim("new"))
    store.keep_holders()
    put(store, far("other"))
    store.release("far")
    store.commit()
    assert served(store) == {"app": "local", "other": "far"}
    assert (store.table.problems, store.reserved) == ((), {})


@pytest.mark.parametrize(
    ("route", "domains", "kept"),
    [
        (claim(alias="other"), (), False),
        (linked("a", "new", link="app"), (), True),
        (claim(alias="app.example.com"), (), True),
        (claim(alias="app.example.com"), ("example.com",), True),
        (claim(alias="app.example.com"), ("example.net",), False),
        (claim(alias="www"), (), True),  # an alias answers for every full name
        (claim(alias="www"), ("example.net",), False),
        (claim(alias="www.example.com"), (), True),
        (claim(alias="www.example.net"), (), False),
        (stopped(claim()), (), False),
        (static(), (), False),
        (far(), (), False),
    ],
)
def test_whatever_would_take_the_name_waits(route: Route, domains: tuple[str, ...], kept: bool) -> None:
    store = put(store_of(domains=domains), route)
    found = store.table.routes[route.alias]
    assert (found.excluded_reason == ExclusionReason.TAKEN) is kept
    assert bool(store.table.problems) is kept


def test_an_engine_keeps_the_alias_that_it_held_itself() -> None:
    held = {"www": HeldName("local", "w"), "www.example.com": OURS}
    assert served(put(store_of(held), claim(alias="www"))) == {"www": "local"}


def test_a_container_that_is_gone_waits_no_longer() -> None:
    store = put(store_of(), claim("new"))
    store.set_routes(("local", "id-new"), None)
    store.release("far")
    store.commit()
    assert dict(store.table.routes) == {}


def test_names_of_engines_that_are_not_watched_are_free() -> None:
    names = ReservedNames({"app": HeldName("gone", "x")}, ["local"])
    assert names.held == {}
    built = Built((claim(),))
    assert names.filter(("local", "id"), built, "", ()) is built
    assert names.release("gone") == {}


AGENT, OTHER = "10.0.0.9:8890", "10.0.0.8:8890"


@pytest.mark.parametrize("names_itself_first", [True, False])
def test_an_agent_does_not_get_the_names_of_another_by_naming_itself_like_it(names_itself_first: bool) -> None:
    store = RouteStore()
    store.reserve({"app": HeldName("far", "old", AGENT)}, [AGENT, OTHER])
    store.keep_holders()
    if not names_itself_first:
        store.rename_engine(AGENT, f"far@{AGENT}")
    store.rename_engine(OTHER, "far")
    put(store, claim("new", provider="far"))
    store.release("far")
    store.commit()
    assert served(store) == {}
    if names_itself_first:
        store.rename_engine(AGENT, f"far@{AGENT}")
    store.configure(engines=[f"far@{AGENT}", "far"])
    put(store, claim("old", 5, provider=f"far@{AGENT}"))
    store.release(f"far@{AGENT}")
    store.commit()
    assert served(store) == {"app": f"far@{AGENT}"}


def test_an_engine_that_is_named_in_the_configuration_keeps_its_names_whatever_its_address() -> None:
    store = RouteStore()
    store.configure(engines=["far"])
    store.reserve({"app": HeldName("far", "old", AGENT)}, ["far"])
    assert store.reserved == {"app": HeldName("far", "old", AGENT)}
