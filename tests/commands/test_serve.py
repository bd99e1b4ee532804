from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import aiohttp
import pytest

from pilotage.cli import run
from pilotage.testing import FakeEngine
from tests.support.daemon import free_port

if TYPE_CHECKING:
    from pathlib import Path


def shown(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, str, str]:
    status = run(args)
    printed = capsys.readouterr()
    return status, printed.out, printed.err


@pytest.fixture
def started(tmp_path: Path) -> list[str]:
    """The beginning of a command line that disturbs nobody."""
    api = f"unix://{tmp_path}/api.sock"
    return [sys.executable, "-m", "pilotage", "serve", "--port", str(free_port()), "--api", api]


@pytest.mark.parametrize("option", ["--demo", "--or-demo"])
async def test_the_demonstration_prints_where_it_is_and_answers_there(
    started: list[str], option: str, tmp_path: Path
) -> None:
    nowhere = {**os.environ, "DOCKER_HOST": f"unix://{tmp_path}/none.sock"}
    process = await asyncio.create_subprocess_exec(
        *(*started, option), cwd=tmp_path, env=nowhere, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        lines: list[str] = []
        async with asyncio.timeout(60):
            while not (lines and lines[-1].startswith("The API is at")):
                line = await process.stdout.readline()
                assert line, await process.communicate()
                lines.append(line.decode().rstrip())
        assert lines[0].startswith("Watching demo (")
        assert lines[0].endswith("): the built-in demonstration.")
        urls = [line.strip() for line in lines if line.startswith("  http://")]
        assert len(urls) >= 3
        port = started[started.index("--port") + 1]
        async with aiohttp.ClientSession() as session:
            for url in urls:
                host = url.removeprefix("http://")
                async with session.get(f"http://127.0.0.1:{port}/", headers={"Host": host}) as answer:
                    assert answer.status == 200
                    assert "container of the demonstration" in await answer.text()
    finally:
        process.send_signal(signal.SIGINT)
        _, err = await process.communicate()
    assert process.returncode == 0, err
    assert b"Envoy has stopped" in err
    assert (b"No container engine answers here, so this is the built-in demonstration." in err) == (
        option == "--or-demo"
    )
    assert b"Traceback" not in err


async def test_where_an_engine_answers_no_demonstration_takes_its_place(started: list[str], tmp_path: Path) -> None:
    async with FakeEngine() as engine:
        process = await asyncio.create_subprocess_exec(
            *(*started, "--or-demo"),
            cwd=tmp_path,
            env={**os.environ, "DOCKER_HOST": engine.url},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        line = await process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        _, err = await process.communicate()
    assert engine.url in line.decode()
    assert b"demonstration" not in err


def test_the_demonstration_and_engines_exclude_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = shown(capsys, "serve", "--demo", "--engine", "a=unix:///a.sock")
    assert (status, "--demo and naming engines exclude each other." in err) == (2, True)


def test_what_stands_in_the_way_is_told_in_one_line(started: list[str]) -> None:
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
    program = f"import sys; sys.modules[{missing!r}] = None; from pilotage.cli import run; sys.exit(run({command!r}))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert done.stderr == "error: serving needs more than is installed; pip install 'pilotage[gateway]'\n"


def test_every_fault_of_the_configuration_is_told(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "pilotage.yml"
    file.write_text("gateway: {http: x}\napi: {y: 1}\n")
    status, out, err = shown(capsys, "serve", "--config", str(file))
    assert (status, out) == (2, "")
    first, second = err.splitlines()
    assert first.startswith(f"error: {file}:1:17: gateway.http: 'x' is no place to listen; write a port, or ")
    assert second == f"error: {file}:2:7: api.y: unknown key 'y'; known here: listen, token_file"
