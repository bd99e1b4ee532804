"""Describes why requests failed, for failures caused by an invalid message from a target or a client. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from pilotage.core.text import shorten, shorten_value
from pilotage.xds.cluster_names import key_of
from pilotage.xds.failure_log import ROUTE_TAG
from pilotage.xds.resources import socket_text

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["CAUSES", "Cause", "Failure", "read_failure"]

_LONGEST: Final = 100
"""Maximum characters of a text from a client or target."""


class Cause(msgspec.Struct, frozen=True):
    """Why a request failed.

    Attributes:
        words: what happened, as in the documentation, with ``the target`` or ``a client`` first.
        advice: what the operator can do.

    """

    words: str
    advice: str

    @property
    def is_clients(self) -> bool:
        """Whether the client, not the target, sent the invalid message."""
        return self.words.startswith("a client")


class Failure(msgspec.Struct, frozen=True):
    """A failed request. All texts are safe to print.

    Attributes:
        cause: why it failed.
        route: the alias or pool; ``""`` if Envoy had not found it yet.
        request: method, host and path, without the query; ``""`` if Envoy could not read them.
        client: the client's address, without its port.
        target: the target's address; ``""`` if there is none.
        status: the status that the client got; 0 if it got none.
        reason: Envoy's message about a failed TLS handshake with the target; ``""`` otherwise.

    """

    cause: Cause
    route: str = ""
    request: str = ""
    client: str = ""
    target: str = ""
    status: int = 0
    reason: str = ""


_CORRECT_CLIENT: Final = "correct that client"
_INVALID: Final = Cause(
    "the target sent an invalid response",
    "look at it with 'curl -v'; if the target speaks only HTTP/2, set scheme: h2c",
)
_BROKEN: Final = Cause(
    "the target broke off a response",
    "look into its log; perhaps its Content-Length or a chunk is wrong",
)
_CLOSED: Final = Cause("the target closed the connection without a response", "look into its log")
_LATE: Final = Cause(
    "the target did not respond in time",
    "look into its log, or set response_header_timeout for the route",
)
_NO_TLS: Final = Cause("the TLS handshake with the target failed", "check scheme, port and the settings ssl_…")
_STALLED: Final = Cause("a client stopped sending its request", "if uploads are slow, raise gateway.body_timeout")
_UNREADABLE: Final = Cause("a client sent something that is not valid HTTP", _CORRECT_CLIENT)
_OF_CLIENTS: Final = {
    "http1.content_length_and_chunked_not_allowed": "both Content-Length and Transfer-Encoding",
    "http1.headers_too_large": "headers of more than 60 KiB",
    "http2.headers_too_large": "headers of more than 60 KiB",
    "http1.too_many_headers": "more than 1,000 headers",
    "http2.too_many_headers": "more than 1,000 headers",
    "http1.invalid_characters": "a control character in a header",
    "http.invalid_authority": "an invalid Host",
    "http1.invalid_transfer_encoding": "an unknown Transfer-Encoding",
    "path_normalization_failed": "an invalid path",
}
_BY_DETAILS: Final = {details: Cause(f"a client sent {it}", _CORRECT_CLIENT) for details, it in _OF_CLIENTS.items()}
CAUSES: Final = tuple(
    dict.fromkeys((_INVALID, _BROKEN, _CLOSED, _LATE, _NO_TLS, *_BY_DETAILS.values(), _STALLED, _UNREADABLE))
)
"""All causes."""


def read_failure(entry: Any) -> Failure | None:
    """Return the failure that an entry of Envoy's access log describes; ``None`` if it describes none.

    Args:
        entry: an ``HTTPAccessLogEntry`` of :func:`~pilotage.xds.failure_log.failure_log`.

    """
    cause = _cause(entry)
    if cause is None:
        return None
    common = entry.common_properties
    return Failure(
        cause,
        route=shorten(common.custom_tags.get(ROUTE_TAG) or _backend(common.upstream_cluster), _LONGEST),
        request=" ".join(_request(entry.request)),
        client=shorten(common.downstream_remote_address.socket_address.address, _LONGEST),
        target=shorten(socket_text(common.upstream_remote_address), _LONGEST),
        status=entry.response.response_code.value,
        reason=shorten(common.upstream_transport_failure_reason, _LONGEST) if cause is _NO_TLS else "",
    )


def _cause(entry: Any) -> Cause | None:
    flags, details = entry.common_properties.response_flags, entry.response.response_code_details
    status = entry.response.response_code.value
    if flags.downstream_protocol_error or details.startswith("path_normalization_failed"):
        return _BY_DETAILS.get(details.partition("{")[0], _UNREADABLE)
    if flags.upstream_connection_failure:
        return _NO_TLS
    if flags.stream_idle_timeout:  # a stream that has begun may end like this
        return {408: _STALLED, 504: _LATE}.get(status)
    if flags.upstream_request_timeout or flags.duration_timeout or flags.upstream_max_stream_duration_reached:
        return _LATE
    if "after_response_started" in details:
        return _BROKEN
    if flags.upstream_protocol_error:
        return _INVALID
    return _CLOSED if flags.upstream_connection_termination or flags.upstream_remote_reset else None


def _backend(cluster: str) -> str:
    """Return the name of the backend to which a cluster belongs; ``""`` if it belongs to several."""
    kind, _, name = key_of(cluster).partition("/")
    return name if kind in ("route", "pool") else ""


def _request(request: Any) -> Iterator[str]:
    """Yield the method, and the host and path. The query may be secret."""
    kind = type(request).DESCRIPTOR.fields_by_name["request_method"].enum_type
    if request.request_method:
        yield kind.values_by_number[request.request_method].name
    if request.authority:
        path = (request.original_path or request.path).partition("?")[0]
        yield f"{shorten(request.authority, _LONGEST)}{shorten_value(path, _LONGEST)}"
