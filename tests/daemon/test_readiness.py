from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from pilotage.testing import FakeEngine
from tests.support.envoy import web_server
from tests.support.serving import add, of, serving
from tests.support.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.process


async def test_a_daemon_whose_envoy_hangs_is_not_ready_until_it_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pilotage.xds.envoys.SILENT", 0.3)
    async with web_server() as port, FakeEngine() as engine:
        async with serving(of(engine), tmp_path) as served:
            daemon = served.daemon
            assert daemon.gateway is not None
            assert daemon.not_ready() == ""
            (state,) = daemon.envoys()
            assert (state.node, state.connected) == ("pilotage", True)
            assert 'pilotage_envoy_connected{node="pilotage"} 1.0' in daemon.metrics.text().decode()
            pid = daemon.gateway.status.pid
            os.kill(pid, signal.SIGSTOP)
            try:
                add(engine, "web", port)
                await until(lambda: "has not acknowledged" in daemon.not_ready())
                assert any("Envoy pilotage has not acknowledged" in it.message for it in daemon.problems())
            finally:
                os.kill(pid, signal.SIGCONT)
            await until(lambda: daemon.not_ready() == "")
            await served.answers("web.example.com")
            await until(lambda: daemon.route_states("web")["pilotage"].state == "accepted")
