"""One client for each engine, shared by all who ask for it: counted, and closed when nobody has used it for a while.

A pool belongs to the event loop it is first used on. Without one of your own, :func:`new_client` and :func:`clients`
use the loop's default pool, which closes with :func:`asyncio.run` (it rides on ``loop.shutdown_asyncgens``) or
earlier by :func:`close_default_pool`.
"""

from __future__ import annotations

import asyncio
import os
import warnings
import weakref
from typing import TYPE_CHECKING, Final, Self

from pilotage.core.errors import EngineError, EngineUnreachable
from pilotage.engine import contexts
from pilotage.engine.address import parse_address
from pilotage.engine.client import EngineClient
from pilotage.engine.config import DockerProviderConfig
from pilotage.engine.connection import Connection, Timeouts

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from pilotage.engine.address import Address

__all__ = ["Clients", "Pool", "SharedClient", "clients", "close_default_pool", "default_pool", "new_client"]

IDLE: Final = 10.0
"""Seconds that a connection outlives its last user (LABELS II.8)."""


class _Entry:
    """A connection in the pool, and who uses it. ``connected`` stays true; the connection itself may come and go."""

    __slots__ = ("connected", "connection", "opening", "refs", "timer")

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.connected = False
        self.refs = 0
        self.timer: asyncio.TimerHandle | None = None
        self.opening = 0  # how many wait for the first contact


class SharedClient(EngineClient):
    """One user's hold on an engine's connection. Release it with :meth:`close` or ``async with``, once.

    Obtained from :func:`new_client` or :func:`clients`, connected. All methods of
    :class:`~pilotage.engine.client.EngineClient` are here; after the release they raise ``RuntimeError``.
    """

    def __init__(
        self, name: str, connection: Connection, timeouts: Timeouts, release: Callable[[], None] | None
    ) -> None:
        super().__init__(name, connection, timeouts)
        self._release = release
        self._released = False

    @property
    def unique(self) -> bool:
        """Whether the connection is this client's alone."""
        return self._release is None

    async def close(self) -> None:
        """Give the engine back. A unique client's connection closes now, a shared one when idle for 10 s.

        Raises:
            RuntimeError: it was given back before: somebody else's hold would have been released.

        """
        if self._released:
            raise RuntimeError(f"the client of {self.name} was released twice")
        self._released = True
        if self._release is None:
            await self._connection.close()
        else:
            self._release()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __del__(self) -> None:
        if not self._released and not self._connection.closed:
            warnings.warn(f"{self!r} was never released", ResourceWarning, stacklevel=1, source=self)

    def __repr__(self) -> str:
        where = "" if self.name == self.daemon_host else f" at {self.daemon_host}"
        if self._released or self._connection.closed:
            state = "released" if self._released else "closed"
        else:
            engine = f"{self.kind} {self.version.Version}".rstrip()
            state = f"{engine}, API {self.api_version or 'unknown'}, {'unique' if self.unique else 'shared'}"
        return f"<SharedClient of {self.name}{where}: {state}>"

    def _require(self) -> Connection:
        if self._released:
            raise RuntimeError(f"the client of {self.name} was used after its release")
        return self._connection


class Clients(list[SharedClient]):
    """Clients to be released together: ``async with clients() as held: ...`` releases all that still are held."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for client in self:
            if not client._released:  # noqa: SLF001  # of this module
                await client.close()


class Pool:
    """The shared connections of one event loop.

    Args:
        timeouts: for the clients that do not bring their own.
        connect: makes a connection for an address; for tests.

    """

    def __init__(self, timeouts: Timeouts | None = None, connect: Callable[[Address], Connection] = Connection) -> None:
        self.timeouts = timeouts or Timeouts()
        self._connect = connect
        self._entries: dict[Address, _Entry] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._unique: weakref.WeakSet[Connection] = weakref.WeakSet()
        self._closed = False

    async def get(
        self, address: Address, name: str = "", *, unique: bool = False, timeouts: Timeouts | None = None
    ) -> SharedClient:
        """Return a connected client; the first caller connects, others who come meanwhile wait for that.

        Args:
            address: where the engine is.
            name: what people call it; its URL unless given.
            unique: never share the connection.
            timeouts: for this client.

        Raises:
            EngineError: the engine cannot be reached or spoken with. Nothing of the attempt is kept.
            RuntimeError: the pool is closed.

        """
        if self._closed:
            raise RuntimeError("the pool is closed")
        name, timeouts = name or address.url, timeouts or self.timeouts
        if unique:
            return await self._get_unique(address, name, timeouts)
        entry = self._entries.get(address)
        if entry is None:
            entry = self._entries[address] = _Entry(self._connect(address))
        self._acquire(entry)
        if not entry.connected:
            await self._first_contact(entry, name, timeouts)
        return self._handle(entry, name, timeouts)

    async def _get_unique(self, address: Address, name: str, timeouts: Timeouts) -> SharedClient:
        connection = self._connect(address)
        self._unique.add(connection)
        try:
            await connection.open(name, timeouts)
        except BaseException:
            await connection.close()
            raise
        return SharedClient(name, connection, timeouts, None)

    async def _first_contact(self, entry: _Entry, name: str, timeouts: Timeouts) -> None:
        """Wait for the engine's first answer. If it does not come, the entry goes with its last waiter."""
        entry.opening += 1
        try:
            await entry.connection.open(name, timeouts)
        except BaseException as error:
            entry.opening -= 1
            entry.refs -= 1
            # A failure is everybody's; who merely gave up leaves the attempt to the others. Who comes between the
            # failure and here has begun a new attempt on the same connection: that closes with its last waiter.
            if not entry.connected and (isinstance(error, EngineError) or not entry.opening):
                self._evict(entry)
            if not entry.connected and not entry.opening:
                await entry.connection.close()
            elif not entry.refs:
                self._start_idle_timer(entry)
            raise
        entry.opening -= 1
        if entry.connection.closed:
            raise EngineUnreachable(name, "the pool was closed while it was connecting")
        entry.connected = True

    def all(self) -> Clients:
        """Return a client for every connection in the pool, idle ones included, each to be released."""
        connected = [entry for entry in self._entries.values() if entry.connected]
        for entry in connected:
            self._acquire(entry)
        return Clients(self._handle(entry, entry.connection.address.url, self.timeouts) for entry in connected)

    async def close(self) -> None:
        """Close every connection, unique ones included. Requests under way fail; clients need no release then."""
        self._closed = True
        connections = [entry.connection for entry in self._entries.values()] + list(self._unique)
        for entry in self._entries.values():
            if entry.timer is not None:
                entry.timer.cancel()
        self._entries.clear()
        await asyncio.gather(*(connection.close() for connection in connections), *self._closing)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        engines = "1 engine" if len(self._entries) == 1 else f"{len(self._entries)} engines"
        return f"<Pool of {engines}{', closed' if self._closed else ''}>"

    def _handle(self, entry: _Entry, name: str, timeouts: Timeouts) -> SharedClient:
        return SharedClient(name, entry.connection, timeouts, lambda: self._release(entry))

    def _acquire(self, entry: _Entry) -> None:
        entry.refs += 1
        if entry.timer is not None:
            entry.timer.cancel()
            entry.timer = None

    def _release(self, entry: _Entry) -> None:
        entry.refs -= 1
        if not entry.refs and not self._closed:
            self._start_idle_timer(entry)

    def _start_idle_timer(self, entry: _Entry) -> None:
        entry.timer = asyncio.get_running_loop().call_later(IDLE, self._expire, entry)

    def _expire(self, entry: _Entry) -> None:
        self._evict(entry)
        task = asyncio.get_running_loop().create_task(entry.connection.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def _evict(self, entry: _Entry) -> None:
        if self._entries.get(entry.connection.address) is entry:
            del self._entries[entry.connection.address]


# ---- the default pool of a loop ------------------------------------------------------------------------------------

_defaults: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, tuple[Pool, AsyncGenerator[None, None]]]
_defaults = weakref.WeakKeyDictionary()


async def _guard(pool: Pool) -> AsyncGenerator[None, None]:
    """Close the pool when the loop shuts its asynchronous generators down."""
    try:
        yield
    finally:
        await pool.close()


async def default_pool() -> Pool:
    """Return the running loop's pool, made when first asked for."""
    loop = asyncio.get_running_loop()
    if loop not in _defaults:
        pool = Pool()
        guard = _guard(pool)
        _defaults[loop] = (pool, guard)
        await anext(guard)
    return _defaults[loop][0]


async def close_default_pool() -> None:
    """Close the running loop's pool; the next client of the loop starts a new one."""
    found = _defaults.pop(asyncio.get_running_loop(), None)
    if found is not None:
        await found[1].aclose()


async def new_client(
    config: DockerProviderConfig | str,
    *,
    unique: bool = False,
    pool: Pool | None = None,
    timeouts: Timeouts | None = None,
) -> SharedClient:
    """Return a connected client of an engine.

    Args:
        config: the engine, or just its URL. ``DOCKER_TLS_VERIFY`` and ``DOCKER_CERT_PATH`` count for the engine of
            ``DOCKER_HOST``, and Docker contexts are looked up, as the docker CLI does.
        unique: a connection of its own; else one is shared by all who name the same address and certificate files.
        pool: where to share it; the loop's default pool unless given.
        timeouts: how long this client waits; the pool's unless given.

    Raises:
        ConfigError: the address is no address.
        EngineError: the engine cannot be reached or spoken with.

    """
    if isinstance(config, str):
        config = DockerProviderConfig(config)
    address = parse_address(config, os.environ)
    if address.scheme == "context":
        address = parse_address(contexts.resolve_context(address.host, os.environ), os.environ)
    if address.scheme == "agent" and address.tls is None:
        what = f'agent "{address.url}" not found'
        raise EngineUnreachable(
            config.name or config.url, what, "give its ca_file, cert_file and key_file under `tls:`"
        )
    return await (pool or await default_pool()).get(
        address, config.name or config.url, unique=unique, timeouts=timeouts
    )


def clients(pool: Pool | None = None) -> Clients:
    """Return a client for every connection in the pool, each to be released; the loop's default pool unless given."""
    if pool is None:
        found = _defaults.get(asyncio.get_running_loop())
        return found[0].all() if found else Clients()
    return pool.all()
