"""No label, name or message of others moves the cursor of a terminal, turns text around or hides in it."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import sys
from typing import TYPE_CHECKING, Final

import aiohttp
import pytest

from pilotage.testing import FakeEngine
from tests.support.daemon_process import Served
from tests.support.ports import free_port

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.process, pytest.mark.slow]

EVIL: Final = "\x1b]0;owned\x07\x9b2J\x85\u202e\u2066\u200b\ufeff\U000e0041\u3164"
# What a terminal gets from us in lines of text: colours and clearing of lines are our own, and so is white space.
DECEPTIVE: Final = {*EVIL} - {"\x1b", "]", "0", ";", "2", "J", *"owned"}
LABELS: Final = {
    "proxy.aliases": f"web,{EVIL}",
    f"proxy.web.{EVIL}": EVIL,
    "proxy.web.scheme": EVIL,
    "proxy.web.host": EVIL,
    "proxy.web.homepage": f"{{name: '{EVIL[15:]}', icon: '{EVIL[15:]}'}}",
    "proxy.network": EVIL,
    "proxy.web": f'{{description: "{EVIL[15:]}',
    f"prxy.{EVIL}": "x",
    "proxy.idle_timeout": EVIL,
    "com.docker.compose.project": EVIL,
    "com.docker.compose.service": EVIL,
}


async def in_a_terminal(folder: Path, *args: str, **env: str) -> str:
    """Return what a command prints on a terminal."""
    main, terminal = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pilotage", *args),
        env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "200", **env},
        cwd=folder,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
    )
    os.close(terminal)
    reading = asyncio.create_task(asyncio.to_thread(_read, main))
    await process.wait()
    text = (await reading).decode(errors="surrogateescape")
    os.close(main)
    return text


def _read(descriptor: int) -> bytes:
    found = b""
    while True:
        try:
            data = os.read(descriptor, 65536)
        except OSError:  # the terminal has been closed
            return found
        if not data:
            return found
        found += data


def deceives(text: str) -> set[str]:
    found = {char for char in DECEPTIVE if char in text}
    return found | ({"\x1b]"} if "\x1b]" in text else set())


async def test_no_command_prints_characters_that_deceive(tmp_path: Path) -> None:
    async with FakeEngine() as engine:
        engine.add("web", networks=(), ports=("80:80",), labels=LABELS, image=f"shop{EVIL}")
        where = ("--engine", f"local={engine.url}")
        for args in (
            ("routes",),
            ("ps",),
            ("explain", "web"),
            ("explain", EVIL),
            ("routes", "--format", "json"),
            ("ps", "--format", "json"),
            ("explain", "web", "--format", "json"),
            ("capture",),
        ):
            printed = await in_a_terminal(tmp_path, *args, *where)
            assert "web" in printed or EVIL in args, printed
            assert deceives(printed) == set(), args
            if "json" in args:
                start = printed.index("{\r\n")
                assert json.loads(printed[start : printed.rindex("}") + 1]), args


async def test_json_means_the_same_with_its_escapes(tmp_path: Path) -> None:
    async with FakeEngine() as engine:
        engine.add("web", networks=(), ports=("80:80",), labels={"proxy.web.homepage.name": f"a{EVIL}b"})
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "pilotage", "routes", "--format", "json", "--engine", f"local={engine.url}"),
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await process.communicate()
        assert json.loads(out)["routes"]["web"]["homepage"]["name"] == f"a{EVIL}b"
        assert deceives(out.decode()) == set()


@pytest.mark.parametrize("form", ["text", "json", "journal"])
async def test_neither_log_nor_api_contain_characters_that_deceive(tmp_path: Path, form: str) -> None:
    port = free_port()
    async with FakeEngine() as engine:
        settings = {"providers": {"docker": {"local": engine.url}}, "gateway": {"http": f"127.0.0.1:{free_port()}"}}
        options = ("--api", f"127.0.0.1:{port}", "--log-format", form, "--log-level", "debug")
        served = Served(tmp_path, port, settings, *options)
        await served.start()
        try:
            engine.add("web", networks=(), ports=("80:80",), labels=LABELS, image=f"shop{EVIL}")
            async with asyncio.timeout(30):
                while "web" not in served.log:  # noqa: ASYNC110  # it happens elsewhere
                    await asyncio.sleep(0.05)
            async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
                for path in ("routes", "containers", "problems", "engines", "explain/web", f"explain/{EVIL[15:]}"):
                    async with session.get(f"/v1/{path}") as answer:
                        assert deceives((await answer.read()).decode()) == set(), path
        finally:
            await served.stop()
        assert deceives(served.log) == set()
