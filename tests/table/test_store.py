"""The ledger: claims come and go, and only what they touch is decided anew."""

from __future__ import annotations

import random
from typing import Any

from pilotage.core.problems import Problem
from pilotage.routes.build import Built
from pilotage.routes.file import read_route_file
from pilotage.routes.route import Endpoint, EndpointHealth, Route
from pilotage.table.store import Ledger, build_table
from pilotage.table.table import EngineStatus, Table
from tests.support.harbour import roster


def route(alias: str = "web", container: str = "web", created: int = 1, **more: Any) -> Route:
    endpoint = Endpoint("172.17.0.2", 80, container, container)
    fields: dict[str, Any] = {"provider": "local", "container_id": container, "endpoints": (endpoint,)} | more
    return Route(alias=alias, container=container, created=created, **fields)


def built(*routes: Route, problems: tuple[Problem, ...] = ()) -> Built:
    return Built(routes, problems)


def put(ledger: Ledger, *routes: Route, cause: str = "") -> None:
    for each in routes:
        ledger.put((each.provider, each.container_id), built(each), cause)


def test_a_claim_becomes_a_route_when_it_is_settled() -> None:
    ledger = Ledger()
    put(ledger, route(), cause="start of web")
    assert dict(ledger.table.routes) == {}
    settled = ledger.settle()
    assert dict(settled.table.routes) == {"web": route()}
    assert settled.aliases == {"web": "start of web"}
    assert settled.table is ledger.table


def test_without_changes_the_table_stays_the_very_one() -> None:
    ledger = Ledger()
    put(ledger, route())
    ledger.engine("local", EngineStatus("live", 1.0))
    first = ledger.settle().table
    put(ledger, route())
    ledger.engine("local", EngineStatus("live", 1.0))
    ledger.report(("local", "web"), ())
    again = ledger.settle()
    assert again.table is first
    assert again.aliases == {}
    assert again.keys == set()


def test_each_change_makes_a_newer_table_and_leaves_the_old_one_alone() -> None:
    ledger = Ledger()
    put(ledger, route())
    first = ledger.settle().table
    put(ledger, route(host="10.0.0.9"))
    second = ledger.settle().table
    assert (first.version, second.version) == (1, 2)
    assert (first.routes["web"].host, second.routes["web"].host) == ("", "10.0.0.9")


def test_only_the_touched_aliases_are_decided_anew() -> None:
    ledger = Ledger()
    put(ledger, *(route(f"app{n}", f"app{n}") for n in range(50)))
    before = ledger.settle().table
    put(ledger, route("app7", "app7", host="10.0.0.9"))
    settled = ledger.settle()
    assert set(settled.aliases) == {"app7"}
    assert all(settled.table.routes[alias] is before.routes[alias] for alias in before.routes if alias != "app7")


def test_who_goes_takes_its_routes_and_problems_along() -> None:
    ledger = Ledger()
    ledger.put(("local", "web"), built(route(), route("admin"), problems=(Problem(message="odd"),)))
    ledger.settle()
    ledger.put(("local", "web"), None, "destroy of web")
    settled = ledger.settle()
    assert dict(settled.table.routes) == {}
    assert settled.table.problems == ()
    assert settled.aliases == {"web": "destroy of web", "admin": "destroy of web"}
    assert (ledger._claims, ledger._aliases) == ({}, {})


def test_an_alias_that_is_given_up_goes_and_the_others_stay() -> None:
    ledger = Ledger()
    ledger.put(("local", "web"), built(route(), route("admin")))
    ledger.settle()
    ledger.put(("local", "web"), built(route()))
    settled = ledger.settle()
    assert list(settled.table.routes) == ["web"]
    assert set(settled.aliases) == {"admin"}


def test_the_oldest_keeps_an_alias_and_the_newcomer_takes_over_when_it_goes() -> None:
    ledger = Ledger()
    put(ledger, route(container="old", created=1), route(container="new", created=2))
    table = ledger.settle().table
    assert table.routes["web"].container == "old"
    (conflict,) = table.problems
    assert (conflict.container, conflict.route) == ("new", "web")
    ledger.put(("local", "old"), None, "die of old")
    settled = ledger.settle()
    assert settled.table.routes["web"].container == "new"
    assert settled.table.problems == ()
    assert settled.keys == {("", "web")}


def test_replicas_come_and_go_within_one_route() -> None:
    ledger = Ledger()
    service = ("local", "shop", "api")
    one, two = (route("api", f"api-{n}", created=n, service=service) for n in (1, 2))
    put(ledger, two)
    assert [e.container for e in ledger.settle().table.routes["api"].endpoints] == ["api-2"]
    put(ledger, one)
    table = ledger.settle().table
    assert [e.container for e in table.routes["api"].endpoints] == ["api-1", "api-2"]
    assert table.problems == ()
    ledger.put(("local", "api-1"), None)
    assert [e.container for e in ledger.settle().table.routes["api"].endpoints] == ["api-2"]


def test_excluded_claims_never_compete() -> None:
    ledger = Ledger()
    put(ledger, route(container="old", created=1, excluded=True), route(container="new", created=2))
    table = ledger.settle().table
    assert table.routes["web"].container == "new"
    assert table.problems == ()


def test_problems_are_noted_once_and_their_end_is_told() -> None:
    ledger = Ledger()
    odd = Problem(message="odd", provider="local")
    ledger.report(("local", ""), [odd])
    first = ledger.settle()
    assert (first.keys, first.table.problems) == ({("local", "")}, (odd,))
    ledger.report(("local", ""), [odd])
    assert ledger.settle().keys == set()
    ledger.report(("local", ""), [])
    assert ledger.settle().keys == {("local", "")}
    assert ledger.table.problems == ()


def test_an_engine_that_is_forgotten_leaves_the_table() -> None:
    ledger = Ledger()
    ledger.engine("local", EngineStatus("stale", 5.0, "gone"))
    assert dict(ledger.settle().table.engines) == {"local": EngineStatus("stale", 5.0, "gone")}
    assert ledger.status("local") is not None
    ledger.engine("local", None)
    ledger.engine("never", None)
    assert dict(ledger.settle().table.engines) == {}
    assert ledger.status("local") is None


def content(table: Table) -> tuple[Any, ...]:
    return dict(table.routes), dict(table.faults)


def test_the_order_in_which_claims_come_does_not_matter() -> None:
    services: list[tuple[str, str, str] | tuple[()]] = [("local", "shop", "api"), ()]
    claims = [
        route(f"a{n % 5}", f"c{n}", created=n % 3, service=services[n % 2], excluded=n % 7 == 0) for n in range(40)
    ]
    tables = []
    for seed in range(5):
        ledger = Ledger()
        order = random.Random(seed).sample(claims, len(claims))
        for step in range(0, len(order), 1 + seed):  # settled in between, more or less often
            put(ledger, *order[step : step + 1 + seed])
            ledger.settle()
        tables.append(content(ledger.table))
    assert all(table == tables[0] for table in tables)


def test_what_is_built_at_once_equals_what_grew() -> None:
    whole = build_table([roster(), roster(name="far")])
    ledger = Ledger()
    for one in (roster(name="far"), roster()):
        for container, found in zip(one.containers, one.built, strict=True):
            ledger.put((one.config.name, container.container_id), found)
            ledger.settle()
    assert content(ledger.table) == content(whole)
    assert set(whole.engines) == {"local", "far"}


def test_files_are_brought_together_with_engines() -> None:
    file = read_route_file("nas: {host: 10.0.0.2, prot: 1}\n'a b': {}\n", "own.yml")
    table = build_table([], [file])
    assert [route.target for route in table.sorted_routes()] == ["http://10.0.0.2:80"]
    assert set(table.faults) == {("own.yml", ""), ("own.yml", "nas")}
    assert dict(table.engines) == {}


# ---- what probes found

HEALTHY = EndpointHealth("healthy", 5)
ADDRESS = "172.17.0.2:80"


def observed(*routes: Route) -> Ledger:
    """A ledger with routes, whose endpoint is healthy."""
    ledger = Ledger()
    put(ledger, *(routes or (route(),)))
    ledger.settle()
    ledger.observe("web", {ADDRESS: HEALTHY})
    ledger.settle()
    return ledger


def test_what_probes_found_is_in_the_table_and_changes_no_route() -> None:
    ledger = Ledger()
    put(ledger, route())
    before = ledger.settle().table
    ledger.observe("web", {ADDRESS: HEALTHY})
    settled = ledger.settle()
    assert settled.table.health_of("web") == {ADDRESS: HEALTHY}
    assert (settled.observed, settled.aliases) == ({"web"}, {})
    assert settled.table.routes is before.routes
    assert settled.table.version == before.version + 1
    assert not before.health_of("web")


def test_the_same_finding_is_none() -> None:
    ledger = observed()
    table = ledger.table
    ledger.observe("web", {ADDRESS: HEALTHY})
    assert ledger.settle().table is table


def test_what_is_about_no_endpoint_of_the_table_is_left_out() -> None:
    ledger = observed()
    ledger.observe("web", {ADDRESS: HEALTHY, "10.0.0.9:80": HEALTHY})
    ledger.observe("nobody", {ADDRESS: HEALTHY})
    assert {alias: dict(found) for alias, found in ledger.settle().table.health.items()} == {"web": {ADDRESS: HEALTHY}}


def test_what_was_found_goes_with_the_endpoint_or_the_route() -> None:
    for successor in (route(endpoints=()), route(endpoints=(Endpoint("172.17.0.2", 80, "web", "another"),))):
        ledger = observed()
        put(ledger, successor)
        assert dict(ledger.settle().table.health) == {}
    ledger = observed()
    ledger.put(("local", "web"), None)
    assert dict(ledger.settle().table.health) == {}


def test_what_was_found_stays_while_other_things_change() -> None:
    ledger = observed()
    draining = Endpoint("172.17.0.2", 80, "web", "web", "draining")
    put(
        ledger,
        route(endpoints=(draining, Endpoint("172.17.0.3", 80, "two", "two")), scheme="https"),
        route("other", "other"),
    )
    assert ledger.settle().table.health_of("web") == {ADDRESS: HEALTHY}
