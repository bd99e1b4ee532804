"""The store: adding and removing claims resolves only the aliases they touch."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from pilotage.core.problems import Problem
from pilotage.policy import Policy, PolicyRule
from pilotage.routes.build import Built, build_routes
from pilotage.routes.file import read_route_file
from pilotage.routes.port_syntax import PortPair
from pilotage.routes.route import Endpoint, EndpointHealth, Route
from pilotage.routes.schema import LoadBalance, RouteSettings
from pilotage.table.store import RouteStore, build_table
from pilotage.table.table import EngineStatus, Table
from tests.support import summaries
from tests.support.claims import engine_snapshots
from tests.support.example_engine import engine_snapshot

if TYPE_CHECKING:
    import pytest


def route(alias: str = "web", container: str = "web", created: int = 1, **more: Any) -> Route:
    endpoint = Endpoint("172.17.0.2", 80, container, container)
    fields: dict[str, Any] = {"provider": "local", "container_id": container, "endpoints": (endpoint,)} | more
    return Route(alias=alias, container=container, created=created, **fields)


def built(*routes: Route, problems: tuple[Problem, ...] = ()) -> Built:
    return Built(routes, problems)


def set_routes(store: RouteStore, *routes: Route, cause: str = "") -> None:
    for each in routes:
        store.set_routes((each.provider, each.container_id), built(each), cause)


def test_a_claim_becomes_a_route_on_commit() -> None:
    store = RouteStore()
    set_routes(store, route(), cause="start of web")
    assert dict(store.table.routes) == {}
    committed = store.commit()
    assert dict(committed.table.routes) == {"web": route()}
    assert committed.aliases == {"web": "start of web"}
    assert committed.table is store.table


def test_without_changes_the_table_is_the_same_object() -> None:
    store = RouteStore()
    set_routes(store, route())
    store.set_engine("local", EngineStatus("live", 1.0))
    first = store.commit().table
    set_routes(store, route())
    store.set_engine("local", EngineStatus("live", 1.0))
    store.set_problems(("local", "web"), ())
    again = store.commit()
    assert again.table is first
    assert again.aliases == {}
    assert again.problem_keys == set()


def test_each_change_makes_a_new_table_and_keeps_the_old_one() -> None:
    store = RouteStore()
    set_routes(store, route())
    first = store.commit().table
    set_routes(store, route(host="10.0.0.9"))
    second = store.commit().table
    assert (first.version, second.version) == (1, 2)
    assert (first.routes["web"].host, second.routes["web"].host) == ("", "10.0.0.9")


def test_only_touched_aliases_are_resolved_again() -> None:
    store = RouteStore()
    set_routes(store, *(route(f"app{n}", f"app{n}") for n in range(50)))
    before = store.commit().table
    set_routes(store, route("app7", "app7", host="10.0.0.9"))
    committed = store.commit()
    assert set(committed.aliases) == {"app7"}
    assert all(committed.table.routes[alias] is before.routes[alias] for alias in before.routes if alias != "app7")


def test_removing_an_owner_removes_its_routes_and_problems() -> None:
    store = RouteStore()
    store.set_routes(("local", "web"), built(route(), route("admin"), problems=(Problem(message="odd"),)))
    store.commit()
    store.set_routes(("local", "web"), None, "destroy of web")
    committed = store.commit()
    assert dict(committed.table.routes) == {}
    assert committed.table.problems == ()
    assert committed.aliases == {"web": "destroy of web", "admin": "destroy of web"}
    names = store._names
    assert (names._claims, names._aliases, names._won, names._hosts, names._full, names._pooled) == ({},) * 6


def test_a_dropped_alias_is_removed_and_the_others_stay() -> None:
    store = RouteStore()
    store.set_routes(("local", "web"), built(route(), route("admin")))
    store.commit()
    store.set_routes(("local", "web"), built(route()))
    committed = store.commit()
    assert list(committed.table.routes) == ["web"]
    assert set(committed.aliases) == {"admin"}


def test_the_newcomer_takes_over_when_the_oldest_is_removed() -> None:
    store = RouteStore()
    set_routes(store, route(container="old", created=1), route(container="new", created=2))
    table = store.commit().table
    assert table.routes["web"].container == "old"
    (conflict,) = table.problems
    assert (conflict.container, conflict.route) == ("new", "web")
    store.set_routes(("local", "old"), None, "die of old")
    committed = store.commit()
    assert committed.table.routes["web"].container == "new"
    assert committed.table.problems == ()
    assert committed.problem_keys == {("", "web")}


def test_replicas_come_and_go_within_one_route() -> None:
    store = RouteStore()
    service = ("local", "shop", "api")
    one, two = (route("api", f"api-{n}", created=n, service=service) for n in (1, 2))
    set_routes(store, two)
    assert [e.container for e in store.commit().table.routes["api"].endpoints] == ["api-2"]
    set_routes(store, one)
    table = store.commit().table
    assert [e.container for e in table.routes["api"].endpoints] == ["api-1", "api-2"]
    assert table.problems == ()
    store.set_routes(("local", "api-1"), None)
    assert [e.container for e in store.commit().table.routes["api"].endpoints] == ["api-2"]


def test_excluded_claims_never_compete() -> None:
    store = RouteStore()
    set_routes(store, route(container="old", created=1, excluded=True), route(container="new", created=2))
    table = store.commit().table
    assert table.routes["web"].container == "new"
    assert table.problems == ()


def test_problems_are_recorded_once_and_resolved() -> None:
    store = RouteStore()
    odd = Problem(message="odd", provider="local")
    store.set_problems(("local", ""), [odd])
    first = store.commit()
    assert (first.problem_keys, first.table.problems) == ({("local", "")}, (odd,))
    store.set_problems(("local", ""), [odd])
    assert store.commit().problem_keys == set()
    store.set_problems(("local", ""), [])
    assert store.commit().problem_keys == {("local", "")}
    assert store.table.problems == ()


def test_a_removed_engine_leaves_the_table() -> None:
    store = RouteStore()
    store.set_engine("local", EngineStatus("stale", 5.0, "gone"))
    assert dict(store.commit().table.engines) == {"local": EngineStatus("stale", 5.0, "gone")}
    assert store.engine("local") is not None
    store.set_engine("local", None)
    store.set_engine("never", None)
    assert dict(store.commit().table.engines) == {}
    assert store.engine("local") is None


def content(table: Table) -> tuple[Any, ...]:
    return dict(table.routes), dict(table.problems_by_key)


def test_the_order_of_claims_does_not_matter() -> None:
    services: list[tuple[str, str, str] | tuple[()]] = [("local", "shop", "api"), ()]
    claims = [
        route(f"a{n % 5}", f"c{n}", created=n % 3, service=services[n % 2], excluded=n % 7 == 0) for n in range(40)
    ]
    tables = []
    for seed in range(5):
        store = RouteStore()
        order = random.Random(seed).sample(claims, len(claims))
        for step in range(0, len(order), 1 + seed):  # with commits in between, more or less often
            set_routes(store, *order[step : step + 1 + seed])
            store.commit()
        tables.append(content(store.table))
    assert all(table == tables[0] for table in tables)


def test_a_table_built_at_once_equals_one_that_grew() -> None:
    whole = build_table([engine_snapshot(), engine_snapshot(name="far")])
    store = RouteStore()
    store.configure(engines=["local", "far"])
    for one in (engine_snapshot(name="far"), engine_snapshot()):
        for container, found in zip(one.containers, one.built, strict=True):
            store.set_routes((one.config.name, container.container_id), found)
            store.commit()
    assert content(store.table) == content(whole)
    assert set(whole.engines) == {"local", "far"}


def test_files_and_engines_share_one_table() -> None:
    file = read_route_file("nas: {host: 10.0.0.2, prot: 1}\n'a b': {}\n", "own.yml")
    table = build_table([], [file])
    assert [route.target for route in table.sorted_routes()] == ["http://10.0.0.2:80"]
    assert set(table.problems_by_key) == {("own.yml", ""), ("own.yml", "nas")}
    assert dict(table.engines) == {}


# ---- probe results

HEALTHY = EndpointHealth("healthy", 5)
ADDRESS = "172.17.0.2:80"


def probed(*routes: Route) -> RouteStore:
    """A store with routes and one healthy endpoint."""
    store = RouteStore()
    set_routes(store, *(routes or (route(),)))
    store.commit()
    store.set_health("web", {ADDRESS: HEALTHY})
    store.commit()
    return store


def test_probe_results_are_in_the_table_and_change_no_route() -> None:
    store = RouteStore()
    set_routes(store, route())
    before = store.commit().table
    store.set_health("web", {ADDRESS: HEALTHY})
    committed = store.commit()
    assert committed.table.health_of("web") == {ADDRESS: HEALTHY}
    assert (committed.health_aliases, committed.aliases) == ({"web"}, {})
    assert committed.table.routes is before.routes
    assert committed.table.version == before.version + 1
    assert not before.health_of("web")


def test_an_unchanged_probe_result_is_not_a_change() -> None:
    store = probed()
    table = store.table
    store.set_health("web", {ADDRESS: HEALTHY})
    assert store.commit().table is table


def test_probe_results_of_unknown_endpoints_are_ignored() -> None:
    store = probed()
    store.set_health("web", {ADDRESS: HEALTHY, "10.0.0.9:80": HEALTHY})
    store.set_health("nobody", {ADDRESS: HEALTHY})
    assert {alias: dict(found) for alias, found in store.commit().table.health.items()} == {"web": {ADDRESS: HEALTHY}}


def test_probe_results_are_dropped_with_their_endpoint() -> None:
    for successor in (route(endpoints=()), route(endpoints=(Endpoint("172.17.0.2", 80, "web", "another"),))):
        store = probed()
        set_routes(store, successor)
        assert dict(store.commit().table.health) == {}
    store = probed()
    store.set_routes(("local", "web"), None)
    assert dict(store.commit().table.health) == {}


def test_probe_results_survive_other_changes() -> None:
    store = probed()
    draining = Endpoint("172.17.0.2", 80, "web", "web", "draining")
    set_routes(
        store,
        route(endpoints=(draining, Endpoint("172.17.0.3", 80, "two", "two")), scheme="https"),
        route("other", "other"),
    )
    assert store.commit().table.health_of("web") == {ADDRESS: HEALTHY}


def test_a_conflict_goes_when_all_its_claims_go_at_once() -> None:
    store = RouteStore()
    set_routes(store, route(container="old", created=1), route(container="new", created=2))
    assert len(store.commit().table.problems) == 1
    for container in ("old", "new"):
        store.set_routes(("local", container), None)
    committed = store.commit()
    assert (committed.table.problems, committed.problem_keys) == ((), {("", "web")})


def test_the_problems_of_an_engine_are_under_its_name_alone() -> None:
    table = build_table(engine_snapshots("one"))
    assert [problem.message for problem in table.problems_by_key["one", ""]] == ["slow"]
    assert set(table.problems_by_key) == {("one", ""), ("one", "a")}


def test_a_new_policy_decides_about_pools_before_its_engines_are_listed_again() -> None:
    open_, closed = Policy(rules=(PolicyRule(pools=("**",)),)), Policy(rules=(PolicyRule(pools=()),))
    store = RouteStore()
    store.configure(policy=open_)
    for age, project in enumerate(("one", "two")):
        labels = {"proxy.aliases": project, "proxy.*.load_balance.link": "shop", "com.docker.compose.project": project}
        found = summaries.container(project, labels, Id=project * 8, Created=1000 + age)
        store.set_routes(("local", project), build_routes(found, policy=open_))
    assert dict(store.commit().table.pool_members) == {"shop": ("one", "two")}
    store.keep_holders()
    store.configure(policy=closed)
    assert dict(store.commit().table.pool_members) == {"shop": ("one",)}
    store.configure(policy=open_)
    assert dict(store.commit().table.pool_members) == {"shop": ("one", "two")}


def test_while_changes_of_an_engine_are_incomplete_the_table_stays_as_it_is() -> None:
    store = RouteStore()
    set_routes(store, route("web"))
    first = store.commit().table
    store.set_incomplete("big", incomplete=True)
    set_routes(store, route("db", provider="big"), cause="half of a list")
    store.set_engine("local", EngineStatus("live", 1.0))
    committed = store.commit()
    assert (committed.table, committed.aliases, committed.problem_keys) == (first, {}, set())
    store.set_incomplete("big", incomplete=False)
    committed = store.commit()
    assert set(committed.table.routes) == {"web", "db"}
    assert committed.aliases == {"db": "half of a list"}
    assert set(committed.table.engines) == {"local"}


def test_tcp_and_udp_routes_have_pools_of_their_own_with_the_same_rules() -> None:
    store = RouteStore()
    settings = RouteSettings(load_balance=LoadBalance(link="db.internal"))

    def add(alias: str, created: int, scheme: str, **more: Any) -> None:
        made = route(alias, alias, created, settings=settings, scheme=scheme, port=PortPair(5432, 5432), **more)
        store.set_routes(("local", alias), built(made), "start")

    add("one", 1, "tcp", service=("local", "shop", "one"))
    add("two", 2, "tcp", service=("local", "shop", "two"))
    add("three", 3, "udp", service=("local", "shop", "three"))
    add("web", 4, "http", service=("local", "shop", "web"))
    add("stranger", 5, "tcp", service=("local", "evil", "stranger"))
    table = store.commit().table
    assert dict(table.pool_members) == {
        "tcp/db.internal": ("one", "two"),
        "udp/db.internal": ("three",),
        "db.internal": ("web",),
    }
    assert table.routes["stranger"].excluded
    (problem,) = [it for it in table.problems if it.route == "stranger"]
    assert "cannot join the pool 'tcp/db.internal' of one" in problem.message
    assert "pools: [db.internal]" in problem.hint


def test_members_of_a_pool_that_belong_to_one_container_are_in_alphabetical_order() -> None:
    store = RouteStore()
    pool = RouteSettings(load_balance=LoadBalance(link="pool"))
    store.set_routes(("local", "c1"), built(*(route(alias, "c1", 1, settings=pool) for alias in "hbgacfed")), "start")
    assert store.commit().table.pool_members["pool"] == tuple("abcdefgh")


def test_a_commit_that_is_prepared_in_parts_gives_the_same_table(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("names", "store"):
        monkeypatch.setattr(f"pilotage.table.{module}._BATCH", 2)
    numbers = random.Random(3)
    aliases = ["web", "db", "web.example.com", "db.example.com", "pool"]
    whole, parts = RouteStore(), RouteStore()
    for number in range(300):
        pool = RouteSettings(load_balance=LoadBalance(link=numbers.choice(["", "pool", "web"])))
        claims = [
            route(alias, f"c{numbers.randrange(8)}", numbers.randrange(3), settings=pool)
            for alias in numbers.sample(aliases, 3)
        ]
        owner = ("local", claims[0].container_id)
        found = built(*claims) if numbers.random() < 0.7 else None
        for store in (whole, parts):
            store.set_routes(owner, found, f"cause {number}")
            if number == 100:
                store.settle()
                store.keep_holders()
        for _ in range(numbers.randrange(4)):
            parts.prepare("local")
        if numbers.random() < 0.3:
            parts.set_incomplete("local", incomplete=True)
            before = parts.table
            while parts.prepare("local"):
                assert parts.table is before
            assert not parts.prepare("local")
            assert parts.commit().table is before
            parts.set_incomplete("local", incomplete=False)
        if number > 100:  # from then on, holders depend on the claims at each time
            whole.settle()
            parts.settle()
        if numbers.random() < 0.4:
            one, other = whole.commit(), parts.commit()
            assert dict(one.table.routes) == dict(other.table.routes)
            assert dict(one.table.pool_members) == dict(other.table.pool_members)
            assert one.table.problems == other.table.problems
            assert one.aliases.keys() <= other.aliases.keys()


def test_nothing_is_prepared_while_changes_of_another_engine_are_incomplete() -> None:
    store = RouteStore()
    store.set_incomplete("big", incomplete=True)
    set_routes(store, route())
    assert not store.prepare("local")
    store.set_incomplete("big", incomplete=False)
    assert store.commit().aliases == {"web": ""}
