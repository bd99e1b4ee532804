"""What happens to the fake engine's containers is told as real engines tell it: the same events, in the same order."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from pilotage.testing import FakeContainer, FakeEngine, container
from tests.support import captures
from tests.support.images import GRACEFUL

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.engines import Engine

ENGINES = list(captures.ENGINES)


class Ear:
    """Hears every event of a fake engine."""

    def __init__(self, engine: FakeEngine) -> None:
        self.filters: dict[str, frozenset[str]] = {}
        self.old_fields = engine.dialect.podman or engine.dialect.api < (1, 52)
        self.heard: list[dict[str, Any]] = []
        engine.hub.listeners.add(self)

    def send(self, line: bytes) -> None:
        self.heard.append(json.loads(line))


def fake(engine: str) -> tuple[FakeEngine, Ear]:
    made = FakeEngine(**captures.ENGINES[engine])
    return made, Ear(made)


def told(events: list[dict[str, Any]]) -> list[str]:
    """Return what events say happened, repetitions taken once."""
    found: list[str] = []
    for event in events:
        what = ("" if event["Type"] == "container" else f"{event['Type']} ") + event["Action"]
        if not found or found[-1] != what:
            found.append(what)
    return found


def recorded(engine: str, *names: str) -> list[str]:
    """Return what was told of a recorded container and its networks."""
    every = captures.events(engine)
    ids = {event["Actor"]["ID"] for event in every if event["Actor"]["Attributes"].get("name") in names}
    return told(
        [
            event
            for event in every
            if event["Type"] in {"container", "network"}
            and (event["Actor"]["ID"] in ids or event["Actor"]["Attributes"].get("container") in ids)
        ]
    )


def holds(whole: list[str], part: list[str]) -> bool:
    return any(whole[start : start + len(part)] == part for start in range(len(whole)))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("name", "act"),
    [
        ("plain-bridge", lambda _engine, _it: None),
        ("state-exited", lambda engine, it: engine.die(it, 3)),
        ("state-oom", lambda engine, it: engine.oom(it)),
        ("state-paused", lambda engine, it: engine.pause(it)),
    ],
    ids=["starts", "ends by itself", "runs out of memory", "is paused"],
)
def test_the_events_of_a_lifecycle_match_the_recording(
    engine: str, name: str, act: Callable[[FakeEngine, FakeContainer], None]
) -> None:
    one, ear = fake(engine)
    act(one, one.add(name))
    mine = told(ear.heard)
    assert recorded(engine, name)[: len(mine)] == mine
    assert len(mine) >= 3


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("what", ["stop", "kill", "restart"])
def test_the_events_of_a_stop_match_the_recording(engine: str, what: str) -> None:
    one, ear = fake(engine)
    it = one.add("web")
    ear.heard.clear()
    getattr(one, what)(it)
    mine = told(ear.heard)
    # Podman cleans up after a stop, but has no time to in a restart
    assert holds(recorded(engine, "plain-bridge"), mine) or holds(recorded(engine, "state-stopped"), mine), mine


@pytest.mark.parametrize("engine", ENGINES)
def test_the_events_of_a_rename_match_the_recording(engine: str) -> None:
    one, ear = fake(engine)
    it = one.add("rename-before")
    one.rename(it, "rename-after")
    assert recorded(engine, "rename-before", "rename-after")[: len(told(ear.heard))] == told(ear.heard)
    assert one.find("rename-after") is it
    assert one.find("rename-before") is None


@pytest.mark.parametrize("engine", ENGINES)
def test_the_events_of_a_network_change_match_the_recording(engine: str) -> None:
    one, ear = fake(engine)
    it = one.add("net-two", networks=["neta"])
    one.connect(it, "netb")
    one.disconnect(it, "netb")
    one.connect(it, "netb")
    assert recorded(engine, "net-two")[: len(told(ear.heard))] == told(ear.heard)


def keys(event: dict[str, Any]) -> tuple[str, ...]:
    attributes = sorted(event["Actor"]["Attributes"])
    # Podman 4 and 5 repeat the exit status of an earlier life in later events of the same container
    return (*sorted(event), *(key for key in attributes if key != "containerExitCode"))


@pytest.mark.parametrize("engine", ENGINES)
def test_every_kind_of_event_has_the_keys_of_a_recorded_one(engine: str) -> None:
    one, ear = fake(engine)
    it = one.add("web")
    for act in (one.pause, one.unpause, one.exec, one.restart, one.kill, one.start, one.oom, one.start, one.stop):
        act(it)
    one.connect(it, "netb")
    one.disconnect(it, "netb")
    one.rename(it, "other")
    if not one.dialect.podman:
        one.health(it, "healthy")
    one.remove(it)
    plain = {
        "plain-bridge", "state-stopped", "state-paused", "rename-after", "state-oom", "state-exited", "net-two",
        "health-healthy", "exec-events", "bridge", "netb",
    }  # fmt: skip
    real: dict[str, set[tuple[str, ...]]] = {}
    for event in captures.events(engine):
        if event["Actor"]["Attributes"].get("name") in plain:
            real.setdefault(event["Type"] + event["Action"].partition(":")[0], set()).add(keys(event))
    compared: Counter[str] = Counter()
    for event in ear.heard:
        kind = event["Type"] + event["Action"].partition(":")[0]
        if kind in real:
            assert keys(event) in real[kind], kind
            compared[kind] += 1
    assert len(compared) >= 10


@pytest.mark.parametrize("engine", ["podman-4.3", "podman-5.4"])
def test_podman_sends_health_in_its_own_field_and_version_4_one_probe_late(engine: str) -> None:
    one, ear = fake(engine)
    it = one.add("web", health="starting")
    ear.heard.clear()
    one.health(it, "healthy")
    one.health(it, "unhealthy")
    late = engine == "podman-4.3"
    assert [event["HealthStatus"] for event in ear.heard] == (
        ["starting", "healthy"] if late else ["healthy", "unhealthy"]
    )
    assert {event["Action"] for event in ear.heard} == {"health_status"}
    real = next(event for event in captures.events(engine) if event["Action"] == "health_status")
    assert keys(ear.heard[0]) == keys(real)


def test_labels_are_among_the_attributes() -> None:
    one, ear = fake("docker-28.5")
    one.add("web", labels={"proxy.web.port": "80"})
    assert ear.heard[0]["Actor"]["Attributes"] == {"image": "acme/web:1", "name": "web", "proxy.web.port": "80"}


def test_event_times_are_unique_even_if_the_clock_stands_still() -> None:
    one = FakeEngine(clock=lambda: 5_000_000_000)
    ear = Ear(one)
    one.add("web")
    moments = [event["timeNano"] for event in ear.heard]
    assert moments == sorted(set(moments))


@pytest.mark.parametrize("state", ["created", "running", "paused", "exited", "restarting", "dead", "removing"])
def test_a_container_may_be_in_any_state_from_the_start(state: Any) -> None:
    one = FakeEngine()
    assert one.add("web", state=state).state == state
    assert json.loads(one.summary_bytes(one.in_order()[0], with_health=False))["State"] == state


def test_a_change_shows_in_the_answers_at_once() -> None:
    one = FakeEngine()
    it = one.add("web", ports=["8080:80"])
    before = json.loads(one.summary_bytes(it, with_health=False))
    one.stop(it, exit_code=7)
    after = json.loads(one.summary_bytes(it, with_health=False))
    assert before["Ports"]
    assert before["NetworkSettings"]["Networks"]["bridge"]["IPAddress"]
    assert (after["Ports"], after["Status"]) == ([], "Exited (7) 2 minutes ago")
    assert after["NetworkSettings"]["Networks"]["bridge"]["IPAddress"] == ""


def test_containers_are_found_by_id_name_and_id_prefix() -> None:
    one = FakeEngine([container("web"), container("other")])
    it = one.find("web")
    assert it is not None
    assert one.find(it.id) is one.find(it.id[:12]) is one.find("/web") is it
    assert one.find("") is None


def test_an_operation_on_an_unknown_container_is_an_error() -> None:
    with pytest.raises(LookupError, match="the fake engine has no container 'nope'"):
        FakeEngine().stop("nope")


def test_docker_lists_the_newest_first() -> None:
    assert [it.name for it in FakeEngine([container("a"), container("b")]).in_order()] == ["b", "a"]


def test_populating_sends_no_events_and_keeps_recorded_elements() -> None:
    one, ear = fake("docker-20.10")
    entries = captures.load("docker-20.10", "list-all")
    one.populate(entries)
    assert ear.heard == []
    found = [json.loads(one.summary_bytes(it, with_health=False)) for it in one.containers.values()]
    assert found == entries


async def lived(engine: Engine, act: Callable[[], None]) -> list[str]:
    """Return what a real engine tells while something is done to it."""
    filters = json.dumps({"type": ["container", "network"]})
    heard: list[dict[str, Any]] = []
    async with (
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(engine.socket)) as session,
        session.get("http://engine/events", params={"filters": filters}, timeout=aiohttp.ClientTimeout()) as stream,
    ):
        await asyncio.to_thread(act)
        await asyncio.to_thread(engine.create, "the-end")
        async for line in stream.content:
            heard.append(json.loads(line))
            if heard[-1]["Actor"]["Attributes"].get("name") == "the-end":
                break
    return told(heard[:-1])


def through_a_life(engine: Engine) -> None:
    engine.run("life", GRACEFUL)
    for command in ("pause", "unpause", "stop", "start", "restart", "kill", "start"):
        engine.docker(command, "life")
    engine.docker("rename", "life", "afterlife")
    engine.rm("afterlife")


def through_the_same_life(engine: FakeEngine) -> None:
    it = engine.add("life")
    for act in (engine.pause, engine.unpause, engine.stop, engine.start, engine.restart, engine.kill, engine.start):
        act(it)
    engine.rename(it, "afterlife")
    engine.remove(it)


@pytest.mark.parametrize("generation", ["20.10", "26.1"])
async def test_a_real_docker_sends_the_same_events(engine_factory: Callable[[str], Engine], generation: str) -> None:
    with engine_factory("system" if generation == "20.10" else generation).scope() as engine:
        version = json.loads(engine.docker("version", "--format", "{{json .Server}}"))
        one = FakeEngine(api=version["ApiVersion"], version=version["Version"].partition("+")[0])
        ear = Ear(one)
        through_the_same_life(one)
        real = await lived(engine, lambda: through_a_life(engine))
    # the death and the stop are two threads' business in newer engines, so the order of neighbours may differ
    assert Counter(real) == Counter(told(ear.heard))


async def test_a_real_podman_sends_the_same_events(podman_engine: Engine) -> None:
    version = json.loads(podman_engine.docker("version", "--format", "{{json .Server}}"))["Version"]
    one = FakeEngine(flavour="podman", version=version)
    ear = Ear(one)
    through_the_same_life(one)
    real = await lived(podman_engine, lambda: through_a_life(podman_engine))
    # How often it says "cleanup", and whether "stop", depends on which of its processes is quicker.
    assert steady(real) == steady(told(ear.heard))


def steady(words: list[str]) -> Counter[str]:
    return Counter(word for word in words if word not in {"stop", "cleanup"})
