"""Stands for the Envoys when certificates are obtained: answers challenges on loopback, and records what is served."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Self

from aiohttp import web

from pilotage.certificates.settings import Authority, AutocertSettings, Entry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from collections.abc import Set as AbstractSet

    from pilotage.certificates.manager import CertificateManager
    from pilotage.certificates.status import CertificateStatus
    from pilotage.xds.served_certificates import CertificatePair, ServedCertificate
    from tests.support.acme_proxy import AcmeProxy
    from tests.support.pebble import Pebble

__all__ = ["ChallengeServer", "entry_for", "running", "settings_for", "status_of"]


class ChallengeServer:
    """Answers HTTP-01 and TLS-ALPN-01 challenges.

    Args:
        pebble: the CA, which knows the ports.

    Attributes:
        certificates: what is served.
        names: the managed names.
        missed: names that needed a certificate when they were set, and had none.
        tokens: HTTP-01 challenges.
        hosts: hosts with TLS-ALPN-01 challenges.
        asked: tokens of all challenges so far.

    """

    def __init__(self, pebble: Pebble) -> None:
        self._pebble = pebble
        self.certificates: tuple[ServedCertificate, ...] = ()
        self.names: frozenset[str] = frozenset()
        self.missed: frozenset[str] = frozenset()
        self.tokens: dict[str, str] = {}
        self.hosts: dict[str, ssl.SSLContext] = {}
        self.asked: list[str] = []
        self._runners: list[web.AppRunner] = []

    async def set_http_challenge(self, token: str, key_authorization: str) -> None:
        self.tokens[token] = key_authorization
        self.asked.append(token)

    def remove_http_challenge(self, token: str) -> None:
        self.tokens.pop(token, None)

    async def set_tls_alpn_challenge(self, host: str, certificate: CertificatePair) -> None:
        self.hosts[host] = _context(certificate)
        self.asked.append(host)

    def remove_tls_alpn_challenge(self, host: str) -> None:
        self.hosts.pop(host, None)

    def set_certificates(self, certificates: Sequence[ServedCertificate]) -> None:
        self.certificates = tuple(certificates)

    def set_managed_names(self, names: AbstractSet[str]) -> None:
        self.names = frozenset(names)
        self.missed |= names - self.served

    @property
    def served(self) -> frozenset[str]:
        """The names that have a certificate."""
        return frozenset(name for it in self.certificates for name in it.names)

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_get("/.well-known/acme-challenge/{token}", self._answer)
        await self._listen(app, self._pebble.http_port, None)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.sni_callback = self._choose
        context.set_alpn_protocols(["acme-tls/1"])
        await self._listen(web.Application(), self._pebble.tls_port, context)
        return self

    async def __aexit__(self, *_: object) -> None:
        for runner in self._runners:
            await runner.cleanup()

    async def _listen(self, app: web.Application, port: int, context: ssl.SSLContext | None) -> None:
        runner = web.AppRunner(app)
        await runner.setup()
        self._runners.append(runner)
        await web.TCPSite(runner, "127.0.0.1", port, ssl_context=context).start()

    async def _answer(self, request: web.Request) -> web.Response:
        answer = self.tokens.get(request.match_info["token"])
        return web.Response(text=answer) if answer is not None else web.Response(status=404)

    def _choose(self, connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        if name in self.hosts:
            connection.context = self.hosts[name or ""]


def _context(pair: CertificatePair) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:
        chain, key = Path(folder, "chain.pem"), Path(folder, "key.pem")
        chain.write_bytes(pair.chain_pem)
        key.write_bytes(pair.key_pem)
        context.load_cert_chain(chain, key)
    context.set_alpn_protocols(["acme-tls/1"])
    return context


def entry_for(pebble: Pebble | AcmeProxy, *domains: str, **fields: object) -> Entry:
    """Return an entry for domains, or for ``auto`` if there are none, with Pebble or a proxy as its CA."""
    authority = Authority(directory=pebble.directory, ca_certs=(pebble.ca_file,), email="admin@example.com")
    values = {"authorities": (authority,), "auto": not domains, "domains": tuple(sorted(domains)), **fields}
    return Entry(**values)  # type: ignore[arg-type]


def settings_for(pebble: Pebble | AcmeProxy, *domains: str, **fields: object) -> AutocertSettings:
    """Return settings with one entry; see :func:`entry_for`."""
    return AutocertSettings((entry_for(pebble, *domains, **fields),))


@contextlib.asynccontextmanager
async def running(manager: CertificateManager) -> AsyncIterator[CertificateManager]:
    """Let a manager obtain certificates while the context is active."""
    task = asyncio.create_task(manager.run())
    try:
        yield manager
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def status_of(manager: CertificateManager, name: str) -> CertificateStatus:
    """Return the status of the certificate for a name."""
    return next(it for it in manager.status() if name in it.names)
