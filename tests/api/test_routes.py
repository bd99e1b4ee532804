from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from pilotage.api.routes import RouteFilter, RouteIndex, RouteSource, words_of
from pilotage.core.problems import Problem
from pilotage.output.urls import GatewayPorts
from pilotage.routes.route import EndpointHealth
from pilotage.table.envoys import RouteState
from pilotage.table.store import build_table
from pilotage.table.table import EngineStatus
from tests.support.example_engine import engine_snapshot, one
from tests.support.steps import counting

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pilotage import Table

STOPPED: dict[str, Any] = {"State": "exited", "Ports": []}
CONTAINERS = [
    one("blog", {"proxy.blog.homepage": "name: Diary\ncategory: Writing"}),
    one("db", Image="postgres:17", Ports=[{"PrivatePort": 5432, "Type": "tcp"}]),
    one("shop", {"proxy.aliases": "shop, admin", "proxy.shop.sheme": "http"}),
    one("wiki", {"proxy.wiki.port": "3000", "proxy.idle_timeout": "30m"}, **STOPPED),
]
TABLE = build_table([engine_snapshot(CONTAINERS), engine_snapshot([one("mail")], "nas")])


def source(
    table: Table = TABLE, problems: Iterable[Problem] = (), states: Mapping[str, RouteState] | None = None
) -> RouteSource:
    return RouteSource(table, [*table.problems, *problems], GatewayPorts(), lambda _: states or {})


def listed(wanted: RouteFilter, **more: Any) -> str:
    return " ".join(RouteIndex().page(source(**more), wanted).aliases)


@pytest.mark.parametrize(
    ("wanted", "aliases"),
    [
        (RouteFilter(), "admin blog db mail shop wiki"),
        (RouteFilter(engine="nas"), "mail"),
        (RouteFilter(container="shop"), "admin shop"),
        (RouteFilter(states=frozenset({"asleep"})), "wiki"),
        (RouteFilter(states=frozenset({"asleep", "excluded"})), "db wiki"),
        (RouteFilter(problem=True), "shop"),
        (RouteFilter(problem=False, engine="local"), "admin blog db wiki"),
        (RouteFilter(text="DIARY"), "blog"),
        (RouteFilter(text="local shop"), "admin shop"),
        (RouteFilter(text="asleep"), "wiki"),
        (RouteFilter(text="shop diary"), ""),
    ],
)
def test_filters_select_routes(wanted: RouteFilter, aliases: str) -> None:
    assert listed(wanted) == aliases


def test_problems_of_envoys_and_of_whole_containers_count() -> None:
    rejected = Problem(message="rejected", route="blog", refused=True, path="rules")
    whole = Problem(message="its network is missing", provider="nas", container="mail")
    assert listed(RouteFilter(problem=True), problems=[rejected, whole]) == "blog mail shop"
    assert listed(RouteFilter(states=frozenset({"refused"})), problems=[rejected]) == "blog"


def test_pages_follow_each_other_even_if_routes_come_and_go() -> None:
    index, pages, after = RouteIndex(), [], ""
    while True:
        page = index.page(source(), RouteFilter(limit=4, after=after))
        assert (page.total, page.matching) == (6, 6)
        pages.append(page.aliases)
        if page.next is None:
            break
        after = page.next
    assert pages == [("admin", "blog", "db", "mail"), ("shop", "wiki")]
    assert listed(RouteFilter(after="n")) == "shop wiki"
    assert listed(RouteFilter(after="z", limit=1)) == ""


def test_a_page_counts_the_routes_in_each_state_whatever_states_are_wanted() -> None:
    page = RouteIndex().page(source(), RouteFilter(states=frozenset({"asleep"}), engine="local"))
    assert page.counts == {"asleep": 1, "excluded": 1, "ready": 3}
    assert page.matching == 1


def test_the_index_follows_the_table() -> None:
    index = RouteIndex()
    assert index.page(source()).counts["ready"] == 4
    (endpoint,) = TABLE.routes["blog"].endpoints
    sick = replace(TABLE, health={"blog": {endpoint.address: EndpointHealth("unhealthy", 1.0)}})
    assert index.page(source(sick), RouteFilter(states=frozenset({"failing"}))).aliases == ("blog",)
    stale = replace(sick, engines={**TABLE.engines, "nas": EngineStatus("stale", 5.0, "gone")})
    assert index.page(source(stale), RouteFilter(states=frozenset({"stale"}))).aliases == ("mail",)
    smaller = build_table([engine_snapshot(CONTAINERS[:1])])
    assert index.page(source(smaller)).aliases == ("blog",)
    assert index.page(source()).counts == {"asleep": 1, "excluded": 1, "ready": 4}


def test_an_entry_says_where_people_reach_a_route_and_whether_envoys_accept_it() -> None:
    accepted, waiting = RouteState("accepted", 3), RouteState("waiting", 2)
    entry = source(states={"a": accepted, "b": waiting}).entry("blog")
    assert (entry.url, entry.envoy_state) == ("http://blog.localhost:8080", "waiting")
    assert (entry.homepage.name, entry.state, entry.status) == ("Diary", "ready", "ready")
    assert source(states={"a": accepted}).entry("blog").envoy_state == "accepted"
    assert source().entry("blog").envoy_state is None
    excluded = source(states={"a": accepted}).entry("db")
    assert (excluded.url, excluded.envoy_state) == (None, None)


def test_an_entry_with_an_error_says_which() -> None:
    table = build_table([engine_snapshot([one("shop", {"proxy.shop.middlewares.oidc": "1"})])])
    entry = source(table).entry("shop")
    assert entry.state == "excluded"
    assert entry.status == "not served: a mapping is needed here, not a number"


def test_the_json_of_an_entry_has_the_fields_that_labels_set() -> None:
    table = build_table(
        [engine_snapshot([one("a", {"proxy.a": "hold: 5s\nhomepage: {widget_config: {key: s3cret}}"})])]
    )
    found = source(table).entry("a").to_json()
    assert (found["alias"], found["hold_s"], found["homepage"]["name"]) == ("a", 5.0, "A")
    assert "fields" not in found
    assert "s3cret" not in str(found)


@pytest.mark.slow  # counts steps, which Python 3.11 cannot do
def test_routes_that_are_not_on_the_page_cost_a_fraction_of_those_that_are() -> None:
    found = build_table([engine_snapshot([one(f"app{number}") for number in range(400)])])
    index, wanted = RouteIndex(), RouteFilter(text="app", limit=1)
    index.page(source(found), wanted)  # works out each route once

    with counting() as steps:
        routes = source(found)
        (alias,) = index.page(routes, wanted).aliases
        seen = steps.count
        routes.entry(alias)
        converted = steps.count - seen
    assert seen / 400 < converted / 4


def test_each_word_is_searched_for_once() -> None:
    assert words_of("shop A  a SHOP b") == ("shop", "a", "b")
