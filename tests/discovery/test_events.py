"""What events say about containers: Docker's words and Podman's."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from pilotage import from_docker
from pilotage.discovery.events import EVENT_FILTERS, ContainerEvent, Effect, parse_event
from pilotage.engine.address import DockerProviderConfig
from pilotage.engine.types import Actor, Event


def event(action: str, kind: str = "container", actor: str = "c1", health: str = "", **attributes: str) -> Event:
    return Event(Type=kind, Action=action, Actor=Actor(ID=actor, Attributes=attributes), HealthStatus=health)


def parsed(action: str, **more: Any) -> ContainerEvent:
    found = parse_event(event(action, **more))
    assert found is not None
    return found


@pytest.mark.parametrize("action", ["create", "die", "stop", "oom", "pause", "unpause", "rename", "update"])
def test_what_may_have_changed_a_container_asks_for_a_look(action: str) -> None:
    assert parsed(action, name="web")[:4] == ("c1", Effect.REFRESH, action, "web")


@pytest.mark.parametrize("action", ["start", "restart"])
def test_a_container_that_starts_is_not_about_to_stop(action: str) -> None:
    assert parsed(action).effect is Effect.RESTARTED


def test_a_paused_container_that_is_thawed_to_be_stopped_stays_about_to_stop() -> None:
    assert parsed("unpause").effect is Effect.REFRESH


@pytest.mark.parametrize("action", ["destroy", "remove"])
def test_a_container_that_is_removed_is_gone(action: str) -> None:
    assert parsed(action).effect is Effect.REMOVED


@pytest.mark.parametrize("signal", ["15", "9", "2", "3", "28", "37"])
def test_a_stop_signal_drains(signal: str) -> None:
    assert parsed("kill", signal=signal).effect is Effect.DRAINING


def test_podman_names_no_signal_and_so_every_kill_of_it_drains() -> None:
    assert parsed("kill").effect is Effect.DRAINING


@pytest.mark.parametrize("signal", ["1", "10", "12", "18"])
def test_a_signal_to_reload_says_nothing(signal: str) -> None:
    assert parse_event(event("kill", signal=signal)) is None


@pytest.mark.parametrize("action", ["kill", "oom", "update", "health_status: healthy", "stop"])
def test_what_changes_no_more_than_health_matters_only_to_who_is_served(action: str) -> None:
    assert parsed(action).routed_only


@pytest.mark.parametrize("action", ["create", "start", "die", "rename", "pause", "unpause", "destroy"])
def test_what_may_put_a_container_into_service_or_take_it_out_matters_to_all(action: str) -> None:
    assert not parsed(action).routed_only


def test_health_comes_in_dockers_words_and_in_podmans() -> None:
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
def test_it_shows_whether_a_list_has_caught_up_with_the_event(
    said: ContainerEvent, shown: dict[str, Any], lags: dict[str, Any]
) -> None:
    blank = from_docker(b'{"Id":"c1","Names":["/web"]}', DockerProviderConfig("unix:///run/e.sock"))
    assert said.predicts_state
    assert said.is_reflected_in(msgspec.structs.replace(blank, **shown))
    assert not said.is_reflected_in(msgspec.structs.replace(blank, **lags))


@pytest.mark.parametrize("action", ["create", "start", "rename", "health_status: healthy", "oom", "update"])
def test_other_events_come_after_the_list_shows_them(action: str) -> None:
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
def test_noise_says_nothing(noise: Event) -> None:
    assert parse_event(noise) is None


def test_an_event_without_attributes_can_be_read() -> None:
    bare = Event(Type="container", Action="start", Actor=Actor(ID="c1"))
    assert parse_event(bare) == ContainerEvent("c1", Effect.RESTARTED, "start", labels={})


def test_the_cause_reads_like_a_sentence() -> None:
    assert str(parsed("start", name="web")) == "start of web"
    assert str(parsed("start")) == "start"


def test_labels_of_ours_are_told_from_others_and_from_events_that_tell_none() -> None:
    assert parsed("start", **{"proxy.aliases": "shop", "name": "web"}).may_be_ours
    assert not parsed("start", proxied="no", proxy="", name="web").may_be_ours
    assert parsed("connect", kind="network", container="c1").may_be_ours


def test_everything_that_is_asked_of_the_engine_is_understood_and_nothing_else() -> None:
    understood = {action for action in EVENT_FILTERS["event"] if parse_event(event(action))}
    understood |= {action for action in EVENT_FILTERS["event"] if parse_event(event(action, kind="network"))}
    assert understood == set(EVENT_FILTERS["event"])
    assert list(EVENT_FILTERS["type"]) == ["container", "network"]
