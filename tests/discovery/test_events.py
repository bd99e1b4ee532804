"""What events say about containers: Docker's words and Podman's."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from pilotage import from_docker
from pilotage.discovery.events import FILTERS, Hint, read_hint
from pilotage.engine.address import DockerProviderConfig
from pilotage.engine.types import Actor, Event


def event(action: str, kind: str = "container", actor: str = "c1", health: str = "", **attributes: str) -> Event:
    return Event(Type=kind, Action=action, Actor=Actor(ID=actor, Attributes=attributes), HealthStatus=health)


def hint(action: str, **more: Any) -> Hint:
    found = read_hint(event(action, **more))
    assert found is not None
    return found


@pytest.mark.parametrize("action", ["create", "die", "stop", "oom", "pause", "unpause", "rename", "update"])
def test_what_may_have_changed_a_container_asks_for_a_look(action: str) -> None:
    assert hint(action, name="web")[:4] == ("c1", "look", action, "web")


@pytest.mark.parametrize("action", ["start", "restart"])
def test_a_container_that_starts_is_not_about_to_stop(action: str) -> None:
    assert hint(action).kind == "back"


def test_a_paused_container_that_is_thawed_to_be_stopped_stays_about_to_stop() -> None:
    assert hint("unpause").kind == "look"


@pytest.mark.parametrize("action", ["destroy", "remove"])
def test_a_container_that_is_removed_is_gone(action: str) -> None:
    assert hint(action).kind == "gone"


@pytest.mark.parametrize("signal", ["15", "9", "2", "3", "28", "37"])
def test_a_stop_signal_drains(signal: str) -> None:
    assert hint("kill", signal=signal).kind == "draining"


def test_podman_names_no_signal_and_so_every_kill_of_it_drains() -> None:
    assert hint("kill").kind == "draining"


@pytest.mark.parametrize("signal", ["1", "10", "12", "18"])
def test_a_signal_to_reload_says_nothing(signal: str) -> None:
    assert read_hint(event("kill", signal=signal)) is None


@pytest.mark.parametrize("action", ["kill", "oom", "update", "health_status: healthy", "stop"])
def test_what_changes_no_more_than_health_matters_only_to_who_is_served(action: str) -> None:
    assert hint(action).served_only


@pytest.mark.parametrize("action", ["create", "start", "die", "rename", "pause", "unpause", "destroy"])
def test_what_may_put_a_container_into_service_or_take_it_out_matters_to_all(action: str) -> None:
    assert not hint(action).served_only


def test_health_comes_in_dockers_words_and_in_podmans() -> None:
    docker = hint("health_status: unhealthy", name="web")
    podman = hint("health_status", name="web", health="unhealthy")
    assert docker.cause == podman.cause == "health_status unhealthy of web"


def test_dockers_network_event_names_the_container_as_an_attribute() -> None:
    assert hint("connect", kind="network", actor="n1", container="c1", name="front") == Hint(
        "c1", "look", "network connect", network="front"
    )


def test_podmans_network_event_has_the_container_as_actor() -> None:
    assert hint("disconnect", kind="network", actor="c1", name="web").container_id == "c1"


@pytest.mark.parametrize(
    ("said", "shown", "lags"),
    [
        (hint("die"), {"state": "exited"}, {"running": True}),
        (hint("stop"), {"state": "exited"}, {"running": True}),
        (hint("pause"), {"state": "paused"}, {"running": True}),
        (hint("unpause"), {"running": True}, {"state": "paused"}),
        (
            hint("connect", kind="network", container="c1", name="front"),
            {"running": True, "networks": ("back", "front")},
            {"running": True, "networks": ("back",)},
        ),
        (
            hint("disconnect", kind="network", container="c1", name="front"),
            {"running": True, "networks": ("back",)},
            {"running": True, "networks": ("back", "front")},
        ),
    ],
    ids=lambda value: value.action if isinstance(value, Hint) else "",
)
def test_it_shows_whether_a_list_has_caught_up_with_the_event(
    said: Hint, shown: dict[str, Any], lags: dict[str, Any]
) -> None:
    blank = from_docker(b'{"Id":"c1","Names":["/web"]}', DockerProviderConfig("unix:///run/e.sock"))
    assert said.expects
    assert said.is_shown_by(msgspec.structs.replace(blank, **shown))
    assert not said.is_shown_by(msgspec.structs.replace(blank, **lags))


@pytest.mark.parametrize("action", ["create", "start", "rename", "health_status: healthy", "oom", "update"])
def test_other_events_come_after_the_list_shows_them(action: str) -> None:
    assert not hint(action, name="web").expects


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
    assert read_hint(noise) is None


def test_an_event_without_attributes_can_be_read() -> None:
    bare = Event(Type="container", Action="start", Actor=Actor(ID="c1"))
    assert read_hint(bare) == Hint("c1", "back", "start", labels={})


def test_the_cause_reads_like_a_sentence() -> None:
    assert hint("start", name="web").cause == "start of web"
    assert hint("start").cause == "start"


def test_labels_of_ours_are_told_from_others_and_from_events_that_tell_none() -> None:
    assert hint("start", **{"proxy.aliases": "shop", "name": "web"}).is_ours
    assert not hint("start", proxied="no", proxy="", name="web").is_ours
    assert hint("connect", kind="network", container="c1").is_ours


def test_everything_that_is_asked_of_the_engine_is_understood_and_nothing_else() -> None:
    understood = {action for action in FILTERS["event"] if read_hint(event(action))}
    understood |= {action for action in FILTERS["event"] if read_hint(event(action, kind="network"))}
    assert understood == set(FILTERS["event"])
    assert list(FILTERS["type"]) == ["container", "network"]
