"""Builds the changes that a route's middlewares make to the headers of requests and responses. Pure.

GoDoxy sets and adds headers before it removes others, so a value may refer to a header that is then removed. Within one
level, Envoy removes first, but it applies a route before its virtual host. If a backend does both, its routes therefore
set headers, and its virtual host removes them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
from envoy.config.route.v3 import route_components_pb2

from pilotage.xds.agents import may_set, proxy_headers, removed_headers
from pilotage.xds.real_ip import CLIENT_ADDRESS, client_address
from pilotage.xds.resources import header
from pilotage.xds.variables import Upstream, expand, fixed, upstream_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pilotage.xds.backend import Backend
    from pilotage.xds.combining import Edits

__all__ = ["edit_headers", "edit_routes", "target_host"]

_FIELDS: Final = tuple(f"{kind}_headers_to_{it}" for kind in ("request", "response") for it in ("add", "remove"))
_FOR: Final = "x-forwarded-for"
_FORWARDED: Final = {
    "x-forwarded-method": "%REQ(:METHOD)%",
    "x-forwarded-proto": "%REQ(X-FORWARDED-PROTO)%",
    "x-forwarded-host": "%REQ(:AUTHORITY)%",
    "x-forwarded-uri": "%REQ(:PATH)%",
}
_NAMES: Final = "client-cert client-ip email groups path port prefix preferred-username protocol scheme server ssl user"
_FURTHER: Final = tuple(f"x-forwarded-{name}" for name in _NAMES.split())
"""Further headers to hide. Only trusted proxies can send them. Envoy can remove headers only by their full names."""


def edit_headers(host: Any, backend: Backend, *, of_agent: bool = True) -> None:
    """Add a backend's header changes to its virtual host, which must already have all its routes.

    Args:
        host: the virtual host. If it has no routes, it sets the headers itself.
        backend: the backend.
        of_agent: whether to add the headers that the backend's agent needs.

    """
    policy, upstream = backend.route_policy, upstream_of(backend.name, backend.route)
    if policy.address_from is not None:
        upstream = msgspec.structs.replace(upstream, client=CLIENT_ADDRESS)
    put = [it for it in _options(policy.request, upstream) if may_set(backend, it.header.key)]
    if policy.forwarded == "set":
        put += [header(name, value) for name, value in {_FOR: client_address(policy), **_FORWARDED}.items()]
    gone = list(policy.request.hide)
    if policy.changes:
        gone.append("accept-encoding")  # only a page without a content encoding can be changed
    if policy.forwarded == "hide":
        gone += [_FOR, *_FORWARDED, *_FURTHER]
    for level in host.routes if gone and host.routes else [host]:
        level.request_headers_to_add.extend(put)
    host.request_headers_to_remove.extend(gone)
    if of_agent:
        host.request_headers_to_add.extend(proxy_headers(backend))
        host.request_headers_to_remove.extend(removed_headers(backend))

    for level in host.routes if policy.answer.hide and host.routes else [host]:
        level.response_headers_to_add.extend(_options(policy.answer, upstream, response=True))
    host.response_headers_to_remove.extend(policy.answer.hide)


def edit_routes(routes: Iterable[Any], backend: Backend) -> None:
    """Add a backend's header changes to each of its routes instead of to their virtual host."""
    alone = route_components_pb2.VirtualHost()
    edit_headers(alone, backend, of_agent=False)
    for route in routes:
        for field in _FIELDS:
            getattr(route, field).extend(getattr(alone, field))


def _options(edits: Edits, upstream: Upstream, *, response: bool = False) -> Iterator[Any]:
    for name, value in edits.put:
        yield header(name, expand(value, upstream, response=response))
    for name, value in edits.add:
        yield header(name, expand(value, upstream, response=response), add=True)


def target_host(backend: Backend) -> str:
    """Return the Host header for a backend's requests; ``""`` to keep the client's."""
    wanted = backend.route_policy.host
    return fixed(wanted, upstream_of(backend.name, backend.route)) if wanted else ""
