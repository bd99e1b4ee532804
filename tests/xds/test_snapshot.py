from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, get_args

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pilotage.routes.exclusion import ExclusionReason
from pilotage.routes.port_syntax import PortPair
from pilotage.routes.route import Endpoint, EndpointState
from pilotage.routes.schema import HealthCheck, LoadBalance
from pilotage.table.table import Table
from pilotage.xds import frontends, rule_targets, scope_builder
from pilotage.xds import snapshot as module
from pilotage.xds.backend import RESTART_HOLD
from pilotage.xds.options import GatewayOptions
from pilotage.xds.resources import CLUSTER, LISTENER, SCOPE
from pilotage.xds.snapshot import Snapshot
from tests.support.examples import more_examples
from tests.support.gateway import route
from tests.support.resources import build_resources

if TYPE_CHECKING:
    from pilotage.core.problems import Problem
    from pilotage.routes.route import Route
    from pilotage.xds.resources import Key, Resource

_OPTIONS = GatewayOptions()


def table(*routes: Route) -> Table:
    return Table({it.alias: it for it in routes})


def test_a_change_of_one_route_among_many_changes_one_scope() -> None:
    snapshot = Snapshot(_OPTIONS)
    routes = {f"app{n}": route(f"app{n}", 80) for n in range(300)}
    snapshot.replace(Table(routes))
    assert snapshot.change(Table(routes | {"app7": route("app7", 81)}), ["app7"]) == {(SCOPE, "app7")}
    assert snapshot.change(Table(routes | {"app7": route("app7", 81)}), ["app7"]) == frozenset()
    assert snapshot.change(Table(routes), ["app7", "app8"]) == {(SCOPE, "app7")}


def test_a_change_that_does_not_affect_envoy_changes_nothing() -> None:
    snapshot = Snapshot(_OPTIONS)
    snapshot.replace(table(route("app", 80)))
    assert snapshot.replace(table(route("app", 80, container="renamed", created=5))) == frozenset()


def test_a_second_endpoint_adds_a_cluster_and_its_removal_removes_it() -> None:
    snapshot = Snapshot(_OPTIONS)
    both = {(SCOPE, "app"), (CLUSTER, "route/app")}
    snapshot.replace(table(route("app", 80)))
    assert snapshot.replace(table(route("app", 80, 81))) == both
    assert snapshot.replace(table(route("app", 80, 81, 82))) == {(CLUSTER, "route/app")}
    assert snapshot.replace(table(route("app", 80))) == both
    assert (CLUSTER, "route/app") not in snapshot.resources


def test_an_unsupported_route_is_left_out_and_reported() -> None:
    snapshot = Snapshot(_OPTIONS)
    snapshot.replace(table(route("app", 80, middlewares={"oidc": {}}), route("web", 80)))
    assert (SCOPE, "app") not in snapshot.resources
    assert (SCOPE, "web") in snapshot.resources
    assert [problem.route for (problem,) in snapshot.problems.values()] == ["app"]
    snapshot.replace(table(route("app", 80), route("web", 80)))
    assert (SCOPE, "app") in snapshot.resources
    assert snapshot.problems == {}


def test_what_is_removed_does_not_linger_under_a_name_that_another_has_now() -> None:
    member, named = route("a", 80, load_balance=LoadBalance(link="shop"), hold=60.0), route("shop", 81, hold=60.0)
    for old, new, cluster in ((named, member, "pool/shop"), (member, named, "route/shop")):
        snapshot = Snapshot(_OPTIONS)
        snapshot.replace(table(old))
        snapshot.replace(table(new))
        assert set(snapshot.lingering) == {old.alias}
        assert snapshot.resources[SCOPE, "shop"].clusters == {cluster}


def test_the_leader_of_a_pool_comes_from_the_table() -> None:
    members = [route(alias, port, load_balance=LoadBalance(link="shop")) for alias, port in (("a", 80), ("b", 81))]
    snapshot = Snapshot(_OPTIONS)
    snapshot.replace(msgspec.structs.replace(table(*members), pool_members={"shop": ("b", "a")}))
    backend = snapshot.backend("pool/shop")
    assert backend is not None
    assert backend.route.alias == "b"


def test_a_member_may_have_the_pools_name() -> None:
    snapshot = Snapshot(_OPTIONS)
    balance = LoadBalance(link="shop")
    snapshot.replace(table(route("shop", 80, load_balance=balance), route("b", 81, load_balance=balance)))
    assert _problems(snapshot) == []
    assert snapshot.resources[SCOPE, "shop"].answers == ("shop",)


def test_the_problems_of_a_pool_go_when_its_last_member_does() -> None:
    snapshot = Snapshot(_OPTIONS)
    balance = LoadBalance(link="shop")
    asking = {"forwardauth": {"route": "missing"}}
    snapshot.replace(
        table(
            route("a", 80, load_balance=balance, middlewares=asking),
            route("b", 81, load_balance=balance, middlewares=asking, scheme="https"),
        )
    )
    assert set(snapshot.problems) == {"pool/shop", "auth/pool/shop"}
    assert "cannot join the pool 'shop': its scheme differs" in snapshot.problems["pool/shop"][0].message
    snapshot.replace(table())
    assert snapshot.problems == {}


def _problems(snapshot: Snapshot) -> list[Problem]:
    return [problem for found in snapshot.problems.values() for problem in found]


def test_a_forwardauth_route_has_its_own_cluster_while_others_use_it() -> None:
    snapshot = Snapshot(_OPTIONS)
    asking = route("app", 80, middlewares={"forwardauth": {"route": "auth"}})
    snapshot.replace(table(route("auth", 81)))
    assert snapshot.resources[SCOPE, "auth"].clusters == {"shared/http", "shared/http/safe"}
    snapshot.replace(table(route("auth", 81), asking))
    assert snapshot.resources[SCOPE, "auth"].clusters == {"route/auth"}
    snapshot.replace(table(route("auth", 81)))
    assert snapshot.resources[SCOPE, "auth"].clusters == {"shared/http", "shared/http/safe"}


def test_a_route_that_begins_or_ceases_to_ask_another_changes_that_ones_scope() -> None:
    snapshot = Snapshot(_OPTIONS)
    others = route("auth", 81), route("other", 82)
    asking, asking_other = (route("app", 80, middlewares={"forwardauth": {"route": it}}) for it in ("auth", "other"))
    silent = route("app", 80)
    snapshot.replace(table(silent, *others))
    scopes = {name: (SCOPE, name) for name in ("app", "auth", "other")}
    begun = snapshot.change(table(asking, *others), ["app"])
    assert begun == {scopes["app"], scopes["auth"], (CLUSTER, "route/auth")}
    moved = snapshot.change(table(asking_other, *others), ["app"])
    assert moved == {*scopes.values(), (CLUSTER, "route/auth"), (CLUSTER, "route/other")}
    ceased = snapshot.change(table(silent, *others), ["app"])
    assert ceased == {scopes["app"], scopes["other"], (CLUSTER, "route/other")}


def test_a_missing_forwardauth_route_is_reported() -> None:
    snapshot = Snapshot(_OPTIONS)
    asking = route("app", 80, middlewares={"forwardauth": {"route": "auth"}})
    pooled = route("b", 80, middlewares={"forwardauth": {"route": "auth"}}, load_balance=LoadBalance(link="shop"))
    snapshot.replace(table(asking, pooled))
    assert sorted(problem.route for problem in _problems(snapshot)) == ["app", "b"]
    assert "approved by the route 'auth', which is not served" in _problems(snapshot)[0].message
    snapshot.change(table(asking, pooled, route("auth", 81)), ["auth"])
    assert _problems(snapshot) == []
    snapshot.change(table(asking, pooled), ["auth"])
    assert sorted(problem.route for problem in _problems(snapshot)) == ["app", "b"]
    snapshot.replace(table())
    assert _problems(snapshot) == []


def test_an_https_route_without_an_endpoint_stays_https() -> None:
    snapshot = Snapshot(_OPTIONS)
    snapshot.replace(table(route("app", scheme="https", endpoints=(), hold=5.0)))
    backend = snapshot.backend("route/app")
    assert backend is not None
    assert (backend.route.scheme, _problems(snapshot), snapshot.downgrade.https) == ("https", [], {})


def test_certificates_survive_a_change_of_settings() -> None:
    from pilotage.xds.server_names import secret

    snapshot = Snapshot(_OPTIONS)
    snapshot.replace(table(route("app", 80)))
    resources = snapshot.resources
    one = secret(0, b"chain", b"key")
    assert snapshot.set_secrets([one]) == {one.key}
    assert snapshot.set_secrets([one]) == frozenset()
    changed = snapshot.configure(GatewayOptions(compression=True))
    assert (LISTENER, "http") in changed
    assert snapshot.resources is resources  # conversations look into it
    assert one.key in resources
    assert snapshot.set_secrets([]) == {one.key}


def test_after_a_change_of_settings_everything_is_as_if_it_had_been_built_with_them() -> None:
    now, options = table(route("app", 80), route("own", 80, 81)), GatewayOptions(compression=True)
    snapshot = Snapshot(_OPTIONS)
    snapshot.replace(now)
    changed = snapshot.configure(options)
    assert {(LISTENER, "http"), (SCOPE, "app")} >= changed > frozenset()
    expected = build_resources(now, options)
    assert snapshot.resources == {it.key: it for all_ in expected.values() for it in all_.values()}
    assert snapshot.change(table(route("app", 81), route("own", 80, 81)), ["app"]) == {(SCOPE, "app")}
    assert snapshot.configure(options) == frozenset()


def test_what_is_gone_leaves_nothing_in_the_indexes() -> None:
    snapshot = Snapshot(_OPTIONS)
    snapshot.replace(
        table(
            route("app", 80, 81, middlewares={"forwardauth": {"route": "auth"}}),
            route("pooled", 80, load_balance=LoadBalance(link="shop")),
            route("ssh", 22, scheme="tcp", port=PortPair(2222, 22)),
        )
    )
    snapshot.replace(table())
    found = [getattr(snapshot, name) for name in ("_routes", "_backends", "_pools", "_auth_users", "_clusters")]
    assert [len(it) for it in (*found, snapshot.frontends._scopes, snapshot.frontends._listeners)] == [0] * 7


def test_a_lingering_route_is_removed_unless_it_has_come_back() -> None:
    snapshot = Snapshot(_OPTIONS)
    held = route("app", 80, hold=5.0)
    snapshot.replace(table(held))
    snapshot.replace(table())
    left = snapshot.lingering["app"]
    snapshot.replace(table(held))
    assert snapshot.remove("app", left) == frozenset()  # it came back
    snapshot.replace(table())
    assert (SCOPE, "app") in snapshot.remove("app", snapshot.lingering["app"])
    assert (SCOPE, "app") not in snapshot.resources


def test_a_lingering_route_survives_a_change_of_settings() -> None:
    snapshot = Snapshot(_OPTIONS)
    snapshot.replace(table(route("app", 80, hold=5.0), route("web", 80)))
    snapshot.replace(table(route("web", 80)))
    left, scope = snapshot.lingering["app"], snapshot.resources[SCOPE, "app"]
    snapshot.configure(GatewayOptions(compression=True))
    assert snapshot.lingering == {"app": left}
    assert snapshot.resources[SCOPE, "app"] == scope
    assert (CLUSTER, "route/app") in snapshot.resources
    assert (SCOPE, "app") in snapshot.remove("app", left)
    assert (SCOPE, "app") not in snapshot.resources


@pytest.mark.parametrize(
    "function", ["check_capabilities", "route_backend", "pool_backend", "own_resources", "scope", "port_listener"]
)
def test_an_error_in_one_route_does_not_affect_the_others(monkeypatch: pytest.MonkeyPatch, function: str) -> None:
    homes = {"scope": scope_builder, "port_listener": frontends, "check_capabilities": rule_targets}
    real = getattr(home := homes.get(function, module), function)

    def failing(*args: Any, **options: Any) -> Any:
        if "bad" in repr(args):
            raise ValueError("odd")
        return real(*args, **options)

    special: dict[str, Any] = {"pool_backend": {"load_balance": LoadBalance(link="bad.pool")}}
    special["port_listener"] = {"scheme": "tcp", "port": PortPair(2222, 22)}
    bad = route("app.bad", 80, **special.get(function, {}))
    good = route("app", 80, 81), route("app.good", 80), route("ssh", 22, scheme="tcp", port=PortPair(2223, 22))
    snapshot = Snapshot(_OPTIONS)
    monkeypatch.setattr(home, function, failing)
    snapshot.replace(table(bad, *good))
    expected = Snapshot(_OPTIONS)
    expected.replace(table(*good))
    assert {key for key in snapshot.resources if "bad" not in key[1]} == expected.resources.keys()
    (problem,) = _problems(snapshot)
    assert problem.route == "app.bad"
    assert "its Envoy configuration cannot be built: ValueError: odd" in problem.message
    monkeypatch.setattr(home, function, real)
    snapshot.replace(table(*good))
    assert _problems(snapshot) == []
    assert snapshot.resources == expected.resources


# ---- any sequence of changes gives what the last table gives at once -------------------------------------------------


def _draining(alias: str, *ports: int) -> Route:
    return route(alias, endpoints=tuple(Endpoint("127.0.0.1", port, state="draining") for port in ports))


_aliases = st.sampled_from(["a", "b", "a.example.org", "*.example.org", "shop", "auth", "db"])


@st.composite
def _routes(draw: st.DrawFn) -> Route:
    alias = draw(_aliases)
    choice: dict[str, Any] = draw(
        st.sampled_from(
            [
                {},
                {"load_balance": LoadBalance(link="shop")},
                {"load_balance": LoadBalance(link="b", weight=3)},
                {"scheme": "https"},
                *({"port": PortPair(2222, 80), "bind": it} for it in ("", "127.0.0.1")),
                {"scheme": "tcp", "port": PortPair(2222, 22)},
                {"scheme": "tcp", "port": PortPair(2222, 22), "hold": 5.0},
                {"scheme": "tcp", "port": PortPair(2222, 23), "created": 9},
                {"middlewares": {"forwardauth": {"route": "auth"}}},
                {"middlewares": {"oidc": None}},
                {"healthcheck": HealthCheck(interval=7)},
                {"excluded": True, "excluded_reason": ExclusionReason.MANUAL},
            ]
        )
    )
    states = draw(st.lists(st.sampled_from(get_args(EndpointState)), max_size=3))
    endpoints = tuple(Endpoint("10.0.0.1", 80 + n, state=state) for n, state in enumerate(states))
    return route(alias, endpoints=endpoints, **choice)


def _sent(snapshot: Snapshot) -> dict[Key, Resource]:
    """Return what Envoys get, whether or not it was made from a template."""
    return {key: msgspec.structs.replace(item, content=item.body) for key, item in snapshot.resources.items()}


_BUSY = (Endpoint("10.0.0.1", 80), Endpoint("10.0.0.1", 81, state="waiting"))


@example([[_draining("a", 80)], [route("a", endpoints=_BUSY)]], random.Random(0))  # first without a template, then with
@more_examples(0.6)
@given(st.lists(st.lists(_routes(), max_size=6), min_size=1, max_size=5), st.randoms(use_true_random=False))
def test_incremental_changes_give_the_same_result_as_the_final_table(
    steps: list[list[Route]], order: random.Random
) -> None:
    snapshot = Snapshot(_OPTIONS)
    before: Table = table()
    for step in steps:
        shuffled = list(step)
        order.shuffle(shuffled)
        now = table(*shuffled)
        aliases = {*before.routes, *now.routes}
        snapshot.change(now, {alias for alias in aliases if before.routes.get(alias) != now.routes.get(alias)})
        before = now
    for alias, left in list(snapshot.lingering.items()):
        snapshot.remove(alias, left)
    for alias in sorted(snapshot.restarting):
        snapshot.settle(alias)
    direct = Snapshot(_OPTIONS)
    # Earlier states must not matter, except for who listened on a port and what requests are waiting for.
    direct.frontends.ports, direct.holds = snapshot.frontends.ports, snapshot.holds
    direct.replace(before)
    assert _sent(snapshot) == _sent(direct)
    # Only why somebody has a port depends on when it is asked.
    found, wanted = (
        {key: () if "listener/" in key else it for key, it in each.problems.items()} for each in (snapshot, direct)
    )
    assert found == wanted
    for item in snapshot.resources.values():
        assert item.clusters <= {name for kind, name in snapshot.resources if kind == CLUSTER}


def test_requests_wait_for_a_container_that_was_told_to_stop_and_comes_back() -> None:
    snapshot = Snapshot(_OPTIONS)
    stopped = route("app", endpoints=(), excluded=True, excluded_reason=ExclusionReason.NOT_RUNNING)

    def backend() -> tuple[str, bool, float]:
        found = snapshot.backend("route/app")
        assert found is not None
        return found.backing, found.is_closed, found.hold

    snapshot.replace(table(route("app", 80)))
    assert backend() == ("shared", False, 0.0)
    snapshot.replace(table(_draining("app", 80)))
    assert backend() == ("own", False, RESTART_HOLD)  # it may still answer, and requests that it refuses wait
    snapshot.replace(table(stopped))
    assert backend() == ("own", True, RESTART_HOLD)
    snapshot.replace(table(route("app", 80)))
    assert backend() == ("own", True, RESTART_HOLD)  # until it accepts connections
    snapshot.holds.open("route/app")
    snapshot.build_again("route/app")
    assert backend() == ("own", False, RESTART_HOLD)  # requests in flight find it in this cluster
    assert (SCOPE, "app") in snapshot.settle("app")
    assert backend() == ("shared", False, 0.0)
    assert snapshot.settle("app") == frozenset()


def test_a_container_that_was_stopped_for_good_is_gone_after_a_moment() -> None:
    snapshot = Snapshot(_OPTIONS)
    snapshot.replace(table(_draining("app", 80)))
    snapshot.replace(table())
    left = snapshot.lingering["app"]
    assert snapshot.hold_of("app", left) == RESTART_HOLD
    assert (SCOPE, "app") in snapshot.remove("app", left)
    assert (SCOPE, "app") not in snapshot.resources


def test_a_container_that_ends_without_being_told_to_stop_is_not_waited_for() -> None:
    snapshot = Snapshot(_OPTIONS)
    snapshot.replace(table(route("app", 80)))
    snapshot.replace(table())
    assert (snapshot.lingering, (SCOPE, "app") in snapshot.resources) == ({}, False)


def test_a_restart_is_expected_for_as_long_as_a_container_drains() -> None:
    snapshot = Snapshot(_OPTIONS)
    snapshot.replace(table(_draining("app", 80)))
    assert snapshot.settle("app") == frozenset()
    assert snapshot.restarting == {"app"}


def test_a_change_of_settings_does_not_end_the_wait_for_a_restart() -> None:
    snapshot = Snapshot(_OPTIONS)
    snapshot.replace(table(_draining("app", 80)))
    snapshot.replace(table(route("app", 80)))
    snapshot.configure(GatewayOptions(compression=True))
    assert (snapshot.backend("route/app").restarting, snapshot.restarting) == (True, {"app"})  # type: ignore[union-attr]
