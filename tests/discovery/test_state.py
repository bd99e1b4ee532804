"""One engine's containers: relevant events, what lists change, and that removed containers leave nothing behind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from pilotage.containers.inspection import inspection_failed, with_inspection
from pilotage.containers.parse import ContainerParser
from pilotage.discovery.events import ContainerEvent, Effect
from pilotage.discovery.state import EngineState
from pilotage.engine.config import DockerProviderConfig
from pilotage.engine.types import Inspect
from pilotage.table.snapshot import build_snapshot
from pilotage.testing import FakeEngine, container

if TYPE_CHECKING:
    from pilotage.routes.build import Built
    from pilotage.routes.route import Route
    from pilotage.testing import FakeContainer

OURS = {"proxy.web.port": "80"}


class Watched:
    """A fake engine and a state that is updated from its lists."""

    def __init__(self, *containers: FakeContainer, name: str = "local", flavour: Any = "docker") -> None:
        self.engine = FakeEngine(containers, flavour=flavour)
        self.state = EngineState(ContainerParser(DockerProviderConfig("unix:///run/e.sock", name=name)))
        self.state.podman = flavour == "podman"
        self.sync()

    def raws(self, *only: FakeContainer) -> list[msgspec.Raw]:
        return [
            msgspec.Raw(self.engine.summary_bytes(it, with_health=False))
            for it in self.engine.in_order()
            if not only or it in only
        ]

    def sync(self) -> dict[str, Built | None]:
        """Update the state from a full list; on Podman, inspect what changed."""
        listed = self.state.diff(self.raws())
        changed = listed.changed
        if self.state.podman:
            answers = [self.engine.inspect_bytes(self.engine.containers[it.container_id]) for it in changed]
            changed = [
                with_inspection(it, msgspec.json.decode(answer, type=Inspect)) if it.running else it
                for it, answer in zip(changed, answers, strict=True)
            ]
        return self.state.update(changed, fingerprints=listed.fingerprints, present=listed.ids)

    def routes(self) -> dict[str, Route]:
        return {route.alias: route for built in self.state.built.values() for route in built.routes}

    def states(self) -> dict[str, list[str]]:
        return {alias: [e.state for e in route.endpoints] for alias, route in self.routes().items()}


def refresh(it: FakeContainer, action: str = "start", *, routed_only: bool = False) -> ContainerEvent:
    return ContainerEvent(it.id, Effect.REFRESH, action, it.name, routed_only=routed_only, labels=it.labels)


def removed(it: FakeContainer) -> ContainerEvent:
    return ContainerEvent(it.id, Effect.REMOVED, "destroy", it.name, labels=it.labels)


def draining(it: FakeContainer) -> ContainerEvent:
    return ContainerEvent(it.id, Effect.DRAINING, "kill", it.name, routed_only=True, labels=it.labels)


# ---- lists


def test_the_same_list_twice_changes_nothing() -> None:
    watched = Watched(container("web"), container("db", state="exited"))
    assert set(watched.routes()) == {"web", "db"}
    listed = watched.state.diff(watched.raws())
    assert listed.unchanged == set(watched.engine.containers)
    assert listed.changed == []
    assert watched.sync() == {}


def test_only_what_changed_is_decoded_again() -> None:
    web, app = container("web"), container("app")
    watched = Watched(web, app)
    watched.engine.become(app, "exited")
    listed = watched.state.diff(watched.raws())
    assert (listed.unchanged, [it.container_name for it in listed.changed]) == ({web.id}, ["app"])
    assert set(watched.sync()) == {app.id}


def test_a_new_uptime_is_not_a_change_but_a_new_health_is() -> None:
    raw = {"Id": "a" * 64, "Names": ["/web"], "State": "running", "Status": "Up 2 seconds (healthy)"}
    state = Watched().state

    def changed(**fields: str) -> bool:
        listed = state.diff([msgspec.Raw(msgspec.json.encode(raw | fields))])
        state.update(listed.changed, fingerprints=listed.fingerprints)
        return bool(listed.changed)

    assert changed()
    assert not changed(Status="Up About a minute (healthy)")
    assert not changed(Status="Up 3 days (healthy)")
    assert changed(Status="Up 3 days (unhealthy)")
    assert changed(Status="Up 3 days")


@pytest.mark.parametrize("part", ["Names", "Labels", "Ports", "NetworkSettings", "Mounts", "Health", "State", "Image"])
def test_each_part_that_can_change_is_compared(part: str) -> None:
    values = {"Names": ["/x"], "Ports": [], "Mounts": [], "State": "exited", "Image": "x:2"}
    watched = Watched(container("web", labels=OURS, ports=["8080:80"], mounts=[("/a", "/b")]))
    raw = msgspec.json.decode(watched.raws()[0]) | {part: values.get(part, {})}
    assert watched.state.diff([msgspec.Raw(msgspec.json.encode(raw))]).changed


def shuffled(raw: msgspec.Raw) -> msgspec.Raw:
    """Return an entry with its ports and mounts in another order, as dockerd lists them now and then."""
    entry = msgspec.json.decode(raw)
    return msgspec.Raw(msgspec.json.encode(entry | {key: entry[key][::-1] for key in ("Ports", "Mounts")}))


def test_another_order_of_ports_and_mounts_is_no_change() -> None:
    watched = Watched(container("web", ports=["80", "81", "8443:443"], mounts=[("a", "/a"), ("b", "/b")]))
    (raw,) = watched.raws()
    turned = shuffled(raw)
    assert bytes(turned) != bytes(raw)
    listed = watched.state.diff([turned])
    assert (len(listed.unchanged), listed.changed) == (1, [])


def test_an_entry_that_returns_after_a_change_is_a_change() -> None:
    web = container("web", labels=OURS)
    watched = Watched(web)
    (before,) = watched.raws()
    assert watched.state.diff([before]).changed == []
    watched.engine.become(web, "exited")
    assert set(watched.sync()) == {web.id}
    listed = watched.state.diff([before])
    assert [it.state for it in listed.changed] == ["running"]


def test_an_entry_that_returns_after_a_change_of_unknown_extent_is_a_change() -> None:
    web = container("web", labels=OURS)
    watched = Watched(web)
    (before,) = watched.raws()
    watched.engine.become(web, "exited")
    watched.state.update(watched.state.diff(watched.raws()).changed)  # without fingerprints
    assert not watched.routes()["web"].endpoints
    listed = watched.state.diff([before])
    assert [it.state for it in listed.changed] == ["running"]


def test_an_interrupted_refresh_leaves_no_trace() -> None:
    web = container("web")
    watched = Watched(web)
    watched.engine.become(web, "exited")
    watched.state.diff(watched.raws())  # the engine fails before the update
    assert watched.routes()["web"].endpoints
    assert set(watched.sync()) == {web.id}
    assert not watched.routes()["web"].endpoints


def test_containers_missing_from_a_full_list_are_gone() -> None:
    web, app = container("web"), container("app")
    watched = Watched(web, app)
    del watched.engine.containers[web.id]
    assert watched.sync() == {web.id: None}
    assert set(watched.routes()) == {"app"}
    assert len(watched.state) == 1


def test_nothing_is_kept_of_removed_containers() -> None:
    watched = Watched()
    for n in range(50):
        owner = watched.engine.add(f"owner{n}")
        watched.engine.add(f"user{n}", network_mode=f"container:{owner.id}", labels=OURS)
        watched.sync()
        watched.state.drain(owner.id, 1.0)
        for it in list(watched.engine.containers.values()):
            del watched.engine.containers[it.id]
            watched.state.update((), gone=(it.id,))
    books = {name: value for name, value in vars(watched.state).items() if isinstance(value, dict)}
    assert len(books) == 6
    assert len(watched.state._fingerprints) == 0
    assert all(not value for value in books.values()), books


def test_an_unreadable_element_is_reported_and_affects_nothing_else() -> None:
    watched = Watched(container("web"))
    raws = [*watched.raws(), msgspec.Raw(b'{"Id":"bad","Names":["/odd"],"Labels":7}'), msgspec.Raw(b"7")]
    for _ in range(2):
        listed = watched.state.diff(raws)
        watched.state.update(listed.changed, fingerprints=listed.fingerprints, present=listed.ids)
        assert set(watched.routes()) == {"web"}
        found = [problem for built in watched.state.built.values() for problem in built.problems]
        assert len(found) == 2
        assert all("cannot be read" in problem.message for problem in found)


def test_the_snapshot_is_complete_and_sorted_by_name() -> None:
    watched = Watched(container("b"), container("a"), container("c", state="exited"))
    snapshot = watched.state.snapshot()
    assert [it.container_name for it in snapshot.containers] == ["a", "b", "c"]
    assert [built.routes[0].alias for built in snapshot.built] == ["a", "b", "c"]


# ---- relevant events


def test_events_of_unknown_containers_are_relevant_unless_they_stop() -> None:
    state, web = Watched().state, container("web")
    assert state.is_relevant(refresh(web, "create"))
    assert not state.is_relevant(removed(web))
    assert not state.is_relevant(draining(web))


def test_health_and_signals_are_relevant_only_to_routed_containers() -> None:
    served, hidden = container("web"), container("hidden", labels={"proxy.exclude": "true"})
    state = Watched(served, hidden).state
    for action in ("health_status healthy", "update", "oom"):
        assert state.is_relevant(refresh(served, action, routed_only=True))
        assert not state.is_relevant(refresh(hidden, action, routed_only=True))
    assert state.is_relevant(refresh(hidden, "die"))


def test_every_event_of_a_container_in_flight_is_relevant() -> None:
    stopped = container("web", state="exited", health="starting")
    state = Watched(stopped).state
    event = refresh(stopped, "health_status healthy", routed_only=True)
    assert not state.is_relevant(event)
    assert state.is_relevant(event, in_flight=True)


def test_an_explicit_only_engine_ignores_events_of_other_containers() -> None:
    plain, ours = container("plain"), container("ours", labels=OURS)
    state = Watched(plain, ours, name="local!").state
    assert not state.is_relevant(refresh(plain))
    assert state.is_relevant(refresh(ours))
    assert not state.is_relevant(refresh(container("new"), "create"))
    assert state.is_relevant(refresh(container("new", labels=OURS), "create"))
    assert state.is_relevant(removed(plain))  # otherwise it would be remembered forever


def test_an_explicit_only_engine_follows_the_owners_of_used_networks() -> None:
    vpn = container("vpn")
    user = container("user", labels=OURS, network_mode=f"container:{vpn.id}")
    watched = Watched(user, name="local!")
    assert watched.state.missing_network_owners(watched.state.containers.values()) == {vpn.id: "user"}
    assert watched.state.is_relevant(refresh(vpn, "create"))
    watched.engine.populate([vpn])
    watched.sync()
    assert watched.state.missing_network_owners(watched.state.containers.values()) == {}
    assert watched.state.is_relevant(refresh(vpn, "die"))


# ---- shared networks


def test_a_container_that_uses_anothers_network_follows_it() -> None:
    vpn = container("vpn", ip="10.9.0.7")
    user = container("user", labels={"proxy.user.port": "9000"}, network_mode=f"container:{vpn.id}")
    watched = Watched(vpn, user)
    assert watched.routes()["user"].target == "http://10.9.0.7:9000"
    watched.engine.become(vpn, "exited")
    assert set(watched.sync()) == {vpn.id, user.id}
    assert watched.routes()["user"].endpoints == ()
    watched.engine.become(vpn, "running")
    watched.sync()
    assert watched.routes()["user"].target == "http://10.9.0.7:9000"
    watched.engine.remove(vpn)
    assert set(watched.sync()) == {vpn.id, user.id}
    assert watched.routes()["user"].excluded_reason == "No port exposed in container"  # its owner is gone


def test_the_owner_of_a_network_may_be_given_by_name_and_come_later() -> None:
    user = container("user", labels={"proxy.user.port": "9000"}, network_mode="container:vpn")
    watched = Watched(user)
    assert watched.routes()["user"].host == "127.0.0.1"
    vpn = watched.engine.add("vpn", ip="10.9.0.7")
    assert set(watched.sync()) == {vpn.id, user.id}
    assert watched.routes()["user"].target == "http://10.9.0.7:9000"
    watched.engine.rename(vpn, "tunnel")
    assert user.id in watched.sync()
    assert watched.routes()["user"].host == "127.0.0.1"


def test_shared_networks_match_those_of_a_full_list() -> None:
    vpn = container("vpn", ip="10.9.0.7")
    user = container("user", labels=OURS, network_mode=f"container:{vpn.id}")
    watched = Watched(user)
    watched.engine.populate([vpn])
    watched.sync()
    parser = watched.state.parser
    whole = build_snapshot(parser.config, [parser.decode(raw) for raw in watched.raws()])
    assert sorted(whole.built, key=str) == sorted(watched.state.snapshot().built, key=str)


# ---- draining


def test_a_container_drains_until_its_grace_period_ends() -> None:
    web = container("web")
    watched = Watched(web)
    assert set(watched.state.drain(web.id, 30.0)) == {web.id}
    assert watched.states() == {"web": ["draining"]}
    assert watched.state.undrain(29.9) == {}
    assert set(watched.state.undrain(30.0)) == {web.id}
    assert watched.states() == {"web": ["ready"]}
    assert watched.state.undrain() == {}


def test_a_restarted_container_stops_draining() -> None:
    web, app = container("web"), container("app")
    watched = Watched(web, app)
    watched.state.drain(web.id, 30.0)
    watched.state.drain(app.id, 30.0)
    assert set(watched.state.undrain(only=web.id)) == {web.id}
    assert watched.states() == {"web": ["ready"], "app": ["draining"]}


def test_a_stop_ends_draining() -> None:
    web = container("web")
    watched = Watched(web)
    watched.state.drain(web.id, 30.0)
    watched.engine.become(web, "exited")
    watched.sync()
    watched.engine.become(web, "running")
    watched.sync()
    assert watched.states() == {"web": ["ready"]}


def test_a_change_meanwhile_does_not_end_draining() -> None:
    web = container("web")
    watched = Watched(web)
    watched.state.drain(web.id, 30.0)
    watched.engine.rename(web, "shop")
    watched.sync()
    assert watched.states() == {"shop": ["draining"]}


def test_the_users_of_a_draining_containers_network_drain_too() -> None:
    vpn = container("vpn", labels={"proxy.exclude": "true"})
    user = container("user", labels={"proxy.user.port": "9000"}, network_mode=f"container:{vpn.id}")
    watched = Watched(vpn, user)
    assert watched.state.is_relevant(draining(vpn))
    assert set(watched.state.drain(vpn.id, 30.0)) == {user.id}
    assert watched.states()["user"] == ["draining"]
    watched.state.undrain(30.0)
    assert watched.states()["user"] == ["ready"]


def test_a_container_that_was_never_healthy_stays_waiting_while_it_stops() -> None:
    web = container("web", health="starting")
    watched = Watched(web)
    watched.state.drain(web.id, 30.0)
    assert watched.states() == {"web": ["waiting"]}
    assert watched.routes()["web"].serving == ()


def test_an_unknown_container_does_not_drain() -> None:
    state = Watched().state
    assert state.drain("c1", 30.0) == {}
    assert state.draining == {}


# ---- Podman


def test_podman_containers_with_a_health_check_are_always_inspected_again() -> None:
    healthy, plain = container("healthy", health="healthy"), container("plain")
    watched = Watched(healthy, plain, flavour="podman")
    assert watched.states()["healthy"] == ["ready"]
    watched.engine.health(healthy, "unhealthy")  # Podman's list does not show this
    listed = watched.state.diff(watched.raws())
    assert (listed.unchanged, [it.container_name for it in listed.changed]) == ({plain.id}, ["healthy"])
    assert set(watched.sync()) == {healthy.id}
    assert watched.states()["healthy"] == ["unhealthy"]


def test_a_failed_inspection_is_retried() -> None:
    web = container("web", network_mode="host")
    watched = Watched()
    watched.engine.populate([web])
    listed = watched.state.diff(watched.raws())
    failed = [inspection_failed(it, "no luck") for it in listed.changed]
    watched.state.update(failed, fingerprints=listed.fingerprints)
    assert watched.routes() == {}
    assert watched.state.diff(watched.raws()).changed
    watched.sync()
    assert set(watched.routes()) == {"web"}


@pytest.mark.parametrize(("agent", "explicit_only"), [("far!", True), ("far", False)])
def test_the_name_of_an_agent_counts_before_that_of_its_engine(agent: str, explicit_only: bool) -> None:
    config = DockerProviderConfig("agent://10.0.0.1:8890", name="local" if explicit_only else "local!")
    parser = ContainerParser(config, agents={"10.0.0.1:8890": agent})
    assert EngineState(parser).explicit_only is explicit_only
