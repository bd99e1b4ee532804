"""Properties of names: the order of events, newcomers, one owner for each host."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import given
from hypothesis import strategies as st

from pilotage import Endpoint, Route
from pilotage.routes.exclusion import ExclusionReason
from pilotage.routes.schema import LoadBalance, RouteSettings
from tests.support.claims import ENGINES, claim, owner_of, put, stopped, store_of
from tests.support.examples import more_examples

if TYPE_CHECKING:
    import random

    from pilotage.table.store import RouteStore


def outcome(store: RouteStore) -> tuple[Any, ...]:
    table = store.table
    return dict(table.routes), dict(table.pool_members), {key: set(v) for key, v in table.problems_by_key.items()}


def _random_claim(number: int, engine: str, alias: str, link: str, created: int, project: str, state: Any) -> Route:
    name = f"{engine}{number}"
    fields: dict[str, Any] = {"alias": alias, "provider": engine}
    if project:
        fields["service"] = (engine, project, "web")
    if link:
        fields["settings"] = RouteSettings(load_balance=LoadBalance(link=link))
    if state == "stopped":
        return stopped(claim(name, created, **fields))
    return claim(name, created, endpoints=(Endpoint(f"10.0.0.{number}", 80, name, f"id-{name}", state),), **fields)


NAMES = ["shop", "shop.localhost", "shop.a.com", "web", "web.a.com", "*.a.com"]
claims_of_containers = st.builds(
    _random_claim,
    st.integers(0, 5),
    st.sampled_from(ENGINES),
    st.sampled_from(NAMES),
    st.sampled_from(["", "", "", "shop", "web.a.com"]),
    st.integers(1, 4),
    st.sampled_from(["", "one", "two"]),
    st.sampled_from(["ready", "ready", "draining", "waiting", "stopped"]),
)


def _distinct(routes: list[Route]) -> list[Route]:
    return list({owner_of(route): route for route in routes}.values())


@more_examples(3)
@given(
    st.lists(claims_of_containers, max_size=8),
    st.lists(claims_of_containers, max_size=6),
    st.randoms(use_true_random=False),
    st.sampled_from([(), ("a.com",)]),
)
def test_before_clients_are_served_only_the_claims_count_and_not_their_history(
    final: list[Route], earlier: list[Route], order: random.Random, domains: tuple[str, ...]
) -> None:
    final = _distinct(final)
    whole = store_of(*final, domains=domains)
    grown = store_of(domains=domains)
    for route in earlier:
        put(grown, route)
    keep = {owner_of(route) for route in final}
    steps = [*final, *(route for route in earlier if owner_of(route) not in keep)]
    order.shuffle(steps)
    for route in steps:
        if owner_of(route) in keep:
            put(grown, route)
        else:
            grown.set_routes(owner_of(route), None)
            grown.commit()
    assert outcome(grown) == outcome(whole)


@more_examples(3)
@given(
    st.lists(claims_of_containers, max_size=6),
    st.lists(claims_of_containers, max_size=8),
    st.sampled_from([(), ("a.com",)]),
)
def test_no_sequence_of_newcomers_takes_a_name_that_is_served(
    first: list[Route], newcomers: list[Route], domains: tuple[str, ...]
) -> None:
    first = [route for route in _distinct(first) if not any(e.state == "draining" for e in route.endpoints)]
    store = store_of(*first, keep=True, domains=domains)
    before = store.table
    known = {owner_of(route) for route in first}
    services = {route.service for route in first}
    for route in newcomers:
        if owner_of(route) in known or route.service in services - {()}:
            continue  # its own change, or a replica
        put(store, route)
        for alias, held in before.routes.items():
            if held.excluded or all(endpoint.state == "waiting" for endpoint in held.endpoints):
                continue  # nobody is served, so another container of the same service may stand in
            now = store.table.routes[alias]
            assert (now.container_id, now.endpoints, now.excluded) == (held.container_id, held.endpoints, False)
        for pool, members in before.pool_members.items():
            assert store.table.pool_members[pool][: len(members)] == members


@more_examples(3)
@given(st.lists(claims_of_containers, max_size=10), st.integers(0, 10), st.sampled_from([(), ("a.com",)]))
def test_every_host_has_one_owner_after_any_history(
    routes: list[Route], started_after: int, domains: tuple[str, ...]
) -> None:
    store = store_of(*_distinct(routes[:started_after]), keep=True, domains=domains)
    for changed in routes[started_after:]:
        put(store, changed)
    table = store.table
    pooled = {alias for members in table.pool_members.values() for alias in members}
    for alias, route in table.routes.items():
        link = route.settings.load_balance.link
        assert (alias in pooled) is (bool(link) and not route.excluded)
        if route.excluded_reason == ExclusionReason.TAKEN and route.container:
            draining = next(r for r in routes[::-1] if owner_of(r) == owner_of(route)).endpoints[0].state == "draining"
            assert draining or [p for p in table.problems_by_key["", alias] if p.container == route.container]
    unpooled = {alias for alias, route in table.routes.items() if not route.excluded and alias not in pooled}
    assert not unpooled & set(table.pool_members)
    for name in (*unpooled, *table.pool_members):
        label, _, domain = name.partition(".")
        if not domain or label == "*" or (domains and domain not in domains):
            continue
        if label in unpooled:  # a short alias and a full name below it: somebody else's, who came first
            assert (
                [p for p in table.problems_by_key.get(("", label), ()) if p.severity == "warning"]
                or (table.routes.get(name, table.routes[label]).service == table.routes[label].service != ())
                or name in table.pool_members
            )
