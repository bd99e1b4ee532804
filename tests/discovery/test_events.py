"""Events of Docker and Podman, parsed."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from pilotage import from_docker
from pilotage.discovery.events import EVENT_FILTERS, ContainerEvent, Effect, parse_event
from pilotage.engine.config import DockerProviderConfig
from pilotage.engine.types import Actor, Event


def event(action: str, kind: str = "container", actor: str = "c1", health: str = "", **attributes: str) -> Event:
    return Event(Type=kind, Action=action, Actor=Actor(ID=actor, Attributes=attributes), HealthStatus=health)


def parsed(action: str, **more: Any) -> ContainerEvent:
    found = parse_event(event(action, **more))
    assert found is not None
    return found


@pytest.mark.parametrize("action", ["create", "die", "stop", "oom", "pause", "unpause", "rename", "update"])
def test_events_that_may_change_a_container_require_a_refresh(action: str) -> None:
    assert parsed(action, name="web")[:4] == ("c1", Effect.REFRESH, action, "web")


@pytest.mark.parametrize("action", ["start", "restart"])
def test_a_start_ends_draining(action: str) -> None:
    assert parsed(action).effect is Effect.RESTARTED


def test_unpause_does_not_end_draining() -> None:
    assert parsed("unpause").effect is Effect.REFRESH


@pytest.mark.parametrize("action", ["destroy", "remove"])
def test_a_removed_container_is_removed(action: str) -> None:
    assert parsed(action).effect is Effect.REMOVED


@pytest.mark.parametrize("signal", ["15", "9", "2", "3", "28", "37"])
def test_a_stop_signal_drains(signal: str) -> None:
    assert parsed("kill", signal=signal).effect is Effect.DRAINING


def test_a_container_listed_as_running_was_started_although_only_its_creation_was_reported() -> None:
    local = DockerProviderConfig("unix:///run/e.sock")
    created = from_docker({"Id": "c1", "Names": ["/web"], "State": "created"}, local)
    running = from_docker({"Id": "c1", "Names": ["/web"], "State": "running"}, local)
    assert parsed("create", name="web").cause_for(running) == "start of web"
    assert parsed("create", name="web").cause_for(created) == "create of web"
    assert parsed("create", name="web").cause_for(None) == "create of web"
    assert parsed("rename", name="web").cause_for(running) == "rename of web"


def test_a_podman_kill_does_not_drain_because_it_names_no_signal_and_may_only_reload() -> None:
    assert parsed("kill").effect is Effect.REFRESH


@pytest.mark.parametrize("signal", ["1", "10", "12", "18"])
def test_a_reload_signal_is_ignored(signal: str) -> None:
    assert parse_event(event("kill", signal=signal)) is None


@pytest.mark.parametrize("action", ["kill", "oom", "update", "health_status: healthy", "stop"])
def test_events_that_affect_only_health_matter_only_to_routed_containers(action: str) -> None:
    assert parsed(action).routed_only


@pytest.mark.parametrize("action", ["create", "start", "die", "rename", "pause", "unpause", "destroy"])
def test_events_that_start_or_stop_containers_matter_to_all(action: str) -> None:
    assert not parsed(action).routed_only


def test_health_events_of_docker_and_podman_read_the_same() -> None:
    docker = parsed("health_status: unhealthy", name="web")
    podman = parsed("health_status", name="web", health="unhealthy")
    assert str(docker) == str(podman) == "health_status unhealthy of web"


def test_dockers_network_event_names_the_container_as_an_attribute() -> None:
    assert parsed("connect", kind="network", actor="n1", container="c1", name="front") == ContainerEvent(
        "c1", Effect.REFRESH, "network connect", network="front"
    )


def test_podmans_network_event_has_the_container_as_actor() -> None:
    assert parsed("disconnect", kind="network", actor="c1", name="web").container_id == "c1"


@pytest.mark.parametrize(
    ("said", "shown", "lags"),
    [
        (parsed("die"), {"state": "exited"}, {"running": True}),
        (parsed("stop"), {"state": "exited"}, {"running": True}),
        (parsed("pause"), {"state": "paused"}, {"running": True}),
        (parsed("unpause"), {"running": True}, {"state": "paused"}),
        (
            parsed("connect", kind="network", container="c1", name="front"),
            {"running": True, "networks": (Effect.RESTARTED, "front")},
            {"running": True, "networks": (Effect.RESTARTED,)},
        ),
        (
            parsed("disconnect", kind="network", container="c1", name="front"),
            {"running": True, "networks": (Effect.RESTARTED,)},
            {"running": True, "networks": (Effect.RESTARTED, "front")},
        ),
    ],
    ids=lambda value: value.action if isinstance(value, ContainerEvent) else "",
)
def test_an_event_knows_whether_a_listed_container_reflects_it(
    said: ContainerEvent, shown: dict[str, Any], lags: dict[str, Any]
) -> None:
    blank = from_docker(b'{"Id":"c1","Names":["/web"]}', DockerProviderConfig("unix:///run/e.sock"))
    assert said.predicts_state
    assert said.is_reflected_in(msgspec.structs.replace(blank, **shown))
    assert not said.is_reflected_in(msgspec.structs.replace(blank, **lags))


@pytest.mark.parametrize("action", ["create", "start", "rename", "health_status: healthy", "oom", "update"])
def test_other_events_are_always_reflected(action: str) -> None:
    assert not parsed(action, name="web").predicts_state


@pytest.mark.parametrize(
    "noise",
    [
        event("exec_create: true"),
        event("exec_die"),
        event("attach"),
        event("top"),
        event("init"),
        event("cleanup"),
        event("create", kind="network", actor="n1"),
        event("pull", kind="image"),
        event("mount", kind="volume"),
        event("start", actor=""),
        event("connect", kind="network", actor=""),
        Event(Type="container", Action="start"),
        Event(),
    ],
    ids=lambda noise: f"{noise.Type} {noise.Action}",
)
def test_noise_is_ignored(noise: Event) -> None:
    assert parse_event(noise) is None


def test_an_event_without_attributes_is_parsed() -> None:
    bare = Event(Type="container", Action="start", Actor=Actor(ID="c1"))
    assert parse_event(bare) == ContainerEvent("c1", Effect.RESTARTED, "start", labels={})


def test_an_event_reads_like_a_sentence() -> None:
    assert str(parsed("start", name="web")) == "start of web"
    assert str(parsed("start")) == "start"


def test_an_event_knows_whether_the_container_may_have_our_labels() -> None:
    assert parsed("start", **{"proxy.aliases": "shop", "name": "web"}).may_be_ours
    assert not parsed("start", proxied="no", proxy="", name="web").may_be_ours
    assert parsed("connect", kind="network", container="c1").may_be_ours


def test_the_filters_request_exactly_the_events_that_are_parsed() -> None:
    understood = {action for action in EVENT_FILTERS["event"] if parse_event(event(action))}
    understood |= {action for action in EVENT_FILTERS["event"] if parse_event(event(action, kind="network"))}
    assert understood == set(EVENT_FILTERS["event"])
    assert list(EVENT_FILTERS["type"]) == ["container", "network"]


def test_long_names_are_cut_and_events_with_long_ids_are_ignored() -> None:
    long = "x" * 1_000_000
    assert len(parsed("start", name=long).name) == 256
    assert len(parsed("health_status", health=long).action) < 300
    assert len(parsed("connect", kind="network", container="c1", name=long).network) == 256
    assert parse_event(event("start", actor=long)) is None
    assert parse_event(event("connect", kind="network", container=long)) is None
