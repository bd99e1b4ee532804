"""Builds the filters with which Envoy asks this process about requests, and their per-route configuration. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from envoy.config.core.v3 import base_pb2
from envoy.service.auth.v3 import external_auth_pb2
from envoy.service.ext_proc.v3 import external_processor_pb2
from envoy.type.v3 import http_status_pb2
from google.rpc import status_pb2

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["ROUTE", "SERVICE", "denial", "refuse", "unchanged"]

SERVICE: Final = "service"
"""Key in a check's context. Its value names the middleware that answers."""

ROUTE: Final = "route"
"""Key in a check's context. Its value names the request's backend: ``route/ALIAS`` or ``pool/NAME``."""

_DENIED: Final = 7  # gRPC's PERMISSION_DENIED


def denial(status: int, headers: list[tuple[str, str]], body: str) -> Any:
    """Return the response to a check that makes Envoy itself answer the client.

    Args:
        status: HTTP status.
        headers: headers of the response; a name may occur several times.
        body: body of the response.

    """
    action = base_pb2.HeaderValueOption.HeaderAppendAction
    denied = external_auth_pb2.DeniedHttpResponse(
        status=http_status_pb2.HttpStatus(code=status),
        headers=[
            base_pb2.HeaderValueOption(
                header=base_pb2.HeaderValue(key=name, value=value), append_action=action.APPEND_IF_EXISTS_OR_ADD
            )
            for name, value in headers
        ],
        body=body,
    )
    return external_auth_pb2.CheckResponse(status=status_pb2.Status(code=_DENIED), denied_response=denied)


async def refuse(_request: Any) -> Any:
    """Refuse a request, because the part of this process that would check it does not run."""
    return denial(503, [("cache-control", "no-store")], "The gateway could not check this request.\n")


async def unchanged(requests: AsyncIterator[Any], _backend: str) -> AsyncIterator[Any]:
    """Let the body of a response pass unchanged, because nothing in this process changes bodies."""
    async for request in requests:
        if request.WhichOneof("request") == "response_headers":
            yield external_processor_pb2.ProcessingResponse(response_headers=external_processor_pb2.HeadersResponse())
