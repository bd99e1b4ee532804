from __future__ import annotations

import contextlib
import os
import socket
import time
from typing import TYPE_CHECKING

import pytest

from pilotage.daemon.systemd import Systemd

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextlib.contextmanager
def listening(address: str) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as service_manager:
        service_manager.bind(address)
        service_manager.settimeout(5)
        yield service_manager


def test_it_hears_of_readiness_reloads_life_and_the_end(tmp_path: Path) -> None:
    with listening(str(tmp_path / "notify")) as manager:
        systemd = Systemd({"NOTIFY_SOCKET": str(tmp_path / "notify")})
        systemd.ready("5 routes")
        assert manager.recv(999) == b"READY=1\nSTATUS=5 routes"
        before = time.monotonic_ns() // 1000
        systemd.reloading()
        reloading, _, since = manager.recv(999).decode().partition("\nMONOTONIC_USEC=")
        assert reloading == "RELOADING=1"
        assert before <= int(since) <= time.monotonic_ns() // 1000
        systemd.alive()
        assert manager.recv(999) == b"WATCHDOG=1"
        systemd.stopping()
        assert manager.recv(999) == b"STOPPING=1"


def test_addresses_may_be_abstract() -> None:
    name = f"pilotage-test-{os.getpid()}"
    with listening(f"\0{name}") as manager:
        Systemd({"NOTIFY_SOCKET": f"@{name}"}).alive()
        assert manager.recv(999) == b"WATCHDOG=1"


def test_without_systemd_nothing_happens(tmp_path: Path) -> None:
    Systemd({}).ready("")
    Systemd({"NOTIFY_SOCKET": str(tmp_path / "none")}).ready("")


@pytest.mark.parametrize(
    ("env", "seconds"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, 0.0),
        ({"WATCHDOG_USEC": "soon"}, 0.0),
        ({}, 0.0),
    ],
)
def test_signs_of_life_come_twice_as_often_as_systemd_wants(env: dict[str, str], seconds: float) -> None:
    assert Systemd({"NOTIFY_SOCKET": "/run/notify", **env}).watchdog == seconds


def test_no_signs_of_life_without_an_address() -> None:
    assert Systemd({"WATCHDOG_USEC": "30000000"}).watchdog == 0.0
