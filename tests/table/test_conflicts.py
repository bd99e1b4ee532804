from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pilotage import Endpoint, Route
from pilotage.table.conflicts import resolve_claims
from tests.support.claims import SHOP, claim, excluded, static

if TYPE_CHECKING:
    from pilotage.routes.route import EndpointState


def test_a_claim_without_rivals_gets_the_alias_served_or_not() -> None:
    for alone in (claim(), excluded("web")):
        resolution = resolve_claims([alone])
        assert resolution.route is alone
        assert resolution.problems == ()


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
        resolution = resolve_claims(claims)
        assert winner in {resolution.route.container, resolution.route.provider}
        (problem,) = resolution.problems
        loser = rival if resolution.route.container_id == incumbent.container_id else incumbent
        assert (problem.provider, problem.container, problem.route) == (loser.provider, loser.container, "app")


def test_a_conflict_names_both_sides() -> None:
    (problem,) = resolve_claims([claim("old", 1), claim("new", 2)]).problems
    assert str(problem) == (
        "local/new: route app: alias 'app' belongs to old, which is older; this route waits until the other is "
        "removed; give one of them another alias with proxy.aliases"
    )
    (problem,) = resolve_claims([claim("old", 1), claim("new", 2, provider="node2")]).problems
    assert "belongs to local/old" in problem.message


def test_of_very_many_conflicts_the_first_hundred_are_listed() -> None:
    claims = [claim(f"app{number:04}", number + 1) for number in range(250)]
    problems = resolve_claims(claims).problems
    assert [problem.container for problem in problems] == [f"app{number:04}" for number in range(1, 101)] + ["app0000"]
    assert problems[-1].message == "alias 'app' is also claimed by 149 other containers, not listed here"
    assert problems[-1].hint == "give each container its own alias with proxy.aliases"
    assert (problems[-1].provider, problems[-1].container, problems[-1].route) == ("local", "app0000", "app")
    problems = resolve_claims(claims[:101]).problems
    assert [problem.container for problem in problems] == [f"app{number:04}" for number in range(1, 101)]


def test_an_excluded_route_never_competes() -> None:
    served = claim("new", 5)
    resolution = resolve_claims([excluded("old", 1), served, excluded("other", 9)])
    assert resolution.route is served
    assert resolution.problems == ()


def test_the_oldest_of_excluded_routes_is_shown() -> None:
    resolution = resolve_claims([excluded("new", 5), excluded("old", 1)])
    assert (resolution.route.container, resolution.problems) == ("old", ())


def leaving(name: str, created: int = 1, **fields: Any) -> Route:
    return in_state("draining", name, created, **fields)


def in_state(state: EndpointState, name: str, created: int, **fields: Any) -> Route:
    return claim(name, created, endpoints=(Endpoint(f"10.0.0.{created}", 80, name, f"id-{name}", state),), **fields)


def test_a_ready_route_takes_over_from_a_draining_one() -> None:
    resolution = resolve_claims(
        [leaving("old", 1), in_state("waiting", "slow", 2), claim("new", 3), claim("newest", 4)]
    )
    assert resolution.route.container == "new"
    assert [problem.container for problem in resolution.problems] == ["slow", "newest"]


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(in_state("waiting", "new", 3), id="waiting"),
        pytest.param(leaving("new", 3), id="leaving, too"),
        pytest.param(excluded("new", 3), id="excluded"),
    ],
)
def test_a_draining_route_keeps_the_alias_while_no_other_is_ready(other: Route) -> None:
    assert resolve_claims([leaving("old", 1), other]).route.container == "old"


def test_a_draining_route_keeps_the_alias_for_its_replicas() -> None:
    resolution = resolve_claims([leaving("web-1", 1, service=SHOP), claim("new", 2), claim("web-2", 3, service=SHOP)])
    assert resolution.route.container == "web-1"
    assert [endpoint.container for endpoint in resolution.route.endpoints] == ["web-1", "web-2"]


def test_a_route_is_contested_while_others_claim_its_alias() -> None:
    assert resolve_claims([claim("old", 1), claim("new", 2)]).route.contested
    assert resolve_claims([leaving("old", 1), claim("new", 2)]).route.contested
    assert not resolve_claims([excluded("old", 1), claim("new", 2)]).route.contested
    assert not resolve_claims([claim("web-1", 1, service=SHOP), claim("web-2", 2, service=SHOP)]).route.contested


def test_replicas_form_one_route_with_their_endpoints_oldest_first() -> None:
    replicas = [claim(f"web-{n}", n, service=SHOP) for n in (2, 3, 1)]
    resolution = resolve_claims(replicas)
    assert resolution.route.container == "web-1"
    assert [endpoint.container for endpoint in resolution.route.endpoints] == ["web-1", "web-2", "web-3"]
    assert resolution.problems == ()


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
    resolution = resolve_claims([claim("web-1", 1, service=SHOP), claim("web-2", 2, **fields)])
    assert len(resolution.route.endpoints) == len(resolution.problems) == 1


def test_a_stopped_replica_contributes_no_endpoint() -> None:
    stopped = msgspec.structs.replace(excluded("web-1", 1), service=SHOP)
    resolution = resolve_claims([stopped, claim("web-2", 2, service=SHOP)])
    assert [endpoint.container for endpoint in resolution.route.endpoints] == ["web-2"]


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
def test_the_winner_does_not_depend_on_the_order_of_claims(data: st.DataObject) -> None:
    made = data.draw(claims)
    one, other = resolve_claims(made), resolve_claims(data.draw(st.permutations(made)))
    assert one.route == other.route
    assert set(one.problems) == set(other.problems)


def test_a_file_wins_over_containers_of_any_age() -> None:
    for claims in ([claim("web", 1), static()], [static(), claim("web", 1)]):
        resolution = resolve_claims(claims)
        assert resolution.route == static()
        (problem,) = resolution.problems
        assert str(problem) == (
            "local/web: route app: alias 'app' belongs to the file own.yml, and files come before containers; this "
            "route waits until the other is removed; remove one of them, or use another alias with proxy.aliases"
        )


def test_the_first_of_two_files_by_name_wins() -> None:
    resolution = resolve_claims([static("b.yml"), static("a.yml")])
    assert resolution.route.provider == "a.yml"
    assert str(resolution.problems[0]) == (
        "b.yml: route app: alias 'app' belongs to the file a.yml, which comes first by name; this route waits until "
        "the other is removed; remove one of them, or use another name"
    )


def test_a_refused_route_of_a_file_does_not_compete() -> None:
    refused = msgspec.structs.replace(static(), excluded=True, excluded_reason="Error", endpoints=())
    assert resolve_claims([refused, claim("web", 1)]).route.container == "web"


def test_a_file_server_competes_although_it_has_no_endpoint() -> None:
    served = msgspec.structs.replace(static(), scheme="fileserver", endpoints=())
    resolution = resolve_claims([claim("web", 1), served])
    assert (resolution.route, len(resolution.problems)) == (served, 1)
