from __future__ import annotations

import asyncio
import errno
import io
import os
import re
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock
from urllib.parse import urlsplit

import aiohttp
import pytest

from pilotage.cli.commands.serve import _Screen
from pilotage.cli.main import run
from pilotage.core.errors import GatewayError
from pilotage.daemon.settings import DaemonSettings
from pilotage.discovery.update import Update
from pilotage.table.diff import diff
from pilotage.table.store import build_table
from pilotage.table.table import Table
from pilotage.testing import FakeEngine, container
from tests.support.example_engine import engine_snapshot, one
from tests.support.ports import free_port
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

# One worker, because the demonstration always has the same TCP port.
pytestmark = [pytest.mark.process, pytest.mark.xdist_group("demonstration")]


def shown(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, str, str]:
    status = run(args)
    printed = capsys.readouterr()
    return status, printed.out, printed.err


@pytest.fixture
def started(tmp_path: Path) -> list[str]:
    """The beginning of a command line that disturbs nobody."""
    api = f"unix://{tmp_path}/api.sock"
    return [sys.executable, "-m", "pilotage", "serve", "--port", str(free_port()), "--api", api]


def nowhere(tmp_path: Path) -> dict[str, str]:
    """The environment of a machine without an engine."""
    empty = {name: value for name, value in os.environ.items() if not name.startswith("DOCKER_")}
    return empty | {"HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path), "PILOTAGE_COMMAND": "sh scripts/run"}


async def a_server(*command: str, cwd: Path, env: dict[str, str], **more: Any) -> asyncio.subprocess.Process:
    pipes: dict[str, Any] = {"stdout": asyncio.subprocess.PIPE, "stderr": asyncio.subprocess.PIPE}
    return await asyncio.create_subprocess_exec(*command, cwd=cwd, env=env, **pipes | more)


async def until_welcome(process: asyncio.subprocess.Process) -> list[str]:
    """Return what it prints up to the line about the API."""
    assert process.stdout is not None
    lines: list[str] = []
    async with asyncio.timeout(60):
        while not (lines and lines[-1].startswith("Dashboard and API")):
            line = await process.stdout.readline()
            assert line, await process.communicate()
            lines.append(line.decode().rstrip())
    return lines


async def ended(process: asyncio.subprocess.Process, number: int = signal.SIGINT) -> str:
    """End it in good order, and return what it said on standard error."""
    process.send_signal(number)
    _, err = await process.communicate()
    assert process.returncode == 0, err
    assert b"Traceback" not in err
    return err.decode()


@pytest.mark.parametrize(
    ("option", "introduction"),
    [
        ("--demo", "This is the built-in demonstration.\n"),
        ("--or-demo", "No container engine responds here, so this is the built-in demonstration.\n"),
    ],
)
async def test_the_demonstration_prints_where_it_is_and_answers_there(
    started: list[str], option: str, introduction: str, tmp_path: Path
) -> None:
    process = await a_server(*started, option, cwd=tmp_path, env=nowhere(tmp_path))
    try:
        lines = await until_welcome(process)
        port = started[started.index("--port") + 1]
        assert lines[:2] == [f"Serving 8 routes on port {port}:", lines[1]]
        assert lines[1].split() == ["NAME", "URL", "TARGET"]
        rows = [line.split() for line in lines[2:10]]
        urls = [url for _, url, target, *_ in rows if target != "asleep"]
        assert len(urls) == 7
        assert "Not served: postgres" in lines
        # The port of the TCP route is fixed, so another program may have it.
        in_use = any("cannot listen on tcp/0.0.0.0:2222: Address already in use" in line for line in lines)
        assert "Run 'sh scripts/run explain NAME' to see why." in lines
        async with aiohttp.ClientSession() as session:
            for url in urls:
                parts = urlsplit(url)
                host = {"Host": parts.netloc}
                if parts.port == 2222 and in_use:
                    continue
                async with session.get(f"http://127.0.0.1:{parts.port}/", headers=host) as answer:
                    assert answer.status == 200
                    assert "container of the demonstration" in await answer.text()
    finally:
        err = await ended(process)
    assert err.startswith(introduction)
    assert "Envoy stopped" in err


async def test_the_error_of_a_selected_engine_is_printed_before_the_demonstration(
    started: list[str], tmp_path: Path
) -> None:
    env = nowhere(tmp_path) | {"DOCKER_HOST": f"unix://{tmp_path}/none.sock"}
    process = await a_server(*started, "--or-demo", cwd=tmp_path, env=env)
    try:
        await until_welcome(process)
    finally:
        err = await ended(process)
    assert err.startswith(f"error: local: no socket at {tmp_path}/none.sock")
    assert "this is the built-in demonstration.\n" in err


async def test_where_an_engine_answers_no_demonstration_takes_its_place(started: list[str], tmp_path: Path) -> None:
    async with FakeEngine([container("web", ports=(80,))]) as engine:
        env = nowhere(tmp_path) | {"DOCKER_HOST": engine.url}
        process = await a_server(*started, "--or-demo", cwd=tmp_path, env=env)
        try:
            lines = await until_welcome(process)
        finally:
            err = await ended(process, signal.SIGTERM)
    assert lines[0] == f"Watching local: DOCKER_HOST is {engine.url}."
    assert lines[3].split()[:2] == ["web", f"http://web.localhost:{started[started.index('--port') + 1]}"]
    assert "demonstration" not in err


def test_or_demo_uses_the_next_port_if_the_default_one_is_in_use(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from pilotage.cli.commands.serve import _with_free_port
    from pilotage.daemon.settings import Flags

    taken = {8080, 8081}
    monkeypatch.setattr("pilotage.api.listen.port_error", lambda host, port: "taken" if port in taken else "")
    assert _with_free_port(Flags()).port == 8082
    assert capsys.readouterr().err == "Port 8080 is in use; using port 8082. To use another one, set --port.\n"
    assert _with_free_port(Flags(port=8080)).port == 8080
    assert _with_free_port(Flags(gateway=False)).port is None
    taken.update(range(8080, 8100))
    assert _with_free_port(Flags()).port is None  # which will be told to be taken
    taken.clear()
    assert _with_free_port(Flags()).port is None
    assert capsys.readouterr().err == ""


async def test_a_terminal_shows_changes_until_ctrl_c(started: list[str], tmp_path: Path) -> None:
    async with FakeEngine([container("web", ports=(80,))]) as engine:
        ours, theirs = os.openpty()
        loop, written = asyncio.get_running_loop(), bytearray()
        loop.add_reader(ours, lambda: written.extend(os.read(ours, 65536)))
        env = nowhere(tmp_path) | {"DOCKER_HOST": engine.url, "COLUMNS": "120", "TERM": "dumb"}
        ends: dict[str, Any] = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
        process = await a_server(*started, cwd=tmp_path, env=env, **ends)
        try:
            await until(lambda: b"Press Ctrl-C to stop." in written)
            engine.start(engine.add(container("blog", ports=(2368,))))
            await until(lambda: re.search(rb"\d\d  local  added +blog +http://\S+:2368", written))
            process.send_signal(signal.SIGINT)
            assert await asyncio.wait_for(process.wait(), 30) == 0
            await until(lambda: re.search(rb"\d\d  Envoy stopped", written))
        finally:
            if process.returncode is None:
                process.kill()
            loop.remove_reader(ours)
            os.close(ours)
            os.close(theirs)
    assert b"Traceback" not in written
    assert b"\x1b" not in written


class Followed:
    """What a screen looks at of a daemon: it tells of one route that has come."""

    def __init__(self) -> None:
        self.settings, self.discovery, self.table = DaemonSettings(engines=()), self, Table()
        self.told = asyncio.Event()

    async def __aiter__(self) -> AsyncIterator[Update]:
        new = build_table([engine_snapshot([one("web")])])
        yield Update(self.table, new, diff(self.table, new))
        self.told.set()
        await asyncio.Event().wait()


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> _Screen:
    monkeypatch.setattr("pilotage.daemon.logging.configure_logging", lambda *_: None)
    return _Screen()


async def test_a_closed_terminal_ends_only_the_printing_of_changes(
    screen: _Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = Mock(wraps=io.StringIO(), write=Mock(side_effect=OSError(errno.EIO, "Input/output error")))
    monkeypatch.setattr("sys.stdout", gone)
    async with screen:
        screen.follow(Followed())  # type: ignore[arg-type]
        assert screen._following is not None
        await until(screen._following.done)
    gone.write.assert_called()
    assert screen._following.exception() is None


async def test_a_bug_in_printing_changes_is_raised_unless_another_error_ended_serving(
    screen: _Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pilotage.output.changelog.ChangeFormatter.format", Mock(side_effect=KeyError("defect")))

    async def fail(error: Exception | None) -> None:
        async with screen:
            screen.follow(Followed())  # type: ignore[arg-type]
            assert screen._following is not None
            await until(screen._following.done)
            if error is not None:
                raise error

    with pytest.raises(KeyError, match="defect"):
        await fail(None)
    with pytest.raises(GatewayError, match="Envoy"):
        await fail(GatewayError("Envoy has ended"))


async def test_a_screen_follows_until_it_is_left(screen: _Screen, capsys: pytest.CaptureFixture[str]) -> None:
    followed = Followed()
    async with screen:
        screen.follow(followed)  # type: ignore[arg-type]
        await asyncio.wait_for(followed.told.wait(), 10)
    assert screen._following is not None
    assert screen._following.cancelled()
    assert re.search(r"local +live +1 route", capsys.readouterr().out)


def test_the_demonstration_cannot_be_combined_with_engines(capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = shown(capsys, "serve", "--demo", "--engine", "a=unix:///a.sock")
    assert (status, "--demo cannot be combined with options that select engines." in err) == (2, True)


def test_an_error_at_startup_is_one_line(started: list[str]) -> None:
    with socket.socket() as other:
        other.bind(("0.0.0.0", 0))
        other.listen()
        port = str(other.getsockname()[1])
        command = [*started, "--engine", "local=unix:///nowhere.sock", "--port", port]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert done.stderr == (
        f"error: the gateway cannot listen on 0.0.0.0:{port}: Address already in use; "
        "choose another port with --port or gateway.http\n"
    )


@pytest.mark.parametrize(
    ("missing", "command"),
    [
        ("grpc", ["serve", "--demo"]),
        ("envoy", ["serve", "--demo"]),
        ("google", ["serve", "--demo"]),
        ("envoy", ["envoy-bootstrap", "a:1"]),
    ],
)
def test_without_the_extra_it_says_what_to_install(missing: str, command: list[str]) -> None:
    program = (
        f"import sys; sys.modules[{missing!r}] = None; from pilotage.cli.main import run; sys.exit(run({command!r}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert done.stderr == "error: the gateway's packages are not installed; run pip install 'pilotage[gateway]'\n"


def test_every_problem_of_the_configuration_is_printed(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "pilotage.yml"
    file.write_text("gateway: {http: x}\napi: {y: 1}\n")
    status, out, err = shown(capsys, "serve", "--config", str(file))
    assert (status, out) == (2, "")
    first, second = err.splitlines()
    assert first.startswith(f"error: {file}:1:17: gateway.http: 'x' is not an address to listen on; write a port, or ")
    assert second == f"error: {file}:2:7: api.y: unknown key 'y'; the valid keys are listen, token_file"


def test_or_demo_cannot_be_combined_with_engines(capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = shown(capsys, "serve", "--or-demo", "--engine", "a=unix:///a.sock")
    assert status == 2
    assert "--or-demo cannot be combined with options that select engines" in err
