from __future__ import annotations

import asyncio
import errno
import json
import logging
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web

from pilotage.core.errors import GatewayError
from pilotage.gateway.binary import find_envoy
from pilotage.gateway.process import Gateway, GatewayTiming
from tests.support.envoy import running, static_bootstrap, web_server
from tests.support.leaks import assert_no_leaks
from tests.support.ports import free_port
from tests.support.waiting import alive, until

pytestmark = pytest.mark.process

QUICK = GatewayTiming(look=0.1, answer=0.5, silence=1.0, first_pause=0.01, settled=0.0)


def made(folder: Path, port: int, upstream: int, **options: Any) -> Gateway:
    return Gateway(static_bootstrap(port, upstream), folder, binary=find_envoy(), workers=1, timing=QUICK, **options)


async def ask(port: int, path: str = "/", **options: Any) -> tuple[int, str, str]:
    """Status, body and ``Connection`` of an answer."""
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}{path}", **options) as answer:
        return answer.status, await answer.text(), answer.headers.get("Connection", "")


def refused(port: int) -> bool:
    """Whether nobody listens on a port of loopback."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == errno.ECONNREFUSED


async def test_envoy_serves_reports_metrics_and_leaves_nothing_behind(tmp_path: Path) -> None:
    port = free_port()
    async with web_server() as upstream, assert_no_leaks():
        gateway = made(tmp_path, port, upstream)
        async with running(gateway) as task:
            status = gateway.status
            assert (status.state, status.restarts, alive(status.pid)) == ("ready", 0, True)
            assert (await ask(port))[:2] == (200, "hello\n")
            assert b"envoy_http_downstream_rq_completed" in await gateway.statistics()
            assert json.loads(await gateway.clusters("^web$"))["cluster_statuses"][0]["name"] == "web"
            assert json.loads(await gateway.clusters("^(?:other|we)$")) == {}
            assert await gateway.drain(5) == 0
            await task
            assert gateway.status.state == "stopped"
            assert not alive(status.pid)
            for asked in (gateway.statistics(), gateway.clusters("")):
                with pytest.raises(GatewayError, match="does not respond"):
                    await asked


async def test_only_the_owner_can_use_the_admin_socket(tmp_path: Path) -> None:
    gateway = made(tmp_path, free_port(), 1)
    async with running(gateway):
        assert gateway.admin_socket.stat().st_mode & 0o777 == 0o600


async def test_a_killed_envoy_is_restarted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    port = free_port()
    async with web_server() as upstream:
        gateway = made(tmp_path, port, upstream)
        async with running(gateway):
            os.kill(gateway.status.pid, signal.SIGKILL)
            await until(lambda: gateway.status.restarts == 1 and gateway.status.state == "ready")
            assert (await ask(port))[0] == 200
    assert "Envoy was killed by SIGKILL; restarting it" in caplog.text


async def test_an_envoy_that_served_is_restarted_without_a_pause_however_often(tmp_path: Path) -> None:
    pauses = msgspec.structs.replace(QUICK, first_pause=30.0, longest_pause=30.0, settled=0.05)
    gateway = Gateway(static_bootstrap(free_port(), 1), tmp_path, binary=find_envoy(), workers=1, timing=pauses)
    async with running(gateway):
        for restarts in range(1, 5):
            await until(lambda: time.monotonic() - gateway._ready_at > pauses.settled)
            os.kill(gateway.status.pid, signal.SIGKILL)
            await until(lambda: gateway.status.restarts == restarts and gateway.status.state == "ready")  # noqa: B023


async def test_without_free_file_descriptors_a_restart_is_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    gateway = made(tmp_path, free_port(), 1)
    async with running(gateway):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        os.kill(gateway.status.pid, signal.SIGKILL)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        try:
            await until(lambda: "Too many open files" in caplog.text)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        await until(lambda: gateway.status.state == "ready")
    assert "Envoy could not be started (cannot start Envoy: Too many open files); restarting it in" in caplog.text


async def test_an_unresponsive_envoy_is_killed_and_restarted(tmp_path: Path) -> None:
    gateway = made(tmp_path, free_port(), 1)
    async with running(gateway):
        frozen = gateway.status.pid
        os.kill(frozen, signal.SIGSTOP)
        await until(lambda: gateway.status.restarts == 1 and gateway.status.state == "ready")
        assert not alive(frozen)


async def test_requests_in_flight_finish_while_new_ones_are_refused(tmp_path: Path) -> None:
    port = free_port()
    asked, finish = asyncio.Event(), asyncio.Event()

    async def slow(_: web.BaseRequest) -> web.Response:
        asked.set()
        await finish.wait()
        return web.Response(text="done\n")

    async with web_server(slow) as upstream:
        gateway = made(tmp_path, port, upstream)
        async with running(gateway) as task:
            request = asyncio.create_task(ask(port))
            await asked.wait()
            drain = asyncio.create_task(gateway.drain(30))

            await until(lambda: refused(port))
            assert gateway.status.state == "draining"
            finish.set()
            assert (await request) == (200, "done\n", "close")
            assert await drain == 0
            await task


async def test_requests_that_exceed_the_drain_time_are_aborted_and_counted(tmp_path: Path) -> None:
    port = free_port()
    asked, never = asyncio.Event(), asyncio.Event()

    async def stuck(_: web.BaseRequest) -> web.Response:
        asked.set()
        await never.wait()
        raise AssertionError

    async with web_server(stuck) as upstream:
        gateway = made(tmp_path, port, upstream)
        async with running(gateway) as task:
            request = asyncio.create_task(ask(port))
            await asked.wait()
            assert await gateway.drain(0.5) == 1
            await task
            with pytest.raises(aiohttp.ClientError):
                await request


async def test_a_rejected_bootstrap_is_an_error_with_envoys_message(tmp_path: Path) -> None:
    gateway = Gateway({"no_such_field": 1}, tmp_path, binary=find_envoy(), timing=QUICK)
    with pytest.raises(
        GatewayError, match=r"Envoy exited with status 1 before it was ready; its last log lines: .*no_such_field"
    ):
        async with running(gateway):
            pass


def test_a_folder_that_cannot_be_written_to_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(
        GatewayError, match=r"cannot write .*gone/envoy\.json: No such file or directory; free some space"
    ):
        Gateway({}, tmp_path / "gone", binary=Path("envoy"))


async def test_a_program_that_cannot_be_run_is_an_error(tmp_path: Path) -> None:
    gateway = Gateway({}, tmp_path, binary=tmp_path / "none", timing=QUICK)
    with pytest.raises(GatewayError, match="before it was ready"):
        async with running(gateway):
            pass


async def test_envoys_log_goes_to_our_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "pilotage.envoy")
    async with running(made(tmp_path, free_port(), 1, log_level="info")):
        pass
    said = [record for record in caplog.records if record.name == "pilotage.envoy"]
    assert any("starting main dispatch loop" in record.getMessage() for record in said)
    assert {record.levelno for record in said} >= {logging.INFO}
    assert all(record.levelno == logging.DEBUG for record in said if "no configured limit" in record.getMessage())


async def test_no_process_outlives_a_killed_pilotage(tmp_path: Path) -> None:
    program = f"""
import asyncio, pathlib
from pilotage.gateway.process import Gateway
from pilotage.gateway.binary import find_envoy
from tests.support.envoy import static_bootstrap
async def main():
    gateway = Gateway(static_bootstrap({free_port()}, 1), pathlib.Path({str(tmp_path)!r}), binary=find_envoy())
    task = asyncio.create_task(gateway.run())
    await gateway.ready()
    print(gateway.status.pid, flush=True)
    await task
asyncio.run(main())
"""
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdout=subprocess.PIPE)
    assert parent.stdout is not None
    envoy = int(await parent.stdout.readline())
    assert alive(envoy)
    parent.kill()
    await parent.wait()
    await until(lambda: not alive(envoy))
