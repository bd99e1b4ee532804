"""Shares one connection per engine, counts its users, and closes it after it has been idle for a while.

A pool belongs to the event loop that first uses it. :func:`new_client` and :func:`clients` use the loop's default pool
unless you pass one. :func:`asyncio.run` closes the default pool (through ``loop.shutdown_asyncgens``);
:func:`close_default_pool` closes it earlier.
"""

from __future__ import annotations

import asyncio
import os
import weakref
from typing import TYPE_CHECKING, Final, Self

from pilotage.core.errors import EngineUnreachable
from pilotage.engine import contexts
from pilotage.engine.address import parse_address
from pilotage.engine.config import DockerProviderConfig
from pilotage.engine.connection import Connection, Timeouts
from pilotage.engine.shared_client import ClientRequest, Clients, SharedClient

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from pilotage.engine.address import Address

__all__ = ["Pool", "SharedClient", "clients", "close_default_pool", "default_pool", "new_client"]

IDLE: Final = 10.0
"""Seconds before an unused connection is closed (LABELS II.8)."""


_CLOSED_MEANWHILE: Final = "the pool was closed while connecting"


class _Entry:
    """A pooled connection and the number of its users. ``connected`` stays true even if the connection fails later."""

    __slots__ = ("connected", "connection", "opening", "refs", "timer")

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.connected = False
        self.refs = 0
        self.timer: asyncio.TimerHandle | None = None
        self.opening = 0  # callers waiting for the engine's first response


class Pool:
    """The shared connections of one event loop.

    Args:
        timeouts: default for clients that do not set their own.
        connect: creates a connection for an address; tests replace it.

    """

    def __init__(self, timeouts: Timeouts | None = None, connect: Callable[[Address], Connection] = Connection) -> None:
        self.timeouts = timeouts or Timeouts()
        self._connect = connect
        self._entries: dict[Address, _Entry] = {}
        self._connections: set[Connection] = set()  # all open connections, with or without an entry
        self._closing: set[asyncio.Task[None]] = set()
        self._closed = False

    async def get(
        self, address: Address, name: str = "", *, unique: bool = False, timeouts: Timeouts | None = None
    ) -> SharedClient:
        """Return a connected client. Concurrent callers for one address share a single connection attempt.

        Args:
            address: the engine's address.
            name: name for messages; the engine's URL if empty.
            unique: do not share the connection.
            timeouts: limits for this client; the pool's if None.

        Raises:
            EngineError: the engine is unreachable or incompatible. The failed attempt is not kept.
            RuntimeError: the pool is closed.

        """
        if self._closed:
            raise RuntimeError("the pool is closed")
        name, timeouts = name or address.url, timeouts or self.timeouts
        if unique:
            return await self._get_unique(address, name, timeouts)
        entry = self._entries.get(address)
        if entry is None:
            entry = self._entries[address] = _Entry(self._new_connection(address))
        self._acquire(entry)
        if not entry.connected:
            await self._first_contact(entry, name, timeouts)
        return self._handle(entry, name, timeouts)

    async def _get_unique(self, address: Address, name: str, timeouts: Timeouts) -> SharedClient:
        connection = self._new_connection(address)
        try:
            await connection.open(name, timeouts)
        except BaseException:
            await self._close_connection(connection)
            raise
        if connection.closed:
            raise EngineUnreachable(name, _CLOSED_MEANWHILE)
        return SharedClient(name, connection, timeouts, lambda: self._close_connection(connection), unique=True)

    async def _first_contact(self, entry: _Entry, name: str, timeouts: Timeouts) -> None:
        """Wait for the engine's first response. If there is none, the last waiter closes and removes the entry.

        A caller that arrives after a failed attempt, but before the last waiter has noticed, starts a new attempt on
        the same connection. That is why only the last waiter may remove the entry.
        """
        entry.opening += 1
        try:
            await entry.connection.open(name, timeouts)
        except BaseException:
            entry.opening -= 1
            entry.refs -= 1
            if not entry.connected and not entry.opening:
                self._evict(entry)
                await self._close_connection(entry.connection)
            elif not entry.refs:
                self._start_idle_timer(entry)
            raise
        entry.opening -= 1
        if entry.connection.closed:
            raise EngineUnreachable(name, _CLOSED_MEANWHILE)
        entry.connected = True

    def all(self) -> Clients:
        """Return a client for every connection in the pool, including idle ones. The caller must release each one."""
        connected = [entry for entry in self._entries.values() if entry.connected]
        for entry in connected:
            self._acquire(entry)
        return Clients(self._handle(entry, entry.connection.address.url, self.timeouts) for entry in connected)

    async def close(self) -> None:
        """Close every connection, including unique ones. Running requests fail. Clients then need no release."""
        self._closed = True
        for entry in self._entries.values():
            if entry.timer is not None:
                entry.timer.cancel()
        self._entries.clear()
        await asyncio.gather(*map(self._close_connection, list(self._connections)), *self._closing)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        engines = "1 engine" if len(self._entries) == 1 else f"{len(self._entries)} engines"
        return f"<Pool of {engines}{', closed' if self._closed else ''}>"

    def _handle(self, entry: _Entry, name: str, timeouts: Timeouts) -> SharedClient:
        return SharedClient(name, entry.connection, timeouts, lambda: self._release(entry))

    def _new_connection(self, address: Address) -> Connection:
        connection = self._connect(address)
        self._connections.add(connection)
        return connection

    async def _close_connection(self, connection: Connection) -> None:
        await connection.close()
        self._connections.discard(connection)

    def _acquire(self, entry: _Entry) -> None:
        entry.refs += 1
        if entry.timer is not None:
            entry.timer.cancel()
            entry.timer = None

    async def _release(self, entry: _Entry) -> None:
        entry.refs -= 1
        if not entry.refs:
            self._start_idle_timer(entry)

    def _start_idle_timer(self, entry: _Entry) -> None:
        if not self._closed:
            entry.timer = asyncio.get_running_loop().call_later(IDLE, self._expire, entry)

    def _expire(self, entry: _Entry) -> None:
        self._evict(entry)
        task = asyncio.get_running_loop().create_task(self._close_connection(entry.connection))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def _evict(self, entry: _Entry) -> None:
        if self._entries.get(entry.connection.address) is entry:
            del self._entries[entry.connection.address]


class _DefaultPools:
    """Owns the default pool of each event loop."""

    def __init__(self) -> None:
        self._pools: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, tuple[Pool, AsyncGenerator[None, None]]]
        self._pools = weakref.WeakKeyDictionary()

    async def get(self) -> Pool:
        """Return the running loop's pool. Create it on first use."""
        loop = asyncio.get_running_loop()
        if loop not in self._pools:
            pool = Pool()
            guard = _close_with_loop(pool)
            self._pools[loop] = (pool, guard)
            await anext(guard)
        return self._pools[loop][0]

    def existing(self) -> Pool | None:
        """Return the running loop's pool if it has one."""
        found = self._pools.get(asyncio.get_running_loop())
        return found[0] if found else None

    async def close(self) -> None:
        """Close the running loop's pool, if any."""
        found = self._pools.pop(asyncio.get_running_loop(), None)
        if found is not None:
            await found[1].aclose()


async def _close_with_loop(pool: Pool) -> AsyncGenerator[None, None]:
    """Close the pool when the event loop shuts down its asynchronous generators."""
    try:
        yield
    finally:
        await pool.close()


_default_pools: Final = _DefaultPools()


async def default_pool() -> Pool:
    """Return the running loop's default pool. Create it on first use."""
    return await _default_pools.get()


async def close_default_pool() -> None:
    """Close the running loop's default pool. The loop's next client creates a new one."""
    await _default_pools.close()


def new_client(
    config: DockerProviderConfig | str,
    *,
    unique: bool = False,
    pool: Pool | None = None,
    timeouts: Timeouts | None = None,
) -> ClientRequest:
    """Return a connected client of an engine. Await the result or use it with ``async with``.

    ``async with new_client(...) as client`` closes the client at the end; after ``await new_client(...)`` the caller
    closes it.

    Args:
        config: the engine or its URL. As in the docker CLI, ``DOCKER_TLS_VERIFY`` and ``DOCKER_CERT_PATH`` apply to
            the engine of ``DOCKER_HOST``, and ``context://`` addresses are resolved.
        unique: open a separate connection instead of sharing one per address and certificate files.
        pool: pool that shares the connection; the loop's default pool if None.
        timeouts: limits for this client; the pool's if None.

    Raises:
        ConfigError: the address is invalid.
        EngineError: the engine is unreachable or incompatible.

    """
    return ClientRequest(_connected(config, unique=unique, pool=pool, timeouts=timeouts))


async def _connected(
    config: DockerProviderConfig | str, *, unique: bool, pool: Pool | None, timeouts: Timeouts | None
) -> SharedClient:
    if isinstance(config, str):
        config = DockerProviderConfig(config)
    address = parse_address(config, os.environ)
    if address.scheme == "context":
        address = parse_address(contexts.resolve_context(address.host, os.environ), os.environ)
    if address.scheme == "agent" and address.tls is None:
        what = f'agent "{address.url}" not found'
        remedy = "list it under providers.agents, and put its certificates into certs/HOST:PORT.zip"
        raise EngineUnreachable(config.name or config.url, what, remedy)
    return await (pool or await default_pool()).get(
        address, config.name or config.url, unique=unique, timeouts=timeouts
    )


def clients(pool: Pool | None = None) -> Clients:
    """Return a client for every connection in the pool (default: the loop's pool). The caller must release each one."""
    pool = pool or _default_pools.existing()
    return pool.all() if pool else Clients()
