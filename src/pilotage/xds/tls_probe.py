"""Finds the https targets that speak plain HTTP, by a TLS handshake with each endpoint (decision 39)."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import TYPE_CHECKING, Final

from pilotage.core.index import Index

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pilotage.routes.route import Endpoint

__all__ = ["TlsProber", "speaks_plainly"]

_TIMEOUT: Final = 5.0
"""Seconds for the connection, and again for the handshake."""

_PAUSES: Final = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0)
"""Seconds before further attempts: a container is listed as running before its server listens."""

# OpenSSL's names for a response that is not a TLS record, such as "HTTP/1.1 400 Bad Request".
_NO_TLS: Final = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG", "RECORD_TOO_SMALL"})


class TlsProber:
    """Probes each https endpoint until it answers once, or until all attempts have failed.

    Args:
        on_plain: called with the address of an endpoint that answers a TLS handshake in plain text.

    """

    def __init__(self, on_plain: Callable[[str], object]) -> None:
        self._on_plain = on_plain
        self._wanted: dict[str, frozenset[str]] = {}
        self._users: Index[str, str] = Index()  # address -> aliases
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def update(self, alias: str, endpoints: Iterable[Endpoint]) -> frozenset[str]:
        """Probe the https endpoints of an alias.

        Args:
            alias: alias of the route.
            endpoints: all endpoints of the route that are to be reached over https.

        Returns:
            The addresses that no alias uses any longer; earlier results for them are outdated.

        """
        before = self._wanted.pop(alias, frozenset())
        places = {endpoint.address: endpoint for endpoint in endpoints}
        if places:
            self._wanted[alias] = frozenset(places)
        for address, endpoint in places.items():
            if address not in self._tasks:
                probe = self._probe(address, endpoint.host, endpoint.port)
                self._tasks[address] = asyncio.create_task(probe, name=f"TLS probe of {address}")
        gone = frozenset(self._users.replace(alias, before, places))
        for address in gone:
            self._tasks.pop(address).cancel()
        return gone

    async def close(self) -> None:
        """Stop all probes."""
        tasks = list(self._tasks.values())
        self._tasks.clear()
        self._wanted.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _probe(self, address: str, host: str, port: int) -> None:
        for pause in (0.0, *_PAUSES):
            await asyncio.sleep(pause)
            plain = await speaks_plainly(host, port)
            if plain:
                self._on_plain(address)
            if plain is not None:
                return


async def speaks_plainly(host: str, port: int) -> bool | None:
    """Return whether a server answers a TLS handshake in plain text; ``None`` if it cannot be reached in time."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # Envoy checks the certificate
    try:
        async with asyncio.timeout(_TIMEOUT):
            _, writer = await asyncio.open_connection(host, port, ssl=context, server_hostname="")
    except ssl.SSLError as error:
        return error.reason in _NO_TLS
    except (OSError, TimeoutError, ValueError):  # not reached, or not a valid host name
        return None
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return False
