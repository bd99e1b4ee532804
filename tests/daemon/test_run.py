from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING

from pilotage.config.engines import EngineChoice
from pilotage.daemon.run import serve
from pilotage.daemon.settings import Flags
from pilotage.testing import FakeEngine

if TYPE_CHECKING:
    from pathlib import Path

    from pilotage.daemon.daemon import Daemon


async def test_the_daemon_runs_until_a_signal_and_records_changes_from_the_start(short_path: Path) -> None:
    seen: list[str] = []

    def ready(daemon: Daemon) -> None:
        seen.extend(change.alias for change in daemon.history.select())
        assert daemon.gateway_ports is None
        assert daemon.revision > 0
        os.kill(os.getpid(), signal.SIGTERM)

    async with FakeEngine() as engine:
        engine.add("web", labels={"proxy.web.port": "80"})
        choice = EngineChoice(engines=(f"local={engine.url}",))
        flags = Flags(choice=choice, gateway=False, api=(f"unix://{short_path}/api.sock",))
        async with asyncio.timeout(30):
            await serve(flags, {"PILOTAGE_STATE_DIR": str(short_path), "XDG_RUNTIME_DIR": str(short_path)}, ready=ready)
    assert "web" in seen
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
