"""Checks whether a server that has just been started is ready."""

from __future__ import annotations

import asyncio
import ssl
from enum import StrEnum
from typing import TYPE_CHECKING, Final

import aiohttp

if TYPE_CHECKING:
    from pilotage.routes.route import Endpoint, Route

__all__ = ["Readiness", "check_readiness"]

_TIMEOUT: Final = 2.0
"""Seconds that one attempt may take, unless the route's health check sets another limit."""

_BROKEN: Final = 500


class Readiness(StrEnum):
    """How a server that was just started would treat a request.

    Attributes:
        READY: it would answer.
        STARTING: it would not answer yet, or does not respond.
        REFUSED: it refuses connections. Finding this out costs each side only one packet.

    """

    READY = "ready"
    STARTING = "starting"
    REFUSED = "refused"


async def check_readiness(route: Route, endpoint: Endpoint) -> Readiness:
    """Return whether an endpoint is ready for requests.

    If labels configure a health check for the route, the endpoint must answer it with a status below 500 (LABELS
    II.6.6). Otherwise, the endpoint must accept a connection. A udp server need not reply to anything, so it always
    counts as ready.
    """
    if route.scheme == "udp":
        return Readiness.READY
    host = endpoint.addresses[0] if endpoint.addresses else endpoint.host
    if "healthcheck" in route.labelled and not route.settings.healthcheck.disable and not route.is_stream:
        return await _check_health(route, host, endpoint.port)
    try:
        async with asyncio.timeout(_TIMEOUT):
            _, writer = await asyncio.open_connection(host, endpoint.port)
    except ConnectionRefusedError:
        return Readiness.REFUSED
    except (OSError, TimeoutError, ValueError):
        return Readiness.STARTING
    writer.close()
    return Readiness.READY


async def _check_health(route: Route, host: str, port: int) -> Readiness:
    health = route.settings.healthcheck
    scheme = "https" if route.scheme == "https" else "http"
    where = f"[{host}]" if ":" in host else host
    unverified = ssl.create_default_context()
    unverified.check_hostname, unverified.verify_mode = False, ssl.CERT_NONE
    timeout = aiohttp.ClientTimeout(total=health.timeout)
    method = "GET" if health.use_get else "HEAD"
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, auto_decompress=False) as session,
            session.request(
                method, f"{scheme}://{where}:{port}{health.path}", ssl=unverified, allow_redirects=False
            ) as r,
        ):
            return Readiness.READY if r.status < _BROKEN else Readiness.STARTING
    except aiohttp.ClientConnectorError as error:
        return Readiness.REFUSED if isinstance(error.os_error, ConnectionRefusedError) else Readiness.STARTING
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError):
        return Readiness.STARTING
