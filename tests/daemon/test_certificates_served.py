"""Certificates from a real ACME server, served by a real Envoy."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from functools import partial
from typing import TYPE_CHECKING

import aiohttp
import pytest
from aiohttp import web

from pilotage.config.engines import EngineChoice
from pilotage.daemon.settings import Flags
from pilotage.testing import FakeEngine
from tests.support import serving as daemon
from tests.support.gateway import becomes
from tests.support.pebble import Pebble
from tests.support.ports import free_port
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.serving import Served

pytestmark = [pytest.mark.process, pytest.mark.slow]

HOST = "shop.example.com"


class Gateway:
    """A daemon with automatic certificates, and how to request what it serves."""

    def __init__(self, served: Served, https: int, context: ssl.SSLContext) -> None:
        self.served = served
        self.https = https
        self.context = context

    async def ask(self, session: aiohttp.ClientSession) -> int:
        url = f"https://127.0.0.1:{self.https}/"
        async with session.get(url, ssl=self.context, server_hostname=HOST, headers={"Host": HOST}) as answer:
            await answer.read()
            return answer.status

    async def is_trusted(self) -> bool:
        try:
            async with aiohttp.ClientSession() as session:
                return await self.ask(session) == 200
        except aiohttp.ClientConnectorError:  # nothing listens yet, or with another certificate
            return False

    async def trusted(self) -> None:
        """Wait until clients that trust the CA get an answer."""
        await becomes(self.is_trusted, True)


async def _hello(_: web.Request) -> web.Response:
    return web.Response(text="hello")


@contextlib.asynccontextmanager
async def gateway(folder: Path, provider: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Gateway]:
    http, https, port = free_port(), free_port(), free_port()
    app = web.Application()
    app.router.add_get("/", _hello)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    monkeypatch.setattr(daemon, "free_port", lambda: http)
    with Pebble(folder / "pebble", http_port=http, tls_port=https).running() as pebble:
        async with FakeEngine() as engine:
            labels = {"proxy.aliases": HOST, "proxy.#1.port": str(port)}
            engine.add("shop", networks=(), ports=(f"{port}:{port}",), labels=labels)
            settings = f"""\
gateway: {{http: {http}, https: {https}, redirect_to_https: true}}
autocert:
  provider: {provider}
  email: admin@example.com
  domains: auto
  ca_dir_url: {pebble.directory}
  ca_certs: {pebble.ca_file}
  folder: {folder}/certificates
"""
            config = folder / "pilotage.yml"
            config.write_text(daemon.configured(engine, more=settings))
            async with daemon.serving(Flags(choice=EngineChoice(config=str(config))), folder) as served:
                context = ssl.create_default_context(cadata=pebble.root().decode())
                yield Gateway(served, https, context)
    await runner.cleanup()


@pytest.mark.parametrize("provider", ["http-01", "tls-alpn-01"])
async def test_a_host_gets_a_trusted_certificate(
    tmp_path: Path, provider: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with gateway(tmp_path, provider, monkeypatch) as it:
        await it.trusted()
        (status,) = it.served.daemon.certificates.status()
        assert (status.state, status.names) == ("valid", (HOST,))


async def test_no_request_is_lost_when_a_certificate_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with gateway(tmp_path, "http-01", monkeypatch) as it:
        await it.trusted()
        keeper = it.served.daemon.certificates
        manager = keeper._manager
        assert manager is not None
        statuses: list[int] = []
        ended = asyncio.Event()

        async def client(*, fresh: bool) -> None:
            connector = aiohttp.TCPConnector(force_close=fresh)
            async with aiohttp.ClientSession(connector=connector) as session:
                while not ended.is_set() or len(statuses) < 500:
                    statuses.append(await it.ask(session))

        def renewed(times: int) -> bool:
            return keeper.totals.renewed == times

        def answered(number: int) -> bool:
            return len(statuses) > number

        async with asyncio.TaskGroup() as group:
            for number in range(4):
                group.create_task(client(fresh=number % 2 == 0))
            for count in (1, 2):
                manager.renew()
                await until(partial(renewed, count))
                seen = len(statuses)
                await until(partial(answered, seen + 100))
            ended.set()
        assert set(statuses) == {200}
