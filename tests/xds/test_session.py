from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from aiohttp import web
from envoy.service.discovery.v3 import discovery_pb2
from hypothesis import given
from hypothesis import strategies as st

from pilotage.routes.schema import HealthCheck
from pilotage.xds.resources import CLUSTER, LISTENER, SCOPE, SECRET, Key, Resource
from tests.support.examples import more_examples
from tests.support.gateway import becomes, route, target
from tests.support.session import Envoy, cluster, item, probed_cluster, probing, scope
from tests.support.waiting import until


def test_the_first_response_is_sent_even_without_resources() -> None:
    envoy = Envoy()
    envoy.connect()
    assert not envoy.session.in_sync
    assert {message.type_url for message in envoy.session.next_responses()} == {CLUSTER, LISTENER, SCOPE}
    assert not envoy.session.in_sync


def test_clusters_are_sent_first_and_removed_last() -> None:
    envoy = Envoy()
    envoy.connect()
    envoy.run()
    envoy.got.clear()
    envoy.change(cluster("c"), scope("app", "1", "c"))
    envoy.run()
    envoy.change(gone=((CLUSTER, "c"), (SCOPE, "app")))
    envoy.run()
    assert envoy.got == [(CLUSTER, ["c"], []), (SCOPE, ["app"], []), (SCOPE, [], ["app"]), (CLUSTER, [], ["c"])]
    assert envoy.session.in_sync


def test_a_scope_moves_to_its_new_cluster_before_the_old_one_is_removed() -> None:
    envoy = Envoy(cluster("old"), scope("app", "1", "old"))
    envoy.connect()
    envoy.run()
    envoy.got.clear()
    envoy.change(cluster("new"), scope("app", "2", "new"), gone=((CLUSTER, "old"),))
    envoy.run()
    assert envoy.got == [(CLUSTER, ["new"], []), (SCOPE, ["app"], []), (CLUSTER, [], ["old"])]


def test_a_cluster_that_comes_back_during_its_removal_is_sent_again_before_it_is_referenced() -> None:
    envoy = Envoy(cluster("c"), scope("app", "1", "c"))
    envoy.connect()
    envoy.run()
    envoy.change(gone=((SCOPE, "app"), (CLUSTER, "c")))
    envoy.round()
    (removal,) = envoy.session.next_responses()
    assert list(removal.removed_resources) == ["c"]
    envoy.change(cluster("c"), scope("app", "2", "c"))
    assert envoy.session.next_responses() == []
    envoy._answer(removal)
    envoy.run()
    assert envoy.has == {(CLUSTER, "c"): "1", (SCOPE, "app"): "2"}


def test_a_cluster_is_referenced_once_its_version_without_checks_is_acknowledged() -> None:
    first = cluster("c", "without checks")
    envoy = Envoy(cluster("c", "with checks", first=first), scope("app", "1", "c"))
    envoy.connect()
    envoy.round()
    assert envoy.has[CLUSTER, "c"] == "without checks"
    envoy.round()
    assert envoy.has[SCOPE, "app"] == "1"
    envoy.run()
    assert envoy.has[CLUSTER, "c"] == "with checks"


def test_one_response_of_each_type_is_in_flight_and_later_changes_accumulate() -> None:
    envoy = Envoy()
    envoy.connect()
    envoy.run()
    envoy.got.clear()
    envoy.change(cluster("a"))
    (under_way,) = envoy.session.next_responses()
    for number in range(10):
        envoy.change(cluster("b", str(number)))
        assert envoy.session.next_responses() == []
    envoy._answer(under_way)
    envoy.run()
    assert envoy.got == [(CLUSTER, ["a"], []), (CLUSTER, ["b"], [])]


def test_other_changes_do_not_wait_while_envoy_probes() -> None:
    envoy = probing()
    envoy.change(cluster("new"), scope("new", "1", "new"))
    envoy.run()
    for version in ("2", "3"):
        envoy.change(cluster("old", version))
        assert not envoy.session.has_current((CLUSTER, "old"))
        envoy.run()
        assert envoy.session.has_current((CLUSTER, "old"))
    envoy.change(gone=((CLUSTER, "new"), (SCOPE, "new")))
    envoy.run()
    assert envoy.got == [
        (CLUSTER, ["new"], []),
        (SCOPE, ["new"], []),
        (CLUSTER, ["old"], []),
        (CLUSTER, ["old"], []),
        (SCOPE, [], ["new"]),
        (CLUSTER, [], ["new"]),
    ]
    assert not envoy.session.in_sync
    envoy.got.clear()
    envoy.has_probed()
    envoy.run()
    assert envoy.session.in_sync
    assert envoy.got == []


def test_clusters_with_checks_are_sent_last_and_separately() -> None:
    envoy = Envoy()
    envoy.connect()
    envoy.run()
    envoy.change(probed_cluster("a"), cluster("b"), probed_cluster("c"))
    envoy.run()
    assert envoy.got[-2:] == [(CLUSTER, ["a", "b", "c"], []), (CLUSTER, ["a", "c"], [])]
    assert envoy.session.in_sync


def test_existing_scopes_do_not_reference_unacknowledged_clusters_while_envoy_probes() -> None:
    envoy = probing()
    envoy.bad = {("bad", "1")}
    envoy.change(cluster("bad"), cluster("good"), scope("old", "2", "bad"))
    envoy.run()
    assert envoy.has[SCOPE, "old"] == "1"
    envoy.has_probed()
    envoy.run()
    assert envoy.has[SCOPE, "old"] == "1"
    assert envoy.refused == [("bad", "1")]
    assert (CLUSTER, "good") in envoy.has


def test_the_number_of_responses_in_flight_is_limited_while_envoy_probes() -> None:
    envoy = probing()
    for version in range(200):
        envoy.change(cluster("old", str(version)))
        envoy.run()
    assert len(envoy.withheld) == 100
    envoy.has_probed()
    envoy.run()
    assert envoy.has[CLUSTER, "old"] == "199"
    assert envoy.session.in_sync


async def test_a_real_envoy_applies_other_changes_while_it_probes(envoy: Any) -> None:
    async with target("slow") as slow, target("one") as one, target("two") as two, envoy() as gw:
        asked, go_on = asyncio.Event(), asyncio.Event()

        async def late(_request: web.Request) -> web.Response:
            asked.set()
            await go_on.wait()
            return web.Response()

        slow.handlers["/"] = late
        probed = route("probed", slow.port, healthcheck=HealthCheck(timeout=30))
        gw.publish_unheard(probed)
        await asked.wait()

        async def by() -> str:
            return (await gw.ask("other")).by

        for it in (one, two, one):
            gw.publish_unheard(probed, route("other", it.port, max_conns_per_host=9))
            await becomes(by, it.name)
        gw.publish_unheard(probed)
        await becomes(by, "")
        (session,) = gw.ads._sessions
        assert not session.in_sync  # all that went by while Envoy waited for the answer to its probe
        go_on.set()
        await until(lambda: session.in_sync)


def test_current_resources_are_not_resent_and_removed_ones_are_withdrawn() -> None:
    has = {(CLUSTER, "c"): "1", (SCOPE, "app"): "1", (SCOPE, "gone"): "7", (CLUSTER, "left"): "3"}
    envoy = Envoy(cluster("c"), scope("app", "1", "c"), has=has)
    envoy.connect()
    envoy.run()
    assert envoy.got == [
        (CLUSTER, [], []),
        (LISTENER, [], []),
        (SCOPE, [], ["gone"]),
        (CLUSTER, [], ["left"]),
    ]
    assert envoy.has == {(CLUSTER, "c"): "1", (SCOPE, "app"): "1"}


def test_one_outdated_resource_is_found_behind_thousands_of_current_ones() -> None:
    many = [scope(f"{number:05}", "1") for number in range(10_000)]
    envoy = Envoy(*many, scope("late", "2"), has={**{it.key: it.version for it in many}, (SCOPE, "late"): "1"})
    envoy.connect()
    envoy.run()
    assert [names for kind, names, _ in envoy.got if kind == SCOPE] == [["late"]]
    assert envoy.session.in_sync


def test_large_resources_come_in_several_responses() -> None:
    large = [msgspec.structs.replace(scope(f"{number}", "1"), content=bytes(3 * 2**20)) for number in range(5)]
    envoy = Envoy(scope("a", "1"), *large, msgspec.structs.replace(scope("huge", "1"), content=bytes(9 * 2**20)))
    envoy.connect()
    envoy.run()
    sent = [names for kind, names, _ in envoy.got if kind == SCOPE and names]
    assert sorted(name for names in sent for name in names) == ["0", "1", "2", "3", "4", "a", "huge"]
    assert max(len(set(names) - {"a"}) for names in sent) == 2
    assert envoy.session.in_sync


def test_thousands_of_current_resources_need_only_one_empty_response() -> None:
    many = [scope(f"{number:05}", "1") for number in range(10_000)]
    envoy = Envoy(*many, has={it.key: it.version for it in many})
    envoy.connect()
    envoy.run()
    assert [names for kind, names, _ in envoy.got if kind == SCOPE] == [[]]
    assert envoy.session.in_sync


def test_thousands_of_scopes_waiting_for_a_cluster_do_not_block_others() -> None:
    many = [scope(f"{number:05}", "1", "old") for number in range(3_000)]
    envoy = Envoy(cluster("old"), *many)
    envoy.connect()
    envoy.run()
    envoy.probing = True
    envoy.change(probed_cluster("slow"))
    envoy.run()
    envoy.change(cluster("new"), *(scope(it.name, "2", "new") for it in many), scope("behind them", "1", "old"))
    envoy.run()
    assert envoy.has[SCOPE, "00000"] == "1"
    assert envoy.has[SCOPE, "behind them"] == "1"
    envoy.has_probed()
    envoy.run()
    assert envoy.has[SCOPE, "00000"] == "2"
    assert envoy.session.in_sync


def test_secrets_are_sent_to_envoys_that_subscribe_to_them() -> None:
    envoy = Envoy(item(SECRET, "one", "1"), item(SECRET, "two", "1"))
    envoy.connect()
    envoy.run()
    asking = discovery_pb2.DeltaDiscoveryRequest(type_url=SECRET, resource_names_subscribe=["one"])
    envoy.session.handle_request(asking)
    envoy.run()
    assert (SECRET, "one") in envoy.has
    assert (SECRET, "two") not in envoy.has
    envoy.change(item(SECRET, "one", "2"), item(SECRET, "two", "2"))
    envoy.run()
    assert envoy.has[SECRET, "one"] == "2"
    envoy.session.handle_request(
        discovery_pb2.DeltaDiscoveryRequest(type_url=SECRET, resource_names_unsubscribe=["one"])
    )
    envoy.change(item(SECRET, "one", "3"))
    envoy.run()
    assert envoy.has[SECRET, "one"] == "2"


_steps = st.lists(
    st.lists(
        st.tuples(st.sampled_from("abcd"), st.sampled_from(["0", "1", "2", "bad"]), st.sets(st.sampled_from("wxyz"))),
        max_size=4,
    ),
    max_size=8,
)


@more_examples(2)
@given(_steps, st.lists(st.booleans(), max_size=30), st.lists(st.booleans(), max_size=8))
def test_envoy_ends_up_in_sync_after_any_sequence_of_changes(
    steps: list[list[tuple[str, str, set[str]]]], answers: list[bool], probes: list[bool]
) -> None:
    envoy = Envoy()
    envoy.bad = {(name, version) for name in "abcd" for version in ("bad",)}
    envoy.connect()
    pending: list[Any] = []
    choices, probing = iter(answers), iter(probes)
    scopes: dict[str, Resource] = {}
    now: dict[Key, Resource] = {}
    for step in steps:
        for name, version, used in step:
            if version == "0":
                scopes.pop(name, None)
            else:
                text = version if version == "bad" else version + "".join(sorted(used))
                scopes[name] = scope(name, text, *used)
        wanted = {name for it in scopes.values() for name in it.clusters}
        version = str(len(scopes))
        made = [probed_cluster(name, version) if name in "wx" else cluster(name, version) for name in wanted]
        now = {it.key: it for it in (*scopes.values(), *made)}
        gone = tuple(key for key in envoy.should if key not in now)
        envoy.change(*now.values(), gone=gone)
        envoy.probing = next(probing, False)
        if not envoy.probing:
            envoy.has_probed()
        pending += envoy.session.next_responses()
        while pending and bool(next(choices, True)):
            envoy._answer(pending.pop(0))
    while pending:
        envoy._answer(pending.pop(0))
    envoy.has_probed()
    envoy.run()
    assert envoy.session.in_sync
    for key, it in envoy.should.items():
        if it.version != "bad":
            assert envoy.has[key] == it.version
    stale = {name for (kind, name) in envoy.has if kind == SCOPE} - scopes.keys()
    assert stale == set()
    if not envoy.refused:  # of what was refused together with others, some may be there and lead to old clusters
        assert envoy.has.keys() == now.keys()


def test_an_envoy_that_rejects_its_first_listener_is_in_sync_without_scopes() -> None:
    listener = item(LISTENER, "http", "1")
    envoy = Envoy(listener)
    envoy.bad.add(("http", "1"))
    for type_url in (CLUSTER, LISTENER):
        request = discovery_pb2.DeltaDiscoveryRequest(type_url=type_url)
        request.node.id = "me"
        envoy.session.handle_request(request)
    assert not envoy.session.in_sync
    assert not envoy.session.is_missing(listener.key)  # it may still accept it
    envoy.run()
    assert envoy.session.is_missing(listener.key)
    assert envoy.session.in_sync
    envoy.change(item(LISTENER, "http", "2"))
    envoy.run()
    assert not envoy.session.is_missing(listener.key)
    assert not envoy.session.in_sync  # now it will ask for scopes
    envoy.bad.add(("http", "3"))
    envoy.change(item(LISTENER, "http", "3"))
    envoy.run()
    assert (LISTENER, "http") in envoy.session.nacks
    assert not envoy.session.is_missing(listener.key)  # it has one of before


def test_before_envoy_subscribes_what_it_is_sure_to_ask_for_is_pending() -> None:
    envoy = Envoy(cluster("c"))
    assert not envoy.session.in_sync
    assert envoy.session.is_pending((CLUSTER, "c"))
    assert envoy.session.is_pending((LISTENER, "tcp/0.0.0.0:22"))
    assert not envoy.session.is_pending((SCOPE, "app"))  # without an HTTP listener, it never asks for scopes
    assert not envoy.session.is_pending((SECRET, "certificate/0"))
    envoy.change(item(LISTENER, "http", "1"))
    assert envoy.session.is_pending((SCOPE, "app"))
    envoy.connect()
    envoy.round()  # nothing has been sent before the first round
    envoy.run()
    assert envoy.session.in_sync
    assert not envoy.session.is_pending((CLUSTER, "c"))


def test_before_envoy_subscribes_it_has_nothing_and_changes_are_not_noted() -> None:
    envoy = Envoy(cluster("c"))
    envoy.session.mark_changed([(CLUSTER, "c"), (SECRET, "s")])
    assert not envoy.session.has_current((CLUSTER, "c"))
    assert not envoy.session.has_current((CLUSTER, "unknown"))
    envoy.connect()
    assert not envoy.session.has_current((CLUSTER, "c"))
    envoy.run()
    assert envoy.session.has_current((CLUSTER, "c"))
    assert not envoy.session.has_current((CLUSTER, "unknown"))
    assert envoy.got == [(CLUSTER, ["c"], []), (LISTENER, [], []), (SCOPE, [], [])]


def test_a_resource_is_pending_until_envoy_answers_its_addition_and_its_removal() -> None:
    envoy = Envoy(cluster("c"), cluster("d"))
    envoy.connect()
    key = (CLUSTER, "c")
    assert envoy.session.is_pending(key)
    for step in range(2):
        messages = envoy.session.next_responses()
        assert envoy.session.is_pending(key)
        for message in messages:
            envoy._answer(message)
        assert not envoy.session.is_pending(key)
        if not step:
            envoy.change(gone=(key,))
            assert envoy.session.is_pending(key)
            assert not envoy.session.is_pending((CLUSTER, "d"))


def test_a_cluster_that_is_complete_does_not_wait_for_one_with_checks() -> None:
    envoy = Envoy()
    envoy.connect()
    envoy.run()
    envoy.change(probed_cluster("a"))
    envoy.round()  # Envoy has it without checks
    envoy.change(cluster("b"))
    envoy.run()
    assert envoy.got[-2:] == [(CLUSTER, ["b"], []), (CLUSTER, ["a"], [])]
