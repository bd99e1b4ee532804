"""Defines clients that hold a reference to a pooled connection, groups of such clients, and connection attempts."""

from __future__ import annotations

import warnings
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Self

from pilotage.core.text import shorten
from pilotage.engine.client import EngineClient

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator

    from pilotage.engine.connection import Connection, Timeouts

__all__ = ["ClientRequest", "Clients", "SharedClient"]


class SharedClient(EngineClient):
    """A client that holds a reference to a pooled connection. Release it once, with :meth:`close` or ``async with``.

    Returned by :func:`new_client` and :func:`clients`, already connected. After the release, all methods raise
    ``RuntimeError``.

    Attributes:
        unique: whether no other client shares the connection.

    """

    def __init__(
        self,
        name: str,
        connection: Connection,
        timeouts: Timeouts,
        release: Callable[[], Awaitable[None]],
        *,
        unique: bool = False,
    ) -> None:
        super().__init__(name, connection, timeouts)
        self.unique = unique
        self._release = release
        self._released = False

    async def close(self) -> None:
        """Release the client.

        An unshared connection (``unique``) is closed immediately; a shared one is closed once it has had no users for
        10 s.

        Raises:
            RuntimeError: the client was already released; a second release would take another client's reference.

        """
        if self._released:
            raise RuntimeError(f"the client of {self.name} was released twice")
        self._released = True
        await self._release()

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
            engine = f"{self.kind} {shorten(self.version.Version, 40)}".rstrip()
            state = f"{engine}, API {self.api_version or 'unknown'}, {'unique' if self.unique else 'shared'}"
        return f"<SharedClient of {self.name}{where}: {state}>"

    def _require(self) -> Connection:
        if self._released:
            raise RuntimeError(f"the client of {self.name} was used after its release")
        return self._connection


class Clients(list[SharedClient]):
    """Several clients. ``async with clients() as held: ...`` releases each client that has not been released yet."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for client in self:
            if not client._released:  # noqa: SLF001  # of this module
                await client.close()


class ClientRequest(Coroutine[Any, Any, SharedClient]):
    """A connection attempt. Await it and close the client yourself, or use ``async with``, which closes it.

    Returned by :func:`new_client`. It is a coroutine, so it starts when it is awaited and can be used once.

    Args:
        connect: coroutine that returns the connected client.

    """

    def __init__(self, connect: Coroutine[Any, Any, SharedClient]) -> None:
        self._connect = connect

    def send(self, value: Any) -> Any:
        """Run the attempt up to its next suspension."""
        return self._connect.send(value)

    def throw(self, *error: Any) -> Any:
        """Raise an exception inside the attempt."""
        return self._connect.throw(*error)

    def close(self) -> None:
        """Abandon the attempt."""
        self._connect.close()

    def __await__(self) -> Generator[Any, None, SharedClient]:
        return self._connect.__await__()

    async def __aenter__(self) -> SharedClient:
        self._client = await self._connect
        return self._client

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()
