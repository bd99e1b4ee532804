"""``pilotage serve`` with automatic certificates, as a process: a fake engine, a real Envoy and a real ACME server."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import TYPE_CHECKING, Any, Final

import aiohttp

from pilotage.gateway.adoption import end_kept
from pilotage.testing import FakeEngine
from tests.support.daemon_process import Served
from tests.support.envoy import web_server
from tests.support.handshakes import shown
from tests.support.pebble import Pebble
from tests.support.ports import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

__all__ = ["HOST", "Certified", "certified"]

HOST: Final = "shop.example.com"


class Certified:
    """A daemon, and what its clients get.

    Attributes:
        served: the daemon, which has not been started.
        engine: its engine, with a container for :data:`HOST`.
        pebble: the CA.
        https: the HTTPS port.

    """

    def __init__(self, served: Served, engine: FakeEngine, pebble: Pebble, https: int, upstream: int) -> None:
        self.served = served
        self.engine = engine
        self.pebble = pebble
        self.https = https
        self._upstream = upstream

    def add(self, host: str) -> None:
        """Start a container whose label names a host."""
        labels = {"proxy.aliases": host, "proxy.#1.port": str(self._upstream)}
        ports = (f"{self._upstream}:{self._upstream}",)
        self.engine.add(host.replace(".", "-"), networks=(), ports=ports, labels=labels)

    async def certificate(self, host: str = HOST) -> dict[str, Any]:
        """Return what the API says about the certificate for a host; empty if nothing."""
        found = (await self.served.get("/v1/certificates"))["certificates"]
        return next((it for it in found if host in it["names"]), {})

    async def reaches(self, state: str, host: str = HOST) -> dict[str, Any]:
        """Wait until the certificate for a host is in a state, and return what the API says about it."""
        async with asyncio.timeout(60):
            while (found := await self.certificate(host)).get("state") != state:
                assert "Traceback" not in self.served.log, self.served.log
                await asyncio.sleep(0.05)
        return found

    async def problems(self) -> list[str]:
        """Return the problems that the API reports."""
        return [f"{it['message']}; {it.get('hint', '')}" for it in (await self.served.get("/v1/problems"))["problems"]]

    async def serial(self, host: str = HOST) -> int:
        """Return the serial number of the certificate that clients get."""
        found = await asyncio.to_thread(shown, self.https, host)
        assert found is not None, "the handshake failed"
        return found.serial

    async def serves(self, serial: str, host: str = HOST) -> None:
        """Wait until clients get the certificate with a serial number."""
        async with asyncio.timeout(60):
            while await self.serial(host) != int(serial, 16):  # noqa: ASYNC110  # it happens in Envoy
                await asyncio.sleep(0.02)

    async def ask(self, host: str = HOST) -> int:
        """Return the status of a request from a client that trusts only the CA.

        Raises:
            aiohttp.ClientConnectorError: the certificate is not trusted.

        """
        context = ssl.create_default_context(cadata=self.pebble.root().decode())
        url = f"https://127.0.0.1:{self.https}/"
        async with aiohttp.ClientSession() as session:
            async with session.get(url, ssl=context, server_hostname=host, headers={"Host": host}) as answer:
                await answer.read()
                return answer.status

    @property
    def orders(self) -> int:
        """How many orders the CA has had."""
        return self.pebble.log.count("Added order ")


@contextlib.asynccontextmanager
async def certified(
    folder: Path,
    *,
    docker: str = "",
    gateway: dict[str, Any] | None = None,
    autocert: dict[str, Any] | None = None,
    ca: Callable[[Pebble], Awaitable[dict[str, str]]] | None = None,
    **pebble: Any,
) -> AsyncIterator[Certified]:
    """Run an engine and a CA for a daemon that obtains certificates for the host names of its routes.

    Args:
        folder: for the files of all of them.
        docker: address of an engine to use instead of a fake one with a container for :data:`HOST`.
        gateway: further settings of the section ``gateway``.
        autocert: further settings of the section ``autocert``; by default, ``http-01`` is used.
        ca: takes the running CA, and returns further settings of the section ``autocert``.
        pebble: settings of :class:`~tests.support.pebble.Pebble`.

    """
    http, https = free_port(), free_port()
    async with web_server() as upstream, FakeEngine() as engine:
        settings = {"http_port": http, "tls_port": https, "bad_nonces": 0, **pebble}  # orders can be counted
        with Pebble(folder / "pebble", **settings).running() as server:
            section = {"provider": "http-01", "domains": "auto", "email": "admin@example.com"}
            section |= {"ca_dir_url": server.directory, "ca_certs": server.ca_file}
            section |= {"folder": str(folder / "certificates")} | (await ca(server) if ca is not None else {})
            configuration = {
                "providers": {"docker": {"local": docker or engine.url}},
                "gateway": {"http": f"127.0.0.1:{http}", "https": f"127.0.0.1:{https}", **(gateway or {})},
                "autocert": section | (autocert or {}),
            }
            served = Served(folder, http, configuration)
            found = Certified(served, engine, server, https, upstream)
            if not docker:
                found.add(HOST)
            try:
                yield found
            finally:
                await served.stop()
                if (gateway or {}).get("keep"):
                    await end_kept(folder / "api-envoy", 0)
