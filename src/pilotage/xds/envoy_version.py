"""Refuses old Envoys, which may ignore or reject protective parts of their configuration."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["OLDEST_ENVOY", "requests_of_supported", "too_old"]

log = logging.getLogger(__name__)

OLDEST_ENVOY: Final = (1, 40)
"""Before 1.38, Envoy ignores ``path_override`` of ext_authz: it would send requests for approval to the client's path
instead of the configured one, and take any page with status 200 for an approval. Filters that contain other filters
(:data:`~pilotage.xds.host_lookups.LATE`) are tested with 1.40 only."""


def too_old(node: Any) -> str:
    """Return the version of an Envoy if it is too old; ``""`` if it is new enough, or if its version is unknown."""
    version = node.user_agent_build_version.version
    found = (version.major_number, version.minor_number)
    return f"{version.major_number}.{version.minor_number}.{version.patch}" if (0, 0) < found < OLDEST_ENVOY else ""


async def requests_of_supported(requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
    """Yield the requests of a stream. If its Envoy is too old, log that and end the stream at once."""
    async for request in requests:
        if version := too_old(request.node):
            needed = ".".join(map(str, OLDEST_ENVOY))
            log.error(
                "Envoy %r gets no configuration, because its version %s is too old; use %s or later",
                request.node.id,
                version,
                needed,
            )
            return
        yield request
