"""Certificates for the names of containers on a real Docker Engine."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from tests.support.certified import HOST, certified
from tests.support.gateway import becomes
from tests.support.service import run_app

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.engines import Engine

NAME = "pilotage-certified"
OTHER = "blog.example.org"


async def start(engine: Engine, alias: str) -> None:
    await asyncio.to_thread(run_app, engine, NAME, {"proxy.aliases": alias, "proxy.idle_timeout": "1h"})


async def state(engine: Engine) -> str:
    return str((await asyncio.to_thread(engine.inspect, NAME))["State"]["Status"])


async def test_names_of_sleeping_and_changed_containers_get_certificates(engine: Engine, tmp_path: Path) -> None:
    await start(engine, HOST)
    await asyncio.to_thread(engine.docker, "stop", "-t", "1", NAME)
    async with certified(tmp_path, docker=engine.host) as it:
        await it.served.start()
        first = await it.reaches("valid")
        assert await state(engine) == "exited"  # Envoy answered the CA, and nobody woke the container
        await it.serves(first["serial"])
        assert await it.ask() == 200
        assert await state(engine) == "running"

        await asyncio.to_thread(engine.rm, NAME)
        await start(engine, OTHER)
        await it.serves((await it.reaches("valid", OTHER))["serial"], OTHER)
        assert await it.ask(OTHER) == 200

        await asyncio.to_thread(engine.rm, NAME)
        await becomes(partial(it.ask, OTHER), 404)  # with a certificate, but without a route
        assert it.orders == 2
        assert {(await it.certificate(host))["state"] for host in (HOST, OTHER)} == {"valid"}
