"""Which virtual hosts of a scope one Envoy gets when it rejects some of them."""

from __future__ import annotations

from envoy.config.route.v3.scoped_route_pb2 import ScopedRouteConfiguration
from hypothesis import given
from hypothesis import strategies as st

from pilotage.xds import scoped_routes
from pilotage.xds.backend import route_backend
from pilotage.xds.filters import TARGET
from pilotage.xds.options import GatewayOptions
from pilotage.xds.resources import CLUSTER, SCOPE, Resource
from pilotage.xds.scope_parts import ScopeVariants, split_hosts
from tests.support.examples import more_examples
from tests.support.gateway import route
from tests.support.session import Envoy, cluster, hosts, probed_cluster


def started(*resources: object, bad: set[tuple[str, str]] | None = None) -> Envoy:
    envoy = Envoy(*resources)  # type: ignore[arg-type]
    envoy.bad = bad or set()
    envoy.connect()
    envoy.run()
    assert envoy.session.in_sync
    return envoy


def test_a_route_whose_cluster_is_rejected_answers_503_and_the_others_of_its_scope_are_served() -> None:
    scope = hosts("app", ("app.com", "1", "good"), ("app.org", "1", "bad"))
    envoy = started(cluster("good"), cluster("bad"), scope, bad={("bad", "1")})
    assert envoy.hosts["app"] == {"app.com": "1", "app.org": "503"}
    assert [(it.resource.name, it.host) for it in envoy.session.rejections] == [("bad", "")]


def test_a_withdrawal_and_a_move_do_not_wait_for_a_rejected_route() -> None:
    rejected = ("app.org", "1", "bad")
    envoy = started(
        *map(cluster, ("a", "b", "bad")),
        hosts("app", ("app.com", "1", "a"), ("app.net", "1", "b"), rejected),
        bad={("bad", "1")},
    )
    envoy.change(cluster("c"), hosts("app", ("app.com", "2", "c"), rejected), gone=((CLUSTER, "a"), (CLUSTER, "b")))
    envoy.run()
    assert envoy.hosts["app"] == {"app.com": "2", "app.org": "503"}
    assert {name for kind, name in envoy.has if kind == CLUSTER} == {"c"}
    envoy.change(hosts("app", rejected), gone=((CLUSTER, "c"),))
    envoy.run()
    assert envoy.hosts["app"] == {"app.org": "503"}
    envoy.change(gone=((SCOPE, "app"), (CLUSTER, "bad")))
    envoy.run()
    assert envoy.has == {}
    assert envoy.session.rejections == []


def test_a_route_whose_newer_cluster_is_rejected_does_not_lead_to_its_earlier_address() -> None:
    scope = hosts("app", ("app", "1", "c"))
    envoy = started(cluster("c"), scope)
    envoy.bad = {("c", "2")}
    envoy.change(cluster("c", "2"))
    envoy.run()
    assert envoy.hosts["app"] == {"app": "503"}
    envoy.change(cluster("c", "3"))
    envoy.run()
    assert envoy.hosts["app"] == {"app": "1"}
    assert envoy.has[SCOPE, "app"] == scope.version


def test_a_rejected_virtual_host_is_found_among_many() -> None:
    names = [f"app.n{number}" for number in range(20)]
    bad = {("app.n3", "1"), ("app.n7", "1"), ("app.n19", "1")}
    envoy = started(cluster("c"), hosts("app", *((name, "1", "c") for name in names)), bad=bad)
    assert envoy.hosts["app"] == {name: "503" if (name, "1") in bad else "1" for name in names}
    assert {it.host for it in envoy.session.rejections} == {name for name, _ in bad}
    envoy.change(hosts("app", *((name, "2", "c") for name in names)))
    envoy.run()
    assert envoy.hosts["app"] == dict.fromkeys(names, "2")
    assert envoy.session.rejections == []


def test_while_a_rejected_virtual_host_is_searched_the_accepted_ones_stay() -> None:
    envoy = started(cluster("c"), hosts("app", ("a", "1", "c"), ("b", "1", "c")))
    envoy.bad = {("a", "2")}
    envoy.change(hosts("app", ("a", "2", "c"), ("b", "2", "c"), ("d", "1", "c")))
    seen = []
    while envoy.round():
        seen.append(dict(envoy.hosts["app"]))
    assert seen[-1] == {"a": "503", "b": "2", "d": "1"}
    assert all(state["b"] in ("1", "2") for state in seen)


def test_a_route_that_waits_for_its_cluster_keeps_its_previous_virtual_host() -> None:
    envoy = started(cluster("a"), cluster("b"), hosts("app", ("x", "1", "a"), ("y", "1", "b")))
    envoy.probing = True
    envoy.change(probed_cluster("slow"))
    envoy.run()
    envoy.change(cluster("new"), hosts("app", ("x", "2", "new"), ("z", "1", "b")))
    envoy.run()
    assert envoy.hosts["app"] == {"x": "1", "z": "1"}
    envoy.has_probed()
    envoy.run()
    assert envoy.hosts["app"] == {"x": "2", "z": "1"}


def off(found: Resource) -> set[str]:
    return set(ScopedRouteConfiguration.FromString(found.body).route_configuration.typed_per_filter_config)


def test_a_plain_route_that_waits_for_a_cluster_of_its_own_still_finds_its_target() -> None:
    """The filter that tells the target is off in scopes without plain routes, but the previous host needs it."""
    plain = route_backend(route("app", 80))
    own = route_backend(route("app", 80), restarting=True)
    before, after = (scoped_routes.scope("app", [it], GatewayOptions()) for it in (plain, own))
    variants = ScopeVariants()
    variants.on_ack(before)
    waiting = variants.choose(after, dict.fromkeys(after.clusters, "waiting"), is_new=False).scope
    assert waiting is not None
    assert split_hosts(waiting) == split_hosts(before)
    assert (TARGET in off(before), TARGET in off(waiting), TARGET in off(after)) == (False, False, True)


def test_a_rejected_virtual_host_is_served_once_a_retry_succeeds() -> None:
    scope = hosts("app", ("a", "1", "c"), ("b", "1", "c"))
    envoy = started(cluster("c"), scope, bad={("b", "1")})
    envoy.got.clear()
    envoy.session.retry(envoy.session.rejected_keys)
    envoy.run()
    assert len(envoy.got) == 1
    assert envoy.hosts["app"] == {"a": "1", "b": "503"}
    envoy.bad.clear()
    envoy.session.retry([(SCOPE, "app")])
    envoy.run()
    assert envoy.hosts["app"] == {"a": "1", "b": "1"}
    assert envoy.session.rejections == []


def test_a_scope_that_is_rejected_although_all_its_hosts_were_accepted_is_not_sent_for_ever() -> None:
    envoy = started(cluster("c"), hosts("app", ("a", "1", "c"), ("b", "1", "c")))
    envoy.bad = {("a", "1")}
    envoy.change(hosts("app", ("a", "1", "c")))
    envoy.run()
    assert [it.resource.name for it in envoy.session.rejections] == ["app"]


def test_the_virtual_hosts_of_a_scope_can_be_split_and_joined() -> None:
    scope = hosts("app", ("a", "1", "c"), ("b", "1", ""))
    first, second = split_hosts(scope)
    assert (first.name, set(first.clusters)) == ("a", {"c"})
    assert (second.name, set(second.clusters)) == ("b", set())
    assert scope.body.endswith(first.body + second.body)


NAMES = ("app.a", "app.b", "app.c", "shop.d", "shop.e", "web.f")


def _hosts(wanted: dict[str, str]) -> list[tuple[str, str, str]]:
    return [(name, version, f"route/{name}") for name, version in wanted.items()]


def _served(envoy: Envoy) -> dict[str, str]:
    return {name: version for found in envoy.hosts.values() for name, version in found.items()}


STEP = st.dictionaries(st.sampled_from(NAMES), st.sampled_from(("1", "2", "3")))


@more_examples(5)
@given(
    st.lists(STEP, min_size=1, max_size=5),
    st.frozensets(st.tuples(st.sampled_from(NAMES), st.sampled_from(("1", "2", "3")))),
    st.frozensets(st.tuples(st.sampled_from(NAMES), st.sampled_from(("1", "2", "3")))),
)
def test_whatever_envoy_rejects_the_other_routes_are_exactly_as_they_should_be(
    steps: list[dict[str, str]], bad_hosts: frozenset[tuple[str, str]], bad_clusters: frozenset[tuple[str, str]]
) -> None:
    envoy = Envoy()
    envoy.bad = {*bad_hosts, *((f"route/{name}", version) for name, version in bad_clusters)}
    envoy.connect()
    for wanted in steps:
        made = [cluster(f"route/{name}", version) for name, version in wanted.items()]
        labels = sorted({name.partition(".")[0] for name in wanted})
        scopes = [hosts(label, *(it for it in _hosts(wanted) if it[0].startswith(label))) for label in labels]
        gone = {key for key in envoy.should if key not in {it.key for it in (*made, *scopes)}}
        envoy.change(*made, *scopes, gone=tuple(gone))
        envoy.run()
        rejected = bad_hosts | bad_clusters
        shall = {name: "503" if (name, version) in rejected else version for name, version in wanted.items()}
        assert _served(envoy) == shall
        assert envoy.session.in_sync
        assert bool(envoy.session.rejections) == ("503" in shall.values())
    envoy.bad.clear()
    envoy.session.retry(envoy.session.rejected_keys)
    envoy.run()
    assert _served(envoy) == steps[-1]
    assert envoy.session.rejections == []
