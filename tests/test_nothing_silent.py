"""What the gateway refuses is said by every command, with the label as it was written."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from typing import TYPE_CHECKING, Any

import pytest

from pilotage.testing import FakeEngine, container
from tests.support.daemon_process import Served
from tests.support.ports import free_port
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

pytestmark = [pytest.mark.process, pytest.mark.slow]

URL = "https://url.example.com"
LABELS = {
    "db": {"proxy.db.scheme": "tcp", "proxy.*.port": "3306"},
    "mail": {"proxy.mail.scheme": "tcp", "proxy.mail.port": "7001:80", "proxy.mail.tls_termination": "true"},
    "names": {"proxy.aliases": f"good, {URL}"},
    "logged": {"proxy.logged.access_log.stdout": "true", "proxy.logged.access_log.retention": "7 days"},
}
SAID = {  # route -> the label and what is said about it
    "db": ("proxy.*.port", "a tcp route needs a port to listen on, but none is set"),
    "mail": ("proxy.mail.tls_termination", "the gateway has no certificate for terminating TLS; set gateway.tls"),
    URL: ("proxy.aliases", f"'{URL}' is a URL, not a host name; write url.example.com"),
    "logged": ("proxy.logged.access_log.retention", "standard output is not kept or rotated by pilotage"),
}


async def pilotage(folder: Path, *args: str, **env: str) -> str:
    """Return what a command prints."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pilotage", *args),
        cwd=folder,
        env=os.environ | {"PILOTAGE_SOCKET": str(folder / "none.sock"), "HOME": str(folder)} | env,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(60):
        printed, _ = await process.communicate()
    return printed.decode()


@contextlib.asynccontextmanager
async def watching(folder: Path, url: str) -> AsyncIterator[Callable[[], str]]:
    """Run ``pilotage watch``; yield a function that returns what it has printed."""
    with (folder / "watched").open("wb") as out:
        args = ("watch", "--engine", f"local={url}")
        process = await asyncio.create_subprocess_exec(sys.executable, "-m", "pilotage", *args, cwd=folder, stdout=out)
    try:
        yield (folder / "watched").read_text
    finally:
        process.terminate()
        await process.wait()


@contextlib.asynccontextmanager
async def daemon(folder: Path, url: str) -> AsyncIterator[Served]:
    """Serve the containers of an engine without an Envoy."""
    gateway = {"http": f"127.0.0.1:{free_port()}", "xds": {"listen": f"unix://{folder}/xds.sock"}}
    configuration: dict[str, Any] = {"providers": {"docker": {"local": url}}, "gateway": gateway}
    served = Served(folder, 0, configuration, "--no-gateway")
    await served.start()
    try:
        yield served
    finally:
        await served.stop()


async def test_every_command_says_what_is_not_served_and_why(short_path: Path) -> None:
    containers = [container(name, labels=labels, ports=["80"]) for name, labels in LABELS.items()]
    async with FakeEngine(containers) as engine:
        at = ("--engine", f"local={engine.url}")
        for command in (("routes", *at), ("ps", *at)):
            printed = await pilotage(short_path, *command)
            for label, text in SAID.values():
                assert f"{label}: " in printed
                assert text in printed
            assert "not served: port" in printed
            assert "not served: alias" in printed
            assert "warning: local/logged" in printed
        explained = await pilotage(short_path, "explain", "names", *at)
        assert f"Route {URL} is not served: the gateway refuses alias" in explained
        assert "proxy.aliases: " + SAID[URL][1] in explained
        engine.remove("names")
        async with daemon(short_path, engine.url) as served:
            await until(lambda: SAID["db"][1] in served.log)
            engine.add("names", labels=LABELS["names"], ports=["80"])
            await until(lambda: f"names: proxy.aliases: {SAID[URL][1]}" in served.log)
            routes = (await served.get("/v1/routes"))["routes"]
            assert {alias: route["refused"] for alias, route in routes.items()} == {
                "db": ["port"],
                URL: ["alias"],
                "good": None,
                "logged": None,
                "mail": ["tls_termination"],
            }
            assert routes["db"]["excluded"]
            problems = {it["route"]: it for it in (await served.get("/v1/problems"))["problems"]}
            assert {alias: (it["label"], it["severity"]) for alias, it in problems.items()} == {
                "db": ("proxy.*.port", "error"),
                "mail": ("proxy.mail.tls_termination", "error"),
                URL: ("proxy.aliases", "error"),
                "logged": ("proxy.logged.access_log.retention", "warning"),
            }
            asked = await pilotage(short_path, "routes", PILOTAGE_SOCKET=str(short_path / "api.sock"))
            assert "not served: alias" in asked


async def test_watch_prints_what_is_not_served_as_it_happens(short_path: Path) -> None:
    async with FakeEngine() as engine, watching(short_path, engine.url) as printed:
        await until(lambda: "live" in printed())
        for name, labels in LABELS.items():
            engine.add(name, labels=labels, ports=["80"])
        await until(lambda: all(text in printed() for _, text in SAID.values()))
        assert "not served: port" in printed()
        assert "not served: alias" in printed()
        (warning,) = [line for line in printed().splitlines() if SAID["logged"][1] in line]
        assert " warning " in warning
