"""Refuses Envoys that would ignore a part of their configuration that protects routes."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["requests_of_supported", "too_old"]

log = logging.getLogger(__name__)

_OLDEST: Final = (1, 38)
"""Earlier ones ignore ``path_override`` of ext_authz: they would ask auth services about the client's path instead of
the configured one, and take any page that answers 200 for an approval."""


def too_old(node: Any) -> str:
    """Return the version of an Envoy that is too old; ``""`` if it is not, or does not say."""
    version = node.user_agent_build_version.version
    found = (version.major_number, version.minor_number)
    return f"{version.major_number}.{version.minor_number}.{version.patch}" if (0, 0) < found < _OLDEST else ""


async def requests_of_supported(requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
    """Pass on the requests of a stream; end at once, and log why, if its Envoy is too old."""
    async for request in requests:
        if version := too_old(request.node):
            needed = ".".join(map(str, _OLDEST))
            log.error(
                "Envoy %r gets no configuration: it is version %s; use %s or later", request.node.id, version, needed
            )
            return
        yield request
