from __future__ import annotations

import asyncio
import logging
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from pilotage.core.errors import GatewayError
from pilotage.gateway.overload import OverloadMonitor
from pilotage.gateway.process import GatewayStatus
from pilotage.xds.overload import Limits
from tests.support.waiting import pass_time

if TYPE_CHECKING:
    from pathlib import Path

_NAMES = (
    "overload.envoy.overload_actions.stop_accepting_requests.active",
    "overload.envoy.resource_monitors.global_downstream_max_connections.pressure",
    "listener.0.0.0.0_8080.clients.refused",
)
_REFUSES = "envoy_overload_envoy_overload_actions_stop_accepting_requests_active{}"
_CONNECTIONS = "envoy_overload_envoy_resource_monitors_global_downstream_max_connections_pressure{}"
_REFUSED = 'envoy_listener_clients_refused{envoy_listener_address="0.0.0.0_8080"}'


class Envoy:
    """Stands for an Envoy with these statistics."""

    def __init__(self) -> None:
        self.status = GatewayStatus("ready", pid=7)
        self.found: dict[str, int] = {}
        self.asked: list[float] = []
        self.takes = 0.0
        self.away = False

    async def stats(self, pattern: str) -> dict[str, int]:
        assert all(re.search(pattern, name) for name in _NAMES)
        self.asked.append(asyncio.get_running_loop().time())
        await asyncio.sleep(self.takes)
        if self.away:
            raise GatewayError("Envoy does not respond", "try again")
        return self.found


class Watched:
    def __init__(self, folder: Path) -> None:
        self.envoy = Envoy()
        self.open = 10
        self.file = folder / "descriptors"
        self.clients = folder / "connections"
        self.monitor = OverloadMonitor(self.envoy, folder, 100, Limits(connections=80), lambda _pid: self.open)

    async def for_(self, seconds: float) -> None:
        """Let it watch for a while of virtual time."""
        task = asyncio.create_task(self.monitor.run())
        await asyncio.sleep(seconds)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()


@pytest.fixture
def it(tmp_path: Path) -> Watched:
    return Watched(tmp_path)


@pytest.mark.looptime
async def test_the_share_of_descriptors_in_use_is_written_for_envoy(it: Watched) -> None:
    it.monitor.prepare()
    assert it.file.read_text() == "0.00"
    await it.for_(1)
    assert it.file.read_text() == "0.10"
    it.open = 500
    await it.for_(1)
    assert it.file.read_text() == "1.00"
    it.envoy.status = GatewayStatus("down")
    await it.for_(1)
    assert it.file.read_text() == "0.00"


@pytest.mark.looptime
async def test_the_share_of_connections_in_use_is_written_for_envoy(it: Watched) -> None:
    it.monitor.prepare()
    assert it.clients.read_text() == "0.00"
    for percent, written in ((40, "0.40"), (100, "1.00"), (0, "0.00")):
        it.envoy.found = {_CONNECTIONS: percent}
        await it.for_(3)
        assert it.clients.read_text() == written


@pytest.mark.looptime
async def test_what_envoy_refuses_is_a_problem_until_it_accepts_again(
    it: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    for found, problem in (
        ({_REFUSES: 1}, "refuses requests"),
        ({_CONNECTIONS: 100}, "refuses connections"),
        ({_REFUSES: 0, _CONNECTIONS: 99}, ""),
    ):
        it.envoy.found = found
        await it.for_(3)
        assert problem in it.monitor.problem
        assert bool(it.monitor.problem) is bool(problem)
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


@pytest.mark.looptime
async def test_connections_that_are_refused_to_clients_are_logged_once_in_a_while(
    it: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    for refused in (0, 3, 3, 9):
        it.envoy.found = {_REFUSED: refused, _REFUSED.replace("8080", "8443"): 0}
        await it.for_(3)
    (record,) = caplog.records
    assert record.getMessage().startswith("3 connections refused")
    await it.for_(600)
    it.envoy.found = {_REFUSED: 10}
    await it.for_(3)
    assert caplog.records[-1].getMessage().startswith("7 connections refused")  # those since the last message


@pytest.mark.looptime
async def test_statistics_take_a_bounded_share_of_envoys_time(it: Watched) -> None:
    it.envoy.takes = 0.5
    await it.for_(60)
    assert 2 <= len(it.envoy.asked) <= 6


@pytest.mark.looptime
@pytest.mark.parametrize("takes", [0.0, 0.02, 0.2])
async def test_statistics_are_read_rarely_unless_a_limit_may_be_near(it: Watched, takes: float) -> None:
    it.envoy.takes = takes
    it.open = 40  # half of the connections that clients may have
    await it.for_(60)
    at_most = 60 / (min(400 * takes, 10) or 1) + 1
    assert at_most / 2 < len(it.envoy.asked) <= at_most
    it.envoy.asked.clear()
    it.open = 41
    await it.for_(60)
    often = 60 / ((20 * takes or 0.2) + takes + 0.4)
    assert len(it.envoy.asked) > often


@pytest.mark.looptime
async def test_statistics_are_read_soon_once_a_limit_may_be_near(it: Watched) -> None:
    it.envoy.takes = 0.02
    watching = asyncio.create_task(it.monitor.run())
    await pass_time(10)
    it.envoy.asked.clear()
    it.open, began = 60, asyncio.get_running_loop().time()
    await pass_time(2)
    watching.cancel()
    assert it.envoy.asked[0] - began < 0.5
    assert len(it.envoy.asked) >= 3


@pytest.mark.looptime
async def test_the_last_state_stays_while_envoy_does_not_answer(it: Watched) -> None:
    it.envoy.found = {_REFUSES: 1}
    await it.for_(1)
    it.envoy.away = True
    await it.for_(1)
    assert it.monitor.problem


@pytest.mark.looptime
async def test_a_full_disk_is_an_error_at_the_start_and_a_warning_later(
    it: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    it.file.with_suffix(".new").mkdir()
    with pytest.raises(GatewayError, match="cannot write"):
        it.monitor.prepare()
    await it.for_(5)
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_without_a_free_descriptor_the_warning_asks_for_a_higher_limit(tmp_path: Path) -> None:
    script = """
import os, resource
from pathlib import Path
from pilotage.core.errors import GatewayError
from pilotage.gateway.overload import OverloadMonitor
from pilotage.xds.overload import Limits

monitor = OverloadMonitor(None, Path("."), 100, Limits())
resource.setrlimit(resource.RLIMIT_NOFILE, (40, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
taken = []
try:
    while True:
        taken.append(os.dup(0))
except OSError:
    pass
try:
    monitor.prepare()
except GatewayError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "Too many open files; allow this process more than 40 open files" in done.stdout
    assert "TMPDIR" not in done.stdout
