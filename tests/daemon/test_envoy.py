from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from pilotage.core.errors import GatewayError
from pilotage.daemon.envoy import DAEMON_LOCK, kept_folder
from pilotage.gateway.adoption import read_record
from tests.support.load import failures
from tests.support.restarts import SCENARIOS, envoy_killed, keeping
from tests.support.serving import add
from tests.support.waiting import alive

pytestmark = [pytest.mark.process, pytest.mark.slow]


# Not "versions": 1.40 is the first Envoy that pilotage can configure, so there is no earlier one to upgrade from.
@pytest.mark.slow
@pytest.mark.parametrize(("scenario", "times"), [("terminate", 2), ("kill", 2), ("upgrade", 2)])
async def test_a_restart_loses_no_request_and_cuts_no_websocket_before_its_time(
    short_path: Path, scenario: str, times: int
) -> None:
    _, run = SCENARIOS[scenario]
    outcome = await run(short_path, times, 100, 4)
    assert len(outcome.answers) > 100
    assert not failures(outcome.answers)
    assert not outcome.cut_early
    assert len(outcome.cut) == (times * 4 if scenario == "upgrade" else 0)


async def test_a_kept_envoy_survives_its_daemon_and_is_adopted_by_the_next(short_path: Path) -> None:
    async with keeping(short_path) as (served, engine, upstream):
        await served.start()
        record = read_record(short_path / "api-envoy")
        assert record is not None
        await served.kill()
        await served.answers()
        add(engine, "new", upstream)
        await served.start()
        await served.answers("new.example.com")
        assert read_record(short_path / "api-envoy") == record
        assert f"adopted the Envoy with process ID {record.pid}" in served.log
        await served.stop()
        await served.answers()
        assert "Envoy keeps serving" in served.log


async def test_the_routes_of_an_engine_that_is_away_at_the_restart_stay(short_path: Path) -> None:
    async with keeping(short_path) as (served, engine, _):
        await served.start()
        await served.stop()
        engine.crash()
        await served.start()
        await served.answers()
        await served.stop()
        engine.remove("shop")
        await engine.recover()
        await served.start()
        await served.answers(status=404)


async def test_an_envoy_that_never_served_ends_with_its_daemon(short_path: Path) -> None:
    async with keeping(short_path, access_log=str(short_path / "access.log")) as (served, _, _):
        (short_path / "api-envoy").mkdir(mode=0o700)
        (short_path / "envoy").write_text("#!/bin/sh\nexit 3\n")
        with pytest.raises(AssertionError, match=r"Envoy (exited at once|ended before it was ready)"):
            await served.start()
        record = read_record(short_path / "api-envoy")
        assert record is not None
        assert not alive(record.pid)


async def test_an_access_log_on_standard_output_goes_on_after_a_restart(short_path: Path) -> None:
    async with keeping(short_path, access_log="-") as (served, _, _):
        await served.start()
        await served.stop()  # it returns only when nothing holds its standard output
        await served.answers()


async def test_two_daemons_do_not_share_an_envoy(short_path: Path) -> None:
    with kept_folder(str(short_path / "p-envoy"), DAEMON_LOCK) as folder:
        assert (folder / DAEMON_LOCK).read_text() == str(os.getpid())
        with (
            pytest.raises(GatewayError, match=r"another pilotage process uses the Envoy in .*pilotage stop"),
            kept_folder(str(folder), DAEMON_LOCK),
        ):
            pass
    with kept_folder(str(folder), DAEMON_LOCK):
        pass


@pytest.mark.parametrize(
    ("path", "reason"), [("x" * 90, "too long for sockets"), ("open", "must belong to this user, have mode 0700")]
)
def test_a_folder_that_cannot_be_used_is_an_error(short_path: Path, path: str, reason: str) -> None:
    (short_path / "open").mkdir(mode=0o777)
    (short_path / "open").chmod(0o777)
    with pytest.raises(GatewayError, match=reason), kept_folder(str(short_path / path), DAEMON_LOCK):
        pass


async def test_a_kept_envoy_that_is_killed_comes_back(short_path: Path) -> None:
    assert len(await envoy_killed(short_path, 2, keep=True, settled=1.2)) == 2


async def test_signals_to_the_group_of_the_daemon_do_not_reach_envoy(short_path: Path) -> None:
    async with keeping(short_path) as (served, _, _):
        await served.start()
        record = read_record(short_path / "api-envoy")
        assert record is not None
        assert os.getsid(record.pid) != os.getsid(served.pid)
        assert os.getpgid(record.pid) != os.getpgid(served.pid)
        os.kill(served.pid, signal.SIGTERM)
        await served.stop()
        await asyncio.to_thread(Path(f"/proc/{record.pid}/status").read_text)


async def test_the_log_of_an_envoy_is_not_about_its_own_growth(short_path: Path) -> None:
    async with keeping(short_path, log_level="debug") as (served, _, _):
        await served.start()
        await served.answers()
        lines = (short_path / "api-envoy" / "envoy.log").read_text(errors="replace").splitlines()
    assert not [line for line in lines if line.startswith("debug\tfile")]
    assert any(line.startswith("debug\t") for line in lines)
