from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import msgspec
import pytest

from pilotage.gateway.adoption import KeepingLauncher, end_kept, read_record
from pilotage.gateway.binary import find_envoy
from pilotage.gateway.client_limit import module_folder
from pilotage.gateway.process import Gateway, GatewayTiming
from pilotage.gateway.processes import PidfdProcess, start_time
from tests.support.envoy import running, static_bootstrap, web_server
from tests.support.ports import free_port
from tests.support.waiting import alive, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.process

QUICK = GatewayTiming(look=0.1, answer=0.5, silence=1.0, first_pause=0.01, settled=0.0)


@pytest.fixture
async def folder(short_path: Path) -> AsyncIterator[Path]:
    """A folder whose Envoy is ended after the test."""
    yield short_path
    record = read_record(short_path)
    pids = [] if record is None else [(record.pid, record.started), *record.older]
    for process in [PidfdProcess.open(*each) for each in pids]:
        if process is not None:
            process.kill()
            await process.wait()


def launcher(
    folder: Path, bootstrap: dict[str, Any], *, drain: float = 1, workers: int = 1, binary: Path | None = None
) -> KeepingLauncher:
    binary = binary or find_envoy()
    return KeepingLauncher(bootstrap, folder, binary=binary, workers=workers, log_level="warning", drain=drain)


@contextlib.asynccontextmanager
async def kept(
    folder: Path, bootstrap: dict[str, Any], **options: Any
) -> AsyncIterator[tuple[Gateway, KeepingLauncher]]:
    """A gateway that leaves its Envoy at the end."""
    launches = launcher(folder, bootstrap, **options)
    gateway = Gateway({}, folder, binary=find_envoy(), timing=QUICK, launcher=launches)
    async with running(gateway):
        gateway.leave()
        yield gateway, launches


async def status(port: int) -> int:
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/") as answer:
        return answer.status


async def test_an_envoy_that_was_left_is_adopted(folder: Path) -> None:
    port = free_port()
    async with web_server() as upstream:
        bootstrap = static_bootstrap(port, upstream)
        async with kept(folder, bootstrap) as (gateway, launches):
            pid = gateway.status.pid
            assert not launches.adopted
            assert os.getsid(pid) != os.getsid(0)  # signals to our group do not reach it
            inherited = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
            assert f"ENVOY_DYNAMIC_MODULES_SEARCH_PATH={module_folder()}" in inherited
        assert await status(port) == 200
        async with kept(folder, bootstrap) as (gateway, launches):
            assert launches.adopted
            assert gateway.status.pid == pid
            assert b"envoy_server_live" in await gateway.statistics()
        assert await status(port) == 200
        assert await end_kept(folder, 1)
        assert not alive(pid)
        assert not await end_kept(folder, 1)


async def test_an_envoy_that_was_not_to_be_left_ends(folder: Path) -> None:
    launches = launcher(folder, static_bootstrap(free_port(), 1))
    gateway = Gateway({}, folder, binary=find_envoy(), timing=QUICK, launcher=launches)
    task = asyncio.create_task(gateway.run())
    await gateway.ready()
    pid = gateway.status.pid
    task.cancel()
    await asyncio.wait({task})
    assert not alive(pid)


async def test_an_adopted_envoy_that_is_killed_is_started_again(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    port = free_port()
    async with web_server() as upstream:
        bootstrap = static_bootstrap(port, upstream)
        async with kept(folder, bootstrap) as (gateway, _):
            pid = gateway.status.pid
        async with kept(folder, bootstrap) as (gateway, launches):
            os.kill(pid, signal.SIGKILL)
            await until(lambda: gateway.status.restarts == 1 and gateway.status.state == "ready")
            assert gateway.status.pid != pid
            assert not launches.adopted
            assert await status(port) == 200
    assert "restarting it" in caplog.text


async def test_another_configuration_takes_over_the_sockets_and_the_old_envoy_ends_after_the_drain_time(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    port = free_port()
    async with web_server() as upstream:
        bootstrap = static_bootstrap(port, upstream)
        async with kept(folder, bootstrap) as (gateway, _):
            old = gateway.status.pid
            began = start_time(old)
        async with kept(folder, {**bootstrap, "node": {"id": "new"}}) as (gateway, launches):
            assert gateway.status.pid != old
            assert launches.replaces
            assert not launches.adopted
            for _ in range(20):
                assert await status(port) == 200
            await until(lambda: start_time(old) != began)
            assert await status(port) == 200
            record = read_record(folder)
            assert record is not None
            assert (record.epoch, record.older) == (1, ((old, began),))
            assert json.loads((folder / "envoy-1.json").read_text())["node"] == {"id": "new"}
    assert f"a new Envoy is taking over from the one with process ID {old}" in caplog.text


async def test_an_envoy_that_writes_warnings_takes_over_too(folder: Path, tmp_path: Path) -> None:
    """Envoy 1.40 does, where the processor controller of cgroups is missing."""
    binary = tmp_path / "envoy"
    binary.write_text(f'#!/bin/sh\necho "[warning] no cgroups" >&2\nexec {find_envoy()} "$@"\n')
    binary.chmod(0o755)
    bootstrap = static_bootstrap(free_port(), 1)
    async with kept(folder, bootstrap, binary=binary):
        pass
    async with kept(folder, {**bootstrap, "node": {"id": "new"}}, binary=binary) as (_, launches):
        assert launches.replaces


async def test_a_configuration_that_the_new_envoy_refuses_leaves_the_old_one_serving(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    port = free_port()
    async with web_server() as upstream:
        async with kept(folder, static_bootstrap(port, upstream)) as (gateway, _):
            pid = gateway.status.pid
        async with kept(folder, {"unknown": 1}) as (gateway, launches):
            assert launches.adopted
            assert gateway.status.pid == pid
            assert await status(port) == 200
    assert "rejects its configuration, so the old one keeps running" in caplog.text


async def test_a_reused_process_id_is_never_signalled(folder: Path) -> None:
    bootstrap = static_bootstrap(free_port(), 1)
    async with kept(folder, bootstrap) as (gateway, _):
        os.kill(gateway.status.pid, signal.SIGKILL)
        await until(lambda: gateway.status.restarts == 1 and gateway.status.state == "ready")
    record = read_record(folder)
    assert record is not None
    ours = PidfdProcess.open(record.pid, record.started)
    assert ours is not None
    ours.kill()
    await ours.wait()
    # It lives until it is killed, or its standard input is closed because this test has ended.
    program = "import sys; sys.stdin.read()"
    stranger = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdin=asyncio.subprocess.PIPE)
    for changed in (
        msgspec.structs.replace(record, pid=stranger.pid),
        msgspec.structs.replace(record, pid=stranger.pid, started=start_time(stranger.pid), boot="another"),
        msgspec.structs.replace(record, older=((stranger.pid, record.started),)),
    ):
        (folder / "envoy.pid").write_bytes(msgspec.json.encode(changed))
        async with kept(folder, bootstrap) as (_, launches):
            assert not launches.adopted
        await end_kept(folder, 0)
        assert stranger.returncode is None
        assert alive(stranger.pid)
    stranger.kill()
    await stranger.wait()


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"pid": "x"}', "\x00" * 9])
async def test_a_damaged_record_is_as_good_as_none(folder: Path, text: str) -> None:
    (folder / "envoy.pid").write_text(text)
    assert read_record(folder) is None
    assert not await end_kept(folder, 0)


async def test_an_envoy_that_does_not_respond_is_replaced(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pilotage.gateway.adoption._ANSWER", 0.3)
    bootstrap = static_bootstrap(free_port(), 1)
    async with kept(folder, bootstrap) as (gateway, _):
        frozen = gateway.status.pid
    os.kill(frozen, signal.SIGSTOP)
    async with kept(folder, bootstrap) as (gateway, launches):
        assert not launches.adopted
        assert gateway.status.pid != frozen
    assert not alive(frozen)


async def test_what_envoy_logs_while_nobody_reads_is_logged_by_the_next(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bootstrap = static_bootstrap(free_port(), 1)
    async with kept(folder, bootstrap):
        pass
    with (folder / "envoy.log").open("a") as log:
        log.write("warning\tmain\tmeanwhile\n")
    async with kept(folder, bootstrap):
        await until(lambda: "main: meanwhile" in caplog.text)
