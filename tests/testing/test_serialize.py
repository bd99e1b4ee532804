"""The fake engine's descriptions have the keys and the types of the recorded ones."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from pilotage.engine.types import Inspect, Summary
from pilotage.testing import FakeContainer, FakeEngine, container
from pilotage.testing.serialize import inspect, summary
from tests.support import captures

#: Recorded container -> the same one for the fake engine.
ZOO: dict[str, FakeContainer] = {
    "plain-bridge": container("plain-bridge", image="pilot/web:1"),
    "ports-tcp": container("ports-tcp", image="pilot/web:1", ports=["127.0.0.1:28080:80"]),
    "ports-both": container("ports-both", image="pilot/web:1", ports=["28081:80"]),
    "ports-ipv6": container("ports-ipv6", image="pilot/web:1", ports=["[::1]:28082:80"]),
    "net-host": container("net-host", image="pilot/web:1", network_mode="host"),
    "net-none": container("net-none", image="pilot/web:1", network_mode="none"),
    "net-custom": container("net-custom", image="pilot/web:1", networks=["neta"]),
    "net-two": container("net-two", image="pilot/web:1", networks=["neta", "netb"]),
    "state-exited": container("state-exited", image="pilot/web:1", state="exited"),
    "state-created": container("state-created", image="pilot/web:1", state="created", ports=["127.0.0.1:28087:80"]),
    "state-paused": container("state-paused", image="pilot/web:1", state="paused"),
    "health-healthy": container("health-healthy", image="pilot/web:1", health="healthy"),
    "health-unhealthy": container(
        "health-unhealthy", image="pilot/full:1", ports=["53/udp", 80, 9000, 9001, 9002], health="unhealthy"
    ),
    "labels-plain": container("labels-plain", image="pilot/web:1", labels={"app": "web", "empty": ""}),
}
CASES = [(engine, name) for engine in captures.ENGINES for name in ZOO]

# Where an engine's own list says one thing or another without a rule that a fake could keep.
FREE = {"Aliases", "Links", "DriverOpts", "IPAMConfig", "DNSNames", "Labels"}


def imitate(engine: str, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    fake = FakeEngine(**captures.ENGINES[engine])
    original = ZOO[name]
    it = container(
        original.name, image=original.image, ports=original.ports, networks=original.networks, labels=original.labels,
        network_mode=original.network_mode if original.network_mode != "default" else "", state=original.state,
        health=original.health,
    )  # fmt: skip
    fake.populate([it])
    return summary(it, fake.dialect), inspect(it, fake.dialect)


def same_types(real: Any, fake: Any, path: str, *, subset: bool = False) -> list[str]:
    """Return where two JSON values differ in keys or types; with ``subset``, the fake may lack keys."""
    if isinstance(real, dict) and isinstance(fake, dict):
        surplus = [f"{path}.{key}: not in the real one" for key in fake.keys() - real.keys()]
        missing = [] if subset else [f"{path}.{key}: missing" for key in real.keys() - fake.keys()]
        both = sorted((real.keys() & fake.keys()) - FREE)
        inner = [found for key in both for found in same_types(real[key], fake[key], f"{path}.{key}", subset=subset)]
        return surplus + missing + inner
    if isinstance(real, list) and isinstance(fake, list):
        if not real or not fake:
            return []
        return same_types(real[0], fake[0], f"{path}[0]", subset=subset)
    return [] if type(real) is type(fake) else [f"{path}: {type(real).__name__}, not {type(fake).__name__}"]


def same_networks(entry: dict[str, Any], real: dict[str, Any]) -> None:
    theirs, ours = real["NetworkSettings"]["Networks"], entry["NetworkSettings"]["Networks"]
    assert (theirs is None) == (ours is None)
    if ours:
        assert sorted(theirs) == sorted(ours)


@pytest.mark.parametrize(("engine", "name"), CASES)
def test_a_list_entry_has_exactly_the_keys_and_types_of_the_real_one(engine: str, name: str) -> None:
    real, _ = captures.by_name(engine, name)
    fake, _ = imitate(engine, name)
    same_networks(fake, real)
    assert same_types(real, fake, name) == []


@pytest.mark.parametrize(("engine", "name"), CASES)
def test_the_fields_that_pilotage_reads_match_a_real_list_element(engine: str, name: str) -> None:
    real, fake = captures.by_name(engine, name)[0], imitate(engine, name)[0]
    theirs, ours = (msgspec.convert(entry, Summary) for entry in (real, fake))
    assert (theirs.State, theirs.HostConfig, theirs.Image) == (ours.State, ours.HostConfig, ours.Image)
    assert (theirs.Status.partition(" ")[0], theirs.Status.partition("(")[1:]) == (
        ours.Status.partition(" ")[0],
        ours.Status.partition("(")[1:] if theirs.State != "exited" else theirs.Status.partition("(")[1:],
    )
    assert sorted(map(repr, theirs.Ports or [])) == sorted(map(repr, ours.Ports or []))
    assert theirs.NetworkSettings is not None
    assert ours.NetworkSettings is not None
    for network, endpoint in (theirs.NetworkSettings.Networks or {}).items():
        assert endpoint is not None
        mine = (ours.NetworkSettings.Networks or {})[network]
        assert mine is not None
        assert bool(endpoint.IPAddress) == bool(mine.IPAddress)


@pytest.mark.parametrize(("engine", "name"), CASES)
def test_an_inspection_has_only_keys_and_types_of_the_real_one(engine: str, name: str) -> None:
    _, real = captures.by_name(engine, name)
    _, fake = imitate(engine, name)
    assert same_types(real, fake, name, subset=True) == []


@pytest.mark.parametrize(("engine", "name"), CASES)
def test_the_fields_that_pilotage_reads_match_a_real_inspection(engine: str, name: str) -> None:
    real, fake = captures.by_name(engine, name)[1], imitate(engine, name)[1]
    theirs, ours = (msgspec.convert(found, Inspect) for found in (real, fake))
    assert theirs.Config is not None
    assert ours.Config is not None
    assert theirs.Config.ExposedPorts == ours.Config.ExposedPorts
    assert theirs.State is not None
    assert ours.State is not None
    assert (theirs.State.Status, theirs.State.Running) == (ours.State.Status, ours.State.Running)
    assert (theirs.State.Health and theirs.State.Health.Status) == (ours.State.Health and ours.State.Health.Status)
    assert theirs.HostConfig == ours.HostConfig
    assert theirs.Name == ours.Name
    assert theirs.NetworkSettings is not None
    assert ours.NetworkSettings is not None
    assert theirs.NetworkSettings.Ports == ours.NetworkSettings.Ports


def test_a_list_element_has_health_from_api_1_52_on() -> None:
    fake = FakeEngine(api="1.52")
    it = container("web", health="unhealthy")
    assert summary(it, fake.dialect, with_health=True)["Health"] == {"Status": "unhealthy", "FailingStreak": 1}
    assert "Health" not in summary(it, fake.dialect)


def test_a_recorded_element_is_returned_unchanged_until_its_state_changes() -> None:
    real, real_inspect = captures.by_name("docker-28.5", "plain-bridge")
    fake = FakeEngine([real], api="1.51")
    it = fake.find("plain-bridge")
    assert it is not None
    it.raw_inspect = real_inspect
    assert summary(it, fake.dialect) == real
    fake.die(it, 3)
    assert summary(it, fake.dialect) == real | {"State": "exited", "Status": "Exited (3) 2 minutes ago"}
    assert inspect(it, fake.dialect)["State"]["Running"] is False
