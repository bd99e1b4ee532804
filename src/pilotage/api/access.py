"""Decides which requests the HTTP API answers.

Clients on the unix socket and clients that send the token may do everything, except that only the unix socket serves
secrets and snapshots. Other programs on this machine may only read, and never see secrets. A web page from another site
can neither read nor change anything through a browser on this machine.
"""

from __future__ import annotations

import hmac
import ipaddress
from typing import TYPE_CHECKING, Final

import msgspec

from pilotage.api.listen import is_loopback
from pilotage.core.text import shorten

if TYPE_CHECKING:
    from aiohttp import web

    from pilotage.api.gateway_entry import GatewayEntry

__all__ = ["Refusal", "client_of", "is_from_socket", "is_writing", "refusal", "visitor"]

_OPEN: Final = frozenset({"/healthz", "/readyz"})  # for health checks; they reveal nothing else
_READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})


class Refusal(msgspec.Struct, frozen=True):
    """Why a request is refused. The fields become the error response.

    Attributes:
        status: the HTTP status.
        message: the reason, in one sentence without a full stop.
        hint: what the client can do instead; ``""`` if there is no advice.

    """

    status: int
    message: str
    hint: str = ""


def is_from_socket(request: web.BaseRequest) -> bool:
    """Return whether a request came through a unix socket, whose file mode controls access."""
    transport = request.transport
    return transport is not None and isinstance(transport.get_extra_info("sockname"), str | bytes)


def is_writing(request: web.BaseRequest) -> bool:
    """Return whether a request may change something."""
    return request.method not in _READING


def refusal(
    request: web.BaseRequest,
    names: frozenset[str],
    token: bytes,
    *,
    signed_in: bool = False,
    for_everybody: bool = False,
    entry: GatewayEntry | None = None,
) -> Refusal | None:
    """Return why a request is refused; ``None`` if the request is allowed.

    Args:
        request: the request to check.
        names: the host names in the addresses on which the API listens, in lower case.
        token: the API's bearer token; empty if no token is configured.
        signed_in: whether the request comes from a browser that has signed in with the token.
        for_everybody: whether the path is for everybody who can connect, such as the page to sign in.
        entry: the port for requests that come through the gateway.

    """
    writing, through_gateway = is_writing(request), entry is not None and entry.received(request)
    if through_gateway and entry is not None and not entry.is_genuine(request):
        return Refusal(403, "this port is only for the gateway", "use an address of api.listen")
    if request.path in _OPEN and not writing:
        return None
    if writing and (found := _foreign_page(request)) is not None:
        return found
    if is_from_socket(request) or _has_token(request, token):
        return None
    if signed_in and (not writing or _is_own_page(request)):
        return None
    transport = request.transport
    name = transport.get_extra_info("sockname") if transport is not None else None
    if name is None or through_gateway or not is_loopback(name[0]):
        if for_everybody or (through_gateway and entry is not None and entry.may_read and not writing):
            return None
        if token:
            return Refusal(
                401, "the header Authorization: Bearer TOKEN is missing or wrong", "the token is in api.token_file"
            )
        return Refusal(403, "only local clients have access")
    # A web page whose host name resolves to this address (DNS rebinding) sends that name in Host.
    if not _is_own_name(_host(request.host), names):
        return Refusal(403, f"{shorten(request.host)!r} is not a host name of this API", "use 127.0.0.1 or localhost")
    if writing and not for_everybody:
        hint = "use the unix socket, or send the token of api.token_file as Authorization: Bearer TOKEN"
        return Refusal(403, "local programs without the token may only read", hint)
    return None


def visitor(request: web.BaseRequest, token: bytes, entry: GatewayEntry | None = None) -> str:
    """Return who sent a request that is allowed, for the log."""
    if is_from_socket(request):
        return "through the unix socket"
    kind = "with the token" if _has_token(request, token) else "by a browser"
    return f"{kind} from {client_of(request, entry)}"


def client_of(request: web.BaseRequest, entry: GatewayEntry | None = None) -> str:
    """Return the address of the client. For a request through the gateway, it is the one that the gateway has seen."""
    if entry is not None and entry.received(request):
        return shorten(request.headers.get("X-Forwarded-For", "").rpartition(",")[2].strip()) or "the gateway"
    return request.remote or "the unix socket"


def _has_token(request: web.BaseRequest, token: bytes) -> bool:
    kind, _, given = request.headers.get("Authorization", "").partition(" ")
    presented = given.strip().encode(errors="surrogateescape")  # headers can contain arbitrary bytes
    return bool(token) and kind.lower() == "bearer" and hmac.compare_digest(presented, token)


def _foreign_page(request: web.BaseRequest) -> Refusal | None:
    """Return a refusal if a browser sent the request for a page of another origin, even with valid credentials."""
    site, origin = request.headers.get("Sec-Fetch-Site", "none"), request.headers.get("Origin", "")
    if site not in ("none", "same-origin") or (origin and origin.partition("://")[2] != request.host):
        return Refusal(403, "web pages from other sites may not change anything")
    return None


def _is_own_page(request: web.BaseRequest) -> bool:
    """Return whether the headers say that one of our own pages sent the request. Call :func:`_foreign_page` first."""
    return bool(request.headers.get("Origin")) or request.headers.get("Sec-Fetch-Site") == "same-origin"


def _host(text: str) -> str:
    """Return the host of ``host:port``, without brackets and in lower case."""
    host = text if text.endswith("]") else text.rpartition(":")[0] or text
    return host.removeprefix("[").removesuffix("]").lower()


def _is_own_name(host: str, names: frozenset[str]) -> bool:
    if host == "localhost" or host in names:
        return True
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True  # names can be rebound, addresses cannot
