from __future__ import annotations

from typing import TYPE_CHECKING

from pilotage.daemon.own_container import OwnContainer
from pilotage.table.snapshot import build_snapshot
from tests.support.summaries import ADDRESS, LOCAL, container

if TYPE_CHECKING:
    from pathlib import Path

PORTS = [
    {"PrivatePort": 8080, "PublicPort": 80, "Type": "tcp", "IP": "0.0.0.0"},
    {"PrivatePort": 8888, "Type": "tcp"},
]


def own(folder: Path, *, local: str = ADDRESS, inside: bool = True, now: list[float] | None = None) -> OwnContainer:
    times = now if now is not None else [0.0]
    mark = folder / "mark"
    if inside:
        mark.touch()
    return OwnContainer(
        lambda: frozenset({local}),
        lambda addresses: [
            it for it in build_snapshot(LOCAL, [container(Ports=PORTS)]).containers if it.private_hostname in addresses
        ],
        marks=[mark],
        gateways=lambda: frozenset({"172.17.0.1"}),
        clock=lambda: times[0],
    )


def test_published_ports_of_the_own_container_lead_to_pilotage(tmp_path: Path) -> None:
    assert own(tmp_path)() == {("172.17.0.1", 80)}


def test_ports_of_other_containers_do_not(tmp_path: Path) -> None:
    assert own(tmp_path, local="172.17.0.99")() == frozenset()


def test_outside_of_a_container_nothing_is_looked_up(tmp_path: Path) -> None:
    assert own(tmp_path, inside=False)() == frozenset()


def test_the_result_is_used_for_four_seconds(tmp_path: Path) -> None:
    now = [0.0]
    found = own(tmp_path, now=now)
    first = found()
    now[0] = 3.9
    assert found() is first
    now[0] = 4.0
    assert found() is not first


def test_the_own_container_is_published_at_the_gateway_of_each_of_its_networks(tmp_path: Path) -> None:
    (mark := tmp_path / "mark").touch()
    looked = OwnContainer(
        lambda: frozenset({ADDRESS}),
        lambda _: build_snapshot(LOCAL, [container(Ports=PORTS)]).containers,
        marks=[mark],
        gateways=lambda: frozenset({"172.17.0.1", "172.18.0.1"}),
    )
    assert looked() == {("172.17.0.1", 80), ("172.18.0.1", 80)}
