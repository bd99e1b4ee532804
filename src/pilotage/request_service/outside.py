"""Creates HTTP clients. A client for untrusted URLs refuses loopback and link-local addresses."""

from __future__ import annotations

import ipaddress
import socket
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver
from aiohttp.resolver import ThreadedResolver

if TYPE_CHECKING:
    from aiohttp.abc import ResolveResult

__all__ = ["OutsideResolver", "check_url", "is_outside", "outside_session"]

_REFUSED: Final = "only the configuration may name a provider at a loopback or link-local address"


def is_outside(address: str) -> bool:
    """Return whether an untrusted URL may lead to an IP address; ``False`` if it is loopback or link-local."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None) or found
    return (
        not (mapped.is_loopback or mapped.is_link_local or mapped.is_unspecified or mapped.is_multicast)
        and str(mapped) != "255.255.255.255"
    )


class OutsideResolver(AbstractResolver):
    """Resolves names, and refuses addresses that untrusted URLs may not lead to.

    Args:
        resolver: resolves names; by default, the system's resolver in a thread.

    """

    def __init__(self, resolver: AbstractResolver | None = None) -> None:
        self._resolver = resolver or ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the addresses of a name.

        Raises:
            OSError: the name has no address that is allowed.

        """
        found = [it for it in await self._resolver.resolve(host, port, family) if is_outside(it["host"])]
        if not found:
            raise OSError(None, _REFUSED)
        return found

    async def close(self) -> None:
        """Close the resolver."""
        await self._resolver.close()


def check_url(url: str) -> None:
    """Check the IP address in a URL, because aiohttp passes only names to the resolver.

    Raises:
        OSError: an untrusted URL may not lead to this address.

    """
    host = urlsplit(url).hostname or ""
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return
    if not is_outside(host):
        raise OSError(None, _REFUSED)


def outside_session(*, anywhere: bool) -> aiohttp.ClientSession:
    """Return an HTTP client that uses neither cookies nor proxies.

    Args:
        anywhere: whether it may connect to any address; otherwise only to those that :func:`is_outside` allows.

    """
    connector = (
        aiohttp.TCPConnector(limit=64) if anywhere else aiohttp.TCPConnector(limit=64, resolver=OutsideResolver())
    )
    return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False)
