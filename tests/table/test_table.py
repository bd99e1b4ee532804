from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pilotage import DockerProviderConfig, Endpoint, Problem, Route, Table, build_table
from pilotage.routes.route import EndpointHealth, EndpointState
from pilotage.routes.schema import LoadBalance, RouteSettings
from pilotage.table.snapshot import assemble
from pilotage.table.table import Change, EngineStatus, diff, settle
from tests.support.summaries import container

SHOP = ("local", "shop", "web")


def claim(name: str = "web", created: int = 1, **fields: Any) -> Route:
    """A route for alias ``app`` of a container that runs."""
    endpoint = Endpoint(f"10.0.0.{created}", 80, name, f"id-{name}")
    usual: dict[str, Any] = {
        "alias": "app",
        "provider": "local",
        "container": name,
        "container_id": f"id-{name}",
        "created": created,
    }
    return Route(**(usual | {"host": endpoint.host, "endpoints": (endpoint,)} | fields))


def excluded(name: str, created: int = 1) -> Route:
    return claim(name, created, excluded=True, excluded_reason="Container not running", endpoints=())


# ---- who gets an alias ----------------------------------------------------------------------------------------------


def test_a_claim_without_rivals_gets_the_alias_served_or_not() -> None:
    for alone in (claim(), excluded("web")):
        settled = settle([alone])
        assert settled.route is alone
        assert settled.problems == ()


@pytest.mark.parametrize(
    ("rival", "winner"),
    [
        (claim("newer", 3), "web"),
        (claim("older", 1), "older"),
        (claim("abc", 2), "abc"),
        (claim("xyz", 2), "web"),
        (claim("web", 2, provider="another", container_id="id-other"), "another"),
    ],
)
def test_the_oldest_keeps_the_alias_then_the_first_by_name_then_by_engine(rival: Route, winner: str) -> None:
    incumbent = claim("web", 2)
    for claims in ([incumbent, rival], [rival, incumbent]):
        settled = settle(claims)
        assert winner in {settled.route.container, settled.route.provider}
        (problem,) = settled.problems
        loser = rival if settled.route.container_id == incumbent.container_id else incumbent
        assert (problem.provider, problem.container, problem.route) == (loser.provider, loser.container, "app")


def test_a_conflict_names_both_sides() -> None:
    (problem,) = settle([claim("old", 1), claim("new", 2)]).problems
    assert str(problem) == (
        "local/new: route app: alias 'app' belongs to old, which is older; this one waits until it goes; "
        "give one of them another alias with proxy.aliases"
    )
    (problem,) = settle([claim("old", 1), claim("new", 2, provider="node2")]).problems
    assert "belongs to local/old" in problem.message


def test_what_is_excluded_never_competes() -> None:
    served = claim("new", 5)
    settled = settle([excluded("old", 1), served, excluded("other", 9)])
    assert settled.route is served
    assert settled.problems == ()


def test_of_excluded_ones_the_oldest_is_shown() -> None:
    settled = settle([excluded("new", 5), excluded("old", 1)])
    assert (settled.route.container, settled.problems) == ("old", ())


def leaving(name: str, created: int = 1, **fields: Any) -> Route:
    return in_state("draining", name, created, **fields)


def in_state(state: EndpointState, name: str, created: int, **fields: Any) -> Route:
    return claim(name, created, endpoints=(Endpoint(f"10.0.0.{created}", 80, name, f"id-{name}", state),), **fields)


def test_who_is_ready_takes_over_from_one_that_is_about_to_stop() -> None:
    settled = settle([leaving("old", 1), in_state("waiting", "slow", 2), claim("new", 3), claim("newest", 4)])
    assert settled.route.container == "new"
    assert [problem.container for problem in settled.problems] == ["slow", "newest"]


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(in_state("waiting", "new", 3), id="waiting"),
        pytest.param(leaving("new", 3), id="leaving, too"),
        pytest.param(excluded("new", 3), id="excluded"),
    ],
)
def test_one_that_is_about_to_stop_keeps_the_alias_while_nobody_else_is_ready(other: Route) -> None:
    assert settle([leaving("old", 1), other]).route.container == "old"


def test_one_that_is_about_to_stop_keeps_the_alias_for_its_replicas() -> None:
    settled = settle([leaving("web-1", 1, service=SHOP), claim("new", 2), claim("web-2", 3, service=SHOP)])
    assert settled.route.container == "web-1"
    assert [endpoint.container for endpoint in settled.route.endpoints] == ["web-1", "web-2"]


def test_a_route_knows_that_others_want_its_alias_until_they_are_gone() -> None:
    assert settle([claim("old", 1), claim("new", 2)]).route.contested
    assert settle([leaving("old", 1), claim("new", 2)]).route.contested
    assert not settle([excluded("old", 1), claim("new", 2)]).route.contested
    assert not settle([claim("web-1", 1, service=SHOP), claim("web-2", 2, service=SHOP)]).route.contested


def test_replicas_form_one_route_with_their_endpoints_oldest_first() -> None:
    replicas = [claim(f"web-{n}", n, service=SHOP) for n in (2, 3, 1)]
    settled = settle(replicas)
    assert settled.route.container == "web-1"
    assert [endpoint.container for endpoint in settled.route.endpoints] == ["web-1", "web-2", "web-3"]
    assert settled.problems == ()


@pytest.mark.parametrize(
    "fields",
    [
        {"service": ("local", "shop", "api")},
        {"service": ("local", "other", "web")},
        {"service": ("node2", "shop", "web"), "provider": "node2"},
        {"service": ()},
        {"service": SHOP, "scheme": "https"},
    ],
)
def test_only_the_same_service_of_the_same_engine_is_a_replica(fields: dict[str, Any]) -> None:
    settled = settle([claim("web-1", 1, service=SHOP), claim("web-2", 2, **fields)])
    assert len(settled.route.endpoints) == len(settled.problems) == 1


def test_a_replica_that_stopped_does_not_take_part() -> None:
    stopped = msgspec.structs.replace(excluded("web-1", 1), service=SHOP)
    settled = settle([stopped, claim("web-2", 2, service=SHOP)])
    assert [endpoint.container for endpoint in settled.route.endpoints] == ["web-2"]


claims = st.lists(
    st.builds(
        lambda name, created, off, service: excluded(name, created) if off else claim(name, created, service=service),
        st.sampled_from("abcdef"),
        st.integers(1, 3),
        st.booleans(),
        st.sampled_from([(), SHOP, ("local", "shop", "api")]),
    ),
    min_size=1,
    max_size=6,
    unique_by=lambda route: route.container,
)


@settings(deadline=None)
@given(st.data())
def test_who_wins_does_not_depend_on_the_order_of_claims(data: st.DataObject) -> None:
    made = data.draw(claims)
    one, other = settle(made), settle(data.draw(st.permutations(made)))
    assert one.route == other.route
    assert set(one.problems) == set(other.problems)


# ---- the table ------------------------------------------------------------------------------------------------------


def rosters(*names: str) -> list[Any]:
    configs = [DockerProviderConfig(url="unix:///var/run/docker.sock", name=name) for name in names]
    return [
        assemble(
            config,
            [
                container(f"{config.name}-b", {"proxy.aliases": f"{config.name}-b,shared"}, Id="b", config=config),
                container(f"{config.name}-a", {"proxy.a.bogus": "1"}, Id="a", config=config),
            ],
            problems=[Problem(message="slow", provider=config.name)],
        )
        for config in configs
    ]


def test_a_table_has_every_alias_of_all_engines_and_every_problem() -> None:
    table = build_table(rosters("one", "two"))
    assert [route.alias for route in table.sorted_routes()] == ["a", "one-a", "one-b", "shared", "two-a", "two-b"]
    assert table.routes["shared"].container == "one-b"
    assert [(p.provider, p.container, p.message.split(" ", maxsplit=1)[0]) for p in table.problems] == [
        ("one", "", "slow"),
        ("one", "one-a", "unknown"),
        ("two", "", "slow"),
        ("two", "two-a", "alias"),
        ("two", "two-a", "unknown"),
        ("two", "two-b", "alias"),
    ]
    assert set(table.engines) == {"one", "two"}


def test_the_order_of_engines_and_containers_does_not_matter() -> None:
    one = build_table(rosters("one", "two"))
    turned = [
        msgspec.structs.replace(r, containers=r.containers[::-1], built=r.built[::-1]) for r in rosters("two", "one")
    ]
    other = build_table(turned)
    assert list(one.sorted_routes()) == list(other.sorted_routes())
    assert one.problems == other.problems


def test_an_empty_table_is_version_zero() -> None:
    assert (Table().version, list(Table().sorted_routes()), Table().problems) == (0, [], ())


def test_pools_are_the_served_routes_with_one_link() -> None:
    shop = RouteSettings(load_balance=LoadBalance(link="shop"))
    table = Table(
        {
            "b": claim(alias="b", settings=shop),
            "a": claim(alias="a", settings=shop),
            "c": msgspec.structs.replace(excluded("c"), alias="c", settings=shop),
            "d": claim(alias="d"),
        }
    )
    assert table.pools() == {"shop": ("a", "b")}


def test_a_route_is_as_stale_as_its_engine() -> None:
    table = Table(engines={"local": EngineStatus("stale", 5.0, "gone"), "node2": EngineStatus("live")})
    assert table.stale_since(claim()) == 5.0
    assert table.stale_since(claim(provider="node2")) is None
    assert table.stale_since(claim(provider="unheard of")) is None
    assert repr(table) == "<Table version 0: 0 routes of 2 engines, stale: local>"


def static(file: str = "own.yml", **fields: Any) -> Route:
    """A route for alias ``app`` of a file."""
    return Route(alias="app", provider=file, host="10.0.0.9", endpoints=(Endpoint("10.0.0.9", 80),), **fields)


def test_a_file_comes_before_containers_however_old() -> None:
    for claims in ([claim("web", 1), static()], [static(), claim("web", 1)]):
        settled = settle(claims)
        assert settled.route == static()
        (problem,) = settled.problems
        assert str(problem) == (
            "local/web: route app: alias 'app' belongs to the file own.yml, and files come before containers; this one "
            "waits until it goes; remove one of them, or give it another alias with proxy.aliases"
        )


def test_of_two_files_the_first_by_name_has_the_alias() -> None:
    settled = settle([static("b.yml"), static("a.yml")])
    assert settled.route.provider == "a.yml"
    assert str(settled.problems[0]) == (
        "b.yml: route app: alias 'app' belongs to the file a.yml, which comes first by name; this one waits until it "
        "goes; remove one of them, or give it another name"
    )


def test_a_refused_route_of_a_file_does_not_compete() -> None:
    refused = msgspec.structs.replace(static(), excluded=True, excluded_reason="Error", endpoints=())
    assert settle([refused, claim("web", 1)]).route.container == "web"


def test_a_file_server_competes_though_it_has_no_endpoint() -> None:
    served = msgspec.structs.replace(static(), scheme="fileserver", endpoints=())
    settled = settle([claim("web", 1), served])
    assert (settled.route, len(settled.problems)) == (served, 1)


# ---- what changed ---------------------------------------------------------------------------------------------------


def changes(old: Table, new: Table, **limits: Any) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(change.kind, change.alias or change.engine, change.fields) for change in diff(old, new, **limits)]


def test_equal_tables_do_not_differ() -> None:
    table = build_table(rosters("one"))
    assert diff(table, table) == diff(table, build_table(rosters("one"))) == ()


def test_routes_come_change_and_go() -> None:
    old = Table({"a": claim(alias="a"), "b": claim(alias="b"), "c": claim(alias="c")})
    new = Table({"b": claim(alias="b", scheme="https"), "c": claim(alias="c"), "d": claim(alias="d")})
    assert changes(old, new) == [("removed", "a", ()), ("updated", "b", ("scheme",)), ("added", "d", ())]
    (removed, updated, _) = diff(old, new)
    assert (removed.route, updated.route) == (old.routes["a"], new.routes["b"])


def test_only_the_aliases_asked_for_are_looked_at_each_with_its_cause() -> None:
    new = Table({"a": claim(alias="a"), "b": claim(alias="b")})
    assert diff(Table(), new, aliases={"b": "start of web"}) == (
        Change("added", "b", new.routes["b"], engine="local", cause="start of web"),
    )


def test_an_endpoint_about_to_stop_is_draining() -> None:
    before = claim()
    draining = (msgspec.structs.replace(before.endpoints[0], state="draining"),)
    after = msgspec.structs.replace(before, endpoints=draining)
    assert changes(Table({"app": before}), Table({"app": after})) == [("draining", "app", ("endpoints",))]
    assert changes(Table({"app": after}), Table({"app": before})) == [("updated", "app", ("endpoints",))]
    other = msgspec.structs.replace(after, scheme="https")
    assert changes(Table({"app": before}), Table({"app": other})) == [("updated", "app", ("scheme", "endpoints"))]


def test_engines_go_and_come_back() -> None:
    live, stale = ({"local": EngineStatus(state)} for state in ("live", "stale"))
    assert changes(Table(engines=live), Table(engines=stale)) == [("stale", "local", ())]
    assert changes(Table(engines=stale), Table(engines=live)) == [("live", "local", ())]
    assert changes(Table(), Table(engines={"local": EngineStatus("pending")})) == []
    assert changes(Table(engines=live), Table()) == []


def test_problems_come_and_go() -> None:
    problem = Problem(message="x", provider="local", container="web", route="app")
    fault, conflict = Table(faults={("local", "id"): (problem,)}), Table(faults={("", "app"): (problem,)})
    assert [change.kind for change in diff(Table(), fault)] == ["problem"]
    assert [change.kind for change in diff(Table(), conflict)] == ["conflict"]
    assert [(change.kind, change.problem) for change in diff(fault, Table())] == [("resolved", problem)]
    assert diff(Table(), fault, keys=[]) == ()


# ---- what probes found ----------------------------------------------------------------------------------------------


def with_health(**states: str) -> Table:
    """A table with one route, whose endpoints are called by name."""
    found = tuple(Endpoint(f"10.0.0.{number}", 80, name, name) for number, name in enumerate("abcde", 1))
    health = {e.address: EndpointHealth(states[e.container], 5) for e in found if e.container in states}  # type: ignore[arg-type]
    return Table({"app": claim(alias="app", endpoints=found)}, health={"app": health})


@pytest.mark.parametrize(
    ("before", "after", "cause"),
    [
        ({"a": "pending"}, {"a": "healthy"}, "a at 10.0.0.1:80 passes the gateway's probe"),
        ({"a": "healthy"}, {"a": "unhealthy"}, "a at 10.0.0.1:80 fails the gateway's probe"),
        ({"a": "unhealthy"}, {"a": "healthy"}, "a at 10.0.0.1:80 passes the gateway's probe again"),
        ({"a": "healthy"}, {"a": "pending"}, "a at 10.0.0.1:80 is probed anew, for Envoy was started again"),
        ({"b": "healthy"}, {"a": "unhealthy", "b": "healthy"}, "a at 10.0.0.1:80 fails the gateway's probe"),
        (
            dict.fromkeys("abcde", "healthy"),
            dict.fromkeys("abcde", "unhealthy"),
            (
                "a at 10.0.0.1:80 fails the gateway's probe; b at 10.0.0.2:80 fails the gateway's probe; "
                "c at 10.0.0.3:80 fails the gateway's probe; and 2 more"
            ),
        ),
    ],
    ids=str,
)
def test_a_change_of_health_is_told_in_a_sentence(before: dict[str, str], after: dict[str, str], cause: str) -> None:
    old, new = with_health(**before), with_health(**after)
    assert diff(old, new) == (Change("health", "app", new.routes["app"], engine="local", cause=cause),)


@pytest.mark.parametrize(
    ("before", "after"),
    [({}, {"a": "pending"}), ({"a": "healthy"}, {}), ({"a": "healthy"}, {"a": "healthy"})],
    ids=str,
)
def test_that_something_is_to_be_probed_or_no_longer_is_no_news(before: dict[str, str], after: dict[str, str]) -> None:
    assert diff(with_health(**before), with_health(**after)) == ()


def test_an_endpoint_without_a_container_is_named_by_its_address() -> None:
    route = claim(alias="app", endpoints=(Endpoint("10.0.0.1", 80),))
    new = Table({"app": route}, health={"app": {"10.0.0.1:80": EndpointHealth("unhealthy")}})
    assert diff(Table({"app": route}), new)[0].cause == "10.0.0.1:80 fails the gateway's probe"
