from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from pilotage.testing.dialect import dialect_of
from pilotage.testing.events import DOCKER_MEMORY, EventHub, FakeEvent, matches, moment

if TYPE_CHECKING:
    from pilotage.testing.dialect import Flavour


class Reader:
    def __init__(self, **filters: str) -> None:
        self.filters = {name: frozenset([value]) for name, value in filters.items()}
        self.old_fields = True
        self.got: list[str] = []

    def send(self, line: bytes) -> None:
        self.got.append(json.loads(line)["Action"])


def event(action: str = "start", at: int = 1, **attributes: str) -> FakeEvent:
    return FakeEvent("container", action, "abc123", {"name": "web", "image": "nginx"} | attributes, at)


def hub(*readers: Reader, flavour: str = "docker") -> EventHub:
    made = EventHub(dialect_of(flavour))  # type: ignore[arg-type]
    made.listeners.update(readers)
    return made


def test_events_go_to_every_listener_whose_filter_matches() -> None:
    every, starts, networks = Reader(), Reader(event="start"), Reader(type="network")
    made = hub(every, starts, networks)
    made.publish(event("start"))
    made.publish(event("die"))
    assert (every.got, starts.got, networks.got) == (["start", "die"], ["start"], [])


@pytest.mark.parametrize(
    ("filters", "passes"),
    [
        ({}, True),
        ({"type": "container"}, True),
        ({"type": "image"}, False),
        ({"event": "health_status"}, True),
        ({"event": "health_status: healthy"}, True),
        ({"event": "health_status: unhealthy"}, False),
        ({"container": "web"}, True),
        ({"container": "abc"}, True),
        ({"container": "zzz"}, False),
        ({"label": "tier"}, True),
        ({"label": "tier=front"}, True),
        ({"label": "tier=back"}, False),
        ({"image": "nginx"}, True),
        ({"image": "redis"}, False),
        ({"nobody-knows": "this"}, True),
        ({"type": "container", "event": "die"}, False),
    ],
)
def test_filters_match_what_real_engines_match(filters: dict[str, str], passes: bool) -> None:
    told = event("health_status: healthy", tier="front")
    assert matches(told, {name: frozenset([value]) for name, value in filters.items()}, dialect_of("docker")) is passes


@pytest.mark.parametrize(
    ("flavour", "version", "accepted"),
    [("docker", "", {"die"}), ("podman", "4.3.1", {"died"}), ("podman", "5.4.2", {"die", "died"})],
)
def test_podman_4_filters_the_end_of_a_container_by_another_name_than_it_sends(
    flavour: Flavour, version: str, accepted: set[str]
) -> None:
    ended = FakeEvent("container", "die", "c1", {}, 1)
    dialect = dialect_of(flavour, version=version)
    assert {name for name in ("die", "died") if matches(ended, {"event": frozenset([name])}, dialect)} == accepted


def test_docker_remembers_256_events_and_podman_all() -> None:
    docker, podman = hub(), hub(flavour="podman")
    for at in range(DOCKER_MEMORY + 10):
        docker.publish(event(at=at))
        podman.publish(event(at=at))
    assert [found.nanoseconds for found in docker.replay(0, None)] == list(range(10, DOCKER_MEMORY + 10))
    assert len(list(podman.replay(0, None))) == DOCKER_MEMORY + 10


def test_a_replay_includes_its_start_time() -> None:
    made = hub()
    for at in (1, 2, 3):
        made.publish(event(at=at))
    assert [found.nanoseconds for found in made.replay(2, None)] == [2, 3]
    assert [found.nanoseconds for found in made.replay(None, 2)] == [1, 2]
    assert list(made.replay(None, None)) == []


def test_a_dropped_history_is_empty() -> None:
    made = hub()
    made.publish(event())
    made.forget()
    assert list(made.replay(0, None)) == []


def test_held_events_are_delivered_in_order_on_release() -> None:
    reader = Reader()
    made = hub(reader)
    made.held = []
    made.publish(event("die"))
    made.publish(event("start"))
    assert reader.got == []
    made.release()
    made.publish(event("pause"))
    assert reader.got == ["die", "start", "pause"]


def test_dropped_events_are_neither_sent_nor_remembered() -> None:
    reader = Reader()
    made = hub(reader)
    made.drop(1)
    made.publish(event("die"))
    made.publish(event("start"))
    assert reader.got == ["start"]
    assert [found.action for found in made.replay(0, None)] == ["start"]


def test_doubled_events_come_twice() -> None:
    reader = Reader()
    made = hub(reader)
    made.double(1)
    made.publish(event("die"))
    made.publish(event("start"))
    assert reader.got == ["die", "die", "start"]


def test_reversed_events_come_together_last_first() -> None:
    reader = Reader()
    made = hub(reader)
    made.reverse(2)
    made.publish(event("die"))
    assert reader.got == []
    made.publish(event("start"))
    made.publish(event("pause"))
    assert reader.got == ["start", "die", "pause"]


def test_api_1_52_has_dropped_the_old_fields() -> None:
    dialect = dialect_of("docker", "1.52")
    old, new = (json.loads(event().encode(dialect, old_fields=wanted)) for wanted in (True, False))
    assert old.keys() - new.keys() == {"status", "id", "from"}
    assert new["Actor"]["ID"] == "abc123"


@pytest.mark.parametrize(
    ("written", "nanoseconds"),
    [("0", 0), ("1700000000", 1_700_000_000_000_000_000), ("1.5", 1_500_000_000), ("1.000000001", 1_000_000_001)],
)
def test_times_are_parsed_to_the_nanosecond(written: str, nanoseconds: int) -> None:
    assert moment(written) == nanoseconds


def test_an_invalid_time_is_an_error() -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        moment("yesterday")
