"""Defines dialers, which connect to an :class:`~pilotage.engine.address.Address`; one class per transport.

A dialer opens streams, with TLS if necessary, and knows nothing about HTTP. :mod:`pilotage.engine.http` works the same
over every transport.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, Protocol

from pilotage.engine.diagnosis import DialError, diagnose_tcp, diagnose_unix
from pilotage.engine.peer import is_rootless
from pilotage.engine.sockets import open_tcp

if TYPE_CHECKING:
    from collections.abc import Callable

    from pilotage.engine.address import Address
    from pilotage.engine.diagnosis import Diagnosis
    from pilotage.engine.http_stream import HTTPStream
    from pilotage.engine.tls import TLSMaterial

    Factory = Callable[[], HTTPStream]

__all__ = ["Dialer", "TCPDialer", "TLSDialer", "UnixDialer", "dialer_for"]

CONNECT_TIMEOUT: Final = 5.0
"""Default connect timeout in seconds, including the TLS handshake."""

_TLS_SHUTDOWN_TIMEOUT: Final = 1.0
"""Seconds to wait for the engine's TLS shutdown."""


class Dialer(Protocol):
    """Opens streams to one engine."""

    limit: int
    """Maximum number of open streams."""

    async def dial(self, factory: Factory) -> HTTPStream:
        """Open a stream with a new protocol and return the protocol. System errors propagate."""
        ...

    def is_rootless(self, *, podman: bool) -> bool:
        """Return whether the engine, as of the last opened stream, runs as an ordinary user of this machine."""
        ...

    async def diagnose(self, error: Exception) -> Diagnosis | None:
        """Return why a request failed; ``None`` if the transport did not cause the failure.

        Args:
            error: the exception that the request raised; :class:`DialError` if no stream could be opened.

        """
        ...

    async def close(self) -> None:
        """Stop the dialer's processes and tasks. The caller has already closed the streams."""
        ...


class _SocketDialer:
    """Base class of dialers that own no processes."""

    limit = 100

    def is_rootless(self, *, podman: bool) -> bool:  # noqa: ARG002
        """Return False, because only a Unix socket shows which user is listening on it."""
        return False

    async def close(self) -> None:
        return None


class UnixDialer(_SocketDialer):
    """Connects to a Unix socket.

    Args:
        path: path of the socket.

    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._sock: Any = None

    async def dial(self, factory: Factory) -> HTTPStream:
        """Connect to the socket."""
        transport, protocol = await asyncio.get_running_loop().create_unix_connection(factory, self.path)
        self._sock = transport.get_extra_info("socket")
        return protocol

    def is_rootless(self, *, podman: bool) -> bool:
        """Return whether an ordinary user's engine is behind the socket; see :mod:`pilotage.engine.peer`."""
        return is_rootless(self.path, self._sock, podman=podman)

    async def diagnose(self, error: Exception) -> Diagnosis | None:
        """Return what is wrong with the socket; ``None`` if the socket did not cause the failure."""
        return diagnose_unix(self.path, error.__cause__) if isinstance(error, DialError) else None


class TCPDialer(_SocketDialer):
    """Connects to a TCP port.

    Args:
        host: host name or IP address.
        port: TCP port.

    """

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port

    async def dial(self, factory: Factory) -> HTTPStream:
        """Connect to the first of the host's addresses that accepts the connection."""
        sock = await open_tcp(self.host, self.port)
        try:
            _, protocol = await asyncio.get_running_loop().create_connection(factory, sock=sock)
        except BaseException:
            sock.close()
            raise
        return protocol

    async def diagnose(self, error: Exception) -> Diagnosis | None:
        """Return what is wrong with the network; ``None`` if the network did not cause the failure."""
        return diagnose_tcp(self.host, self.port, error.__cause__) if isinstance(error, DialError) else None


class TLSDialer(_SocketDialer):
    """Connects to a TCP port with TLS.

    Args:
        host: host name or IP address.
        port: TCP port.
        material: certificates. They are checked for changes at each connection, so renewed files take effect.
        server_name: name that the engine's certificate must contain; ``""`` for ``host``.

    """

    def __init__(self, host: str, port: int, material: TLSMaterial, server_name: str = "") -> None:
        self.host = host
        self.port = port
        self.material = material
        self.server_name = server_name or host

    async def dial(self, factory: Factory) -> HTTPStream:
        """Connect and do the TLS handshake."""
        context = self.material.context()
        sock = await open_tcp(self.host, self.port)
        try:
            _, protocol = await asyncio.get_running_loop().create_connection(
                factory,
                sock=sock,
                ssl=context,
                server_hostname=self.server_name,
                ssl_shutdown_timeout=_TLS_SHUTDOWN_TIMEOUT,
            )
        except BaseException:
            sock.close()
            raise
        return protocol

    async def diagnose(self, error: Exception) -> Diagnosis | None:
        """Diagnose a network error or, by connecting again, a TLS error. This takes up to two seconds."""
        from pilotage.engine.tls_diagnosis import Peer, Shown, examine, explain_tls, tls_reason  # noqa: PLC0415

        if isinstance(error, DialError) and (found := diagnose_tcp(self.host, self.port, error.__cause__)):
            return found
        reason = tls_reason(error)
        cause = error.__cause__ if isinstance(error, DialError) else error
        if reason is None and not isinstance(cause, ConnectionError):
            return None
        peer = Peer(self.host, self.port, self.server_name, self.material.files)
        return explain_tls(reason, await examine(peer) or Shown(), peer)


def dialer_for(address: Address) -> Dialer:
    """Return the dialer for an address. It connects on first use.

    Raises:
        ValueError: for a ``context`` address; resolve it first (:mod:`pilotage.engine.contexts`).

    """
    match address.scheme:
        case "unix":
            return UnixDialer(address.path)
        case "tcp":
            return TCPDialer(address.host, address.port)
        case "ssh":
            from pilotage.engine.ssh import SSHDialer  # noqa: PLC0415  # most engines need neither ssh nor TLS

            return SSHDialer(address)
    from pilotage.engine.credentials import AGENT_NAME  # noqa: PLC0415
    from pilotage.engine.tls import TLSMaterial  # noqa: PLC0415

    match address.scheme:
        case "tls":
            return TLSDialer(address.host, address.port, TLSMaterial(address.tls))
        case "agent":
            return TLSDialer(address.host, address.port, TLSMaterial(address.tls), AGENT_NAME)
        case _:
            raise ValueError(f"{address} cannot be dialled")
