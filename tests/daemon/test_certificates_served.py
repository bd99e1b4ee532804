"""Certificates from a real ACME server, served by a real Envoy."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import ssl
from functools import partial
from typing import TYPE_CHECKING

import aiohttp
import pytest
import trustme
from aiohttp import web

from pilotage.certificates.x509 import read_pair
from pilotage.config.engines import EngineChoice
from pilotage.daemon.settings import Flags
from pilotage.testing import FakeEngine
from tests.support import serving as daemon
from tests.support.dns_server import DnsServer
from tests.support.envoy import web_server
from tests.support.gateway import becomes
from tests.support.handshakes import shown
from tests.support.install import debian_packages
from tests.support.pebble import Pebble
from tests.support.ports import free_port
from tests.support.required import required
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.serving import Served

pytestmark = [pytest.mark.process, pytest.mark.slow]

HOST = "shop.example.com"


class Gateway:
    """A daemon with automatic certificates, and how to request what it serves."""

    def __init__(self, served: Served, https: int, root: Path) -> None:
        self.served = served
        self.https = https
        self.root = root
        self.context = ssl.create_default_context(cafile=str(root))

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
                root = folder / "root.pem"
                root.write_bytes(pebble.root())
                yield Gateway(served, https, root)
    await runner.cleanup()


@pytest.mark.parametrize("provider", ["http-01", "tls-alpn-01"])
async def test_a_host_gets_a_trusted_certificate(
    tmp_path: Path, provider: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with gateway(tmp_path, provider, monkeypatch) as it:
        await it.trusted()
        (status,) = it.served.daemon.certificates.status()
        assert (status.state, status.names) == ("valid", (HOST,))


_AS_GODOXY_WRITES_IT = """\
autocert:
  provider: rfc2136
  email: admin@example.com
  domains:
    - "*.example.com"
    - "example.com"
  ca_dir_url: {directory}
  ca_certs:
    - certs/roots.pem
  resolvers:
    - {dns}:53
  cert_path: certs/example.com.crt
  key_path: certs/example.com.key
  options:
    nameserver: {dns}:53
    tsigalgorithm: hmac-sha256.
    tsigkey: update-key
    tsigsecret: {secret}
    pollinginterval: 1s
  extra:
    - domains: ["*.api.example.com", api.example.com]
      cert_path: certs/api.example.com.crt
      key_path: certs/api.example.com.key
"""
_REST = """\
entrypoint:
  support_proxy_protocol: false
defaults:
  healthcheck: {interval: 5s, timeout: 15s, retries: 3}
providers:
  docker:
    local: $DOCKER_HOST
match_domains:
  - example.com
homepage:
  use_default_categories: true
timeout_shutdown: 5
"""


async def test_configurations_of_godoxy_are_served_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    https, certs = free_port(), tmp_path / "certs"
    monkeypatch.setattr("pilotage.config.serve.HTTPS_PORT", https)  # the file names no ports
    (tmp_path / "config").mkdir()
    certs.mkdir()
    existing = trustme.CA().issue_cert("*.example.com")  # GoDoxy's own, with `provider: local`
    existing.cert_chain_pems[0].write_to_path(certs / "cert.crt")
    existing.private_key_pem.write_to_path(certs / "priv.key")
    file = tmp_path / "config" / "config.yml"
    file.write_text(f"autocert:\n  provider: local\n{_REST}")
    async with contextlib.AsyncExitStack() as stack:
        dns = stack.enter_context(DnsServer().running())
        pebble = stack.enter_context(Pebble(tmp_path / "pebble", dns=f"{dns.address}:53").running())
        shutil.copy(pebble.ca_file, certs / "roots.pem")
        upstream = await stack.enter_async_context(web_server())
        engine = await stack.enter_async_context(FakeEngine())
        engine.add("app", networks=(), ports=(f"{upstream}:{upstream}",), labels={"proxy.app.port": str(upstream)})
        env = {"DOCKER_HOST": engine.url, "XDG_STATE_HOME": str(tmp_path), "STATE_DIRECTORY": str(tmp_path)}
        flags = Flags(choice=EngineChoice(config=str(file)))
        served = await stack.enter_async_context(daemon.serving(flags, tmp_path, **env))

        async def name_and_issuer(host: str) -> tuple[str, str] | None:
            found = await asyncio.to_thread(shown, https, host)
            return (found.name, found.issuer) if found is not None else None

        await becomes(partial(name_and_issuer, "app.example.com"), ("*.example.com", "trustme"))
        file.write_text(
            _AS_GODOXY_WRITES_IT.format(directory=pebble.directory, dns=dns.address, secret=dns.secret) + _REST
        )
        served.daemon.reload()
        await becomes(partial(name_and_issuer, "app.example.com"), ("*.example.com", "Pebble"))
        await becomes(partial(name_and_issuer, "v1.api.example.com"), ("*.api.example.com", "Pebble"))
        for name in ("example.com", "api.example.com"):
            leaf = read_pair((certs / f"{name}.crt").read_bytes(), (certs / f"{name}.key").read_bytes())
            assert set(leaf.names) == {name, f"*.{name}"}
        context = ssl.create_default_context(cadata=pebble.root().decode())
        url = f"https://127.0.0.1:{https}/"
        host = "app.example.com"
        async with served.session.get(url, ssl=context, server_hostname=host, headers={"Host": host}) as answer:
            assert (answer.status, await answer.text()) == (200, "hello\n")
        assert not any(dns.records.values())


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

        async def http2_client() -> None:
            with required():
                debian_packages({"curl": "curl"})
            found: list[str] = []
            url = f"https://{HOST}:{it.https}/?[1-100]"  # over one connection, and each run opens another
            options = ("--silent", "--http2", "--cacert", str(it.root), "--resolve", f"{HOST}:{it.https}:127.0.0.1")
            while not ended.is_set() or not found:
                process = await asyncio.create_subprocess_exec(
                    *("curl", *options, "-o", "/dev/null", "-w", "%{http_code} %{http_version}\n", url),
                    stdout=asyncio.subprocess.PIPE,
                )
                found += (await process.communicate())[0].decode().splitlines()
                assert process.returncode == 0
            assert set(found) == {"200 2"}

        def renewed(times: int) -> bool:
            return keeper.totals.renewed == times

        def answered(number: int) -> bool:
            return len(statuses) > number

        async with asyncio.TaskGroup() as group:
            for number in range(4):
                group.create_task(client(fresh=number % 2 == 0))
            group.create_task(http2_client())
            for count in (1, 2):
                manager.renew()
                await until(partial(renewed, count))
                seen = len(statuses)
                await until(partial(answered, seen + 100))
            ended.set()
        assert set(statuses) == {200}
