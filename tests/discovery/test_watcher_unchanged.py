"""Lists of unchanged containers, as dockerd varies them, are recognized."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from pilotage.testing import container
from tests.support.virtual import VirtualEngine
from tests.support.waiting import pass_time, until
from tests.support.watched import Watch

if TYPE_CHECKING:
    from pilotage.testing import FakeContainer
    from pilotage.testing.dialect import Flavour


class ShufflingEngine(VirtualEngine):
    """Lists ports and mounts in another order each time, and the uptime in other words, as dockerd does.

    Attributes:
        bodies: all entries listed so far.

    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.chance = random.Random(1)
        self.bodies: list[bytes] = []

    def summary_bytes(self, it: FakeContainer, *, with_health: bool) -> bytes:
        entry = msgspec.json.decode(super().summary_bytes(it, with_health=with_health))
        for field in ("Ports", "Mounts"):
            self.chance.shuffle(entry.get(field) or [])
        if entry["State"] == "running":
            health = entry["Status"].partition("(")[2]
            entry["Status"] = f"Up {self.chance.randrange(60)} seconds" + (f" ({health}" if health else "")
        self.bodies.append(msgspec.json.encode(entry))
        return self.bodies[-1]


@pytest.mark.looptime
@pytest.mark.parametrize("flavour", ["docker", "podman"])
async def test_lists_of_unchanged_containers_in_changing_order_change_nothing(flavour: Flavour) -> None:
    """No list contains Podman's health or the start of a container that shares a network: these are asked for anew."""
    ports = [*range(80, 90), *(f"{8000 + port}:{port}/udp" for port in range(80, 90))]
    mounts = [(f"volume{number}", f"/{number}") for number in range(6)]
    health = "healthy" if flavour == "docker" else ""
    found = [
        *(container(f"app{n}", ports=ports, mounts=mounts, health=health if n % 2 else "") for n in range(20)),
        container("host", network_mode="host", ports=ports),
        container("stopped", ports=ports, mounts=mounts, state="exited"),
    ]
    engine = ShufflingEngine(found, flavour=flavour)
    watch = Watch(engine)
    async with watch.running():
        await until(lambda: engine.calls["inspect"] and len(watch.states()) == len(found))
        await watch.idle()
        told, inspected, lists = len(watch.told.changes), engine.calls["inspect"], watch.watcher.lists
        await pass_time(3600)
        assert watch.watcher.lists - lists >= 100
        assert len(set(engine.bodies)) > 20 * 100, "the lists hardly differed"
        assert len(watch.told.changes) == told
        assert engine.calls["inspect"] == inspected
        assert inspected <= len(found), "a container was inspected twice"
        engine.become("app3", "exited")  # and a change is still seen
        await pass_time(30)
        assert watch.is_true()
        assert len(watch.told.changes) == told + 1
