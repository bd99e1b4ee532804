"""From an :class:`~pilotage.engine.address.Address` to a connected stream: one dialer for each way.

A dialer opens streams and knows nothing of HTTP. :class:`EngineConnector` puts one under aiohttp, so that everything
above speaks plain HTTP whatever lies below: TLS, too, is the dialer's business.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, Protocol

import aiohttp

from pilotage.engine.diagnosis import DialError, diagnose_tcp, diagnose_unix
from pilotage.engine.sockets import open_tcp
from pilotage.engine.ssh import SSHDialer
from pilotage.engine.tls import TLSMaterial
from pilotage.engine.tls_diagnosis import Peer, Shown, examine, explain_tls, tls_reason

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp.client_proto import ResponseHandler
    from aiohttp.client_reqrep import ClientRequest
    from aiohttp.tracing import Trace

    from pilotage.engine.address import Address
    from pilotage.engine.diagnosis import Diagnosis

    Factory = Callable[[], ResponseHandler]

__all__ = ["Dialer", "EngineConnector", "TCPDialer", "TLSDialer", "UnixDialer", "dialer_for"]

CONNECT_TIMEOUT: Final = 5.0
"""Seconds to get connected, TLS handshake included, unless set otherwise."""

_KEEP_ALIVE: Final = 300.0
"""Seconds that an unused connection is kept. Engines close none by themselves, and an ssh one is dear to open."""

_TLS_GOODBYE: Final = 1.0
"""Seconds that closing waits for the engine's end of the TLS connection."""


_AGENT_NAME: Final = "godoxy.agent"
"""The name in every agent's certificate, whatever its address (LABELS II.7.2)."""


class Dialer(Protocol):
    """Opens streams to one engine."""

    limit: int
    """How many streams may be open at once."""

    async def dial(self, factory: Factory) -> ResponseHandler:
        """Open a stream, feed it to a new protocol and return that. Raises whatever the system raises."""
        ...

    async def diagnose(self, error: Exception) -> Diagnosis | None:
        """Say why a request failed, if the reason lies on this way; ``None`` when it does not.

        Args:
            error: what the request raised: :class:`DialError` when no stream could be opened.

        """
        ...

    async def close(self) -> None:
        """Leave nothing behind: no process, no task. The streams are closed already."""
        ...


class _Silent:
    """What dialers without processes of their own have in common."""

    limit = 100

    async def close(self) -> None:
        return None


class UnixDialer(_Silent):
    """A Unix socket.

    Args:
        path: of the socket.

    """

    def __init__(self, path: str) -> None:
        self.path = path

    async def dial(self, factory: Factory) -> ResponseHandler:
        """Connect to the socket."""
        _, protocol = await asyncio.get_running_loop().create_unix_connection(factory, self.path)
        return protocol

    async def diagnose(self, error: Exception) -> Diagnosis | None:
        """Look at the socket's file."""
        return diagnose_unix(self.path, error.__cause__) if isinstance(error, DialError) else None


class TCPDialer(_Silent):
    """A TCP port.

    Args:
        host: name or address.
        port: its port.

    """

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port

    async def dial(self, factory: Factory) -> ResponseHandler:
        """Connect to the first address that answers."""
        sock = await open_tcp(self.host, self.port)
        try:
            _, protocol = await asyncio.get_running_loop().create_connection(factory, sock=sock)
        except BaseException:
            sock.close()
            raise
        return protocol

    async def diagnose(self, error: Exception) -> Diagnosis | None:
        """Tell network faults apart."""
        return diagnose_tcp(self.host, self.port, error.__cause__) if isinstance(error, DialError) else None


class TLSDialer(_Silent):
    """TLS over a TCP port.

    Args:
        host: name or address.
        port: its port.
        material: whom to trust and what to show; asked anew for each connection, so that renewed files are used.
        server_name: the name that the engine's certificate must bear; ``""`` for ``host``.

    """

    def __init__(self, host: str, port: int, material: TLSMaterial, server_name: str = "") -> None:
        self.host = host
        self.port = port
        self.material = material
        self.server_name = server_name or host

    async def dial(self, factory: Factory) -> ResponseHandler:
        """Connect and shake hands."""
        context = self.material.context()
        sock = await open_tcp(self.host, self.port)
        try:
            _, protocol = await asyncio.get_running_loop().create_connection(
                factory, sock=sock, ssl=context, server_hostname=self.server_name, ssl_shutdown_timeout=_TLS_GOODBYE
            )
        except BaseException:
            sock.close()
            raise
        return protocol

    async def diagnose(self, error: Exception) -> Diagnosis | None:
        """Tell network faults apart, and examine what may be TLS's. That takes up to two seconds."""
        if isinstance(error, DialError) and (found := diagnose_tcp(self.host, self.port, error.__cause__)):
            return found
        reason = tls_reason(error)
        cause = error.__cause__ if isinstance(error, DialError) else error
        if reason is None and not isinstance(cause, (ConnectionError, aiohttp.ClientConnectionError)):
            return None
        peer = Peer(self.host, self.port, self.server_name, self.material.files)
        return explain_tls(reason, await examine(peer) or Shown(), peer)


def dialer_for(address: Address) -> Dialer:
    """Return the dialer for an address; nothing is opened yet.

    Raises:
        ValueError: a ``context`` address: contexts are resolved before (:mod:`pilotage.engine.contexts`).

    """
    match address.scheme:
        case "unix":
            return UnixDialer(address.path)
        case "tcp":
            return TCPDialer(address.host, address.port)
        case "tls":
            return TLSDialer(address.host, address.port, TLSMaterial(address.tls))
        case "ssh":
            return SSHDialer(address)
        case "agent":
            return TLSDialer(address.host, address.port, TLSMaterial(address.tls), _AGENT_NAME)
        case _:
            raise ValueError(f"{address} cannot be dialled")


class EngineConnector(aiohttp.BaseConnector):
    """aiohttp's connection pool over a dialer. Requests are for ``http://`` URLs whose host does not matter.

    Args:
        dialer: opens the streams.

    """

    def __init__(self, dialer: Dialer) -> None:
        super().__init__(limit=dialer.limit, keepalive_timeout=_KEEP_ALIVE)
        self.dialer = dialer

    async def _create_connection(
        self,
        req: ClientRequest,  # noqa: ARG002  # aiohttp's signature
        traces: list[Trace],  # noqa: ARG002
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109
    ) -> ResponseHandler:
        """Open one more stream within ``timeout.sock_connect`` seconds."""
        try:
            async with asyncio.timeout(timeout.sock_connect):
                factory: Any = self._factory
                return await self.dialer.dial(factory)
        except Exception as error:
            raise DialError from error
