"""Commands that use a running daemon: what a person sees of it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
from typing import TYPE_CHECKING, Any

import pytest

from pilotage.api.listen import Listen
from pilotage.cli.daemon_client import Refused
from pilotage.cli.running import daemon_updates, running_daemon
from tests.support.api_server import serving
from tests.support.commandline import a_process

if TYPE_CHECKING:
    import subprocess
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.api_server import Caller

pytestmark = pytest.mark.process


@contextlib.asynccontextmanager
async def daemon(folder: Path) -> AsyncIterator[tuple[Caller, dict[str, Any]]]:
    """Serve the API of a daemon that watches one engine; also return how to start a command that finds the daemon."""
    async with serving(Listen(path=str(folder / "api.sock"))) as caller:
        caller.source.config_file = ""
        env = os.environ | {"PILOTAGE_SOCKET": str(folder / "api.sock"), "HOME": str(folder), "COLUMNS": "100"}
        env |= {"DOCKER_HOST": caller.engine.url}
        yield caller, {"env": env, "cwd": folder}


async def line_of(process: subprocess.Popen[str], wanted: str) -> str:
    """Read the standard output up to the line with this text."""

    def read() -> str:
        assert process.stdout is not None
        return next(line for line in iter(process.stdout.readline, "") if wanted in line)

    return await asyncio.to_thread(read)


async def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Wait for the end; return the status and what remains of standard error."""
    _, err = await asyncio.to_thread(process.communicate)
    return process.returncode, err


async def test_watch_follows_the_daemon_that_watches_the_engine(short_path: Path) -> None:
    async with daemon(short_path) as (caller, where):
        streams = caller.engine.calls["events"]
        assert streams > 0
        with a_process("watch", **where) as process:
            await line_of(process, "live")
            assert caller.engine.calls["events"] == streams  # it has not asked the engine
            caller.engine.add("new", labels={"proxy.new.port": "81"})
            assert re.search(r"local +added +new +http://\S+:81 +\(start of new\)", await line_of(process, " new "))
            process.send_signal(signal.SIGINT)
            status, err = await ended(process)
    assert status == 130
    assert err.strip() == f"From the running daemon (process {os.getpid()})."


async def test_a_table_that_is_watched_comes_from_the_daemon_until_it_ends(short_path: Path) -> None:
    async with contextlib.AsyncExitStack() as stack:
        caller, where = await stack.enter_async_context(daemon(short_path))
        process = stack.enter_context(a_process("routes", "--watch", **where))
        assert "http://" in await line_of(process, "web ")
        caller.engine.add("new", labels={"proxy.new.port": "81"})
        assert ":81" in await line_of(process, "new ")
        ending = asyncio.create_task(ended(process))
        await caller.api.__aexit__()
        status, err = await ending
    assert status == 2
    assert err.endswith("has ended or does not answer; run the command again\n")


async def test_json_lines_of_the_daemon_are_those_of_the_engine(short_path: Path) -> None:
    async with daemon(short_path) as (caller, where):
        found = []
        for more in ((), ("--engine", f"local={caller.engine.url}")):
            with a_process("watch", "--format", "json", *more, **where) as process:
                line = json.loads(await line_of(process, '"alias":"web"'))
                process.kill()
            found.append({name: value for name, value in line.items() if name not in ("time", "version", "cause")})
    assert found[0] == found[1]


async def test_routes_and_explain_use_the_daemon_that_watches_the_selected_engine(short_path: Path) -> None:
    async with daemon(short_path) as (_, where):
        for command in (("routes",), ("ps",), ("explain", "web")):
            with a_process(*command, **where) as process:
                assert await ended(process) == (0, f"From the running daemon (process {os.getpid()}).\n")


async def test_an_engine_that_the_daemon_does_not_watch_is_asked_itself(
    short_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(short_path)
    async with daemon(short_path) as (caller, where):
        env = where["env"]
        for name, value, is_used in (
            ("DOCKER_HOST", caller.engine.url, True),
            ("DOCKER_HOST", f"unix://{short_path}/other.sock", False),
            ("DOCKER_HOST", "nonsense://x", False),
            ("DOCKER_CONTEXT", "missing", False),
            ("PATH", env["PATH"], True),
        ):
            given = {key: it for key, it in env.items() if key != "DOCKER_HOST"} | {name: value}
            assert (await asyncio.to_thread(running_daemon, given) is not None) is is_used, (name, value)
        (short_path / "pilotage.yml").write_text("providers: {}\n")
        assert await asyncio.to_thread(running_daemon, env) is None  # its configuration is another one


async def test_what_is_not_a_daemon_of_this_version_is_reported(short_path: Path) -> None:
    with pytest.raises(Refused, match="has ended or does not answer; run the command again"):
        async with daemon_updates(short_path / "none.sock"):
            pass
