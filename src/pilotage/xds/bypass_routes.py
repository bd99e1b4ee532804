"""Builds the Envoy routes for requests that bypass middlewares. Pure.

These routes come before the usual ones, and match only requests whose headers show that a condition holds. All other
requests pass all middlewares, as do requests whose client's address is not known yet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
from envoy.config.route.v3 import route_components_pb2
from envoy.extensions.filters.http.ext_authz.v3 import ext_authz_pb2
from envoy.extensions.filters.http.ext_proc.v3 import ext_proc_pb2

from pilotage.xds.body_filter import BODY_FILTER
from pilotage.xds.bypass import bypass_ways
from pilotage.xds.client_address import NEEDS_ADDRESS, WILDCARD
from pilotage.xds.filters import ACCESS, AUTH, RATE, backend_settings
from pilotage.xds.login import LOGIN
from pilotage.xds.rate_limits import no_limit
from pilotage.xds.resources import packed
from pilotage.xds.route_headers import edit_routes
from pilotage.xds.rule_matchers import header_matchers
from pilotage.xds.rule_tests import ADDRESS_HEADER, PROTOCOL_HEADER

if TYPE_CHECKING:
    from collections.abc import Callable

    from pilotage.xds.backend import Backend
    from pilotage.xds.options import GatewayOptions

__all__ = ["has_route_headers", "with_bypass"]

_SKIPPED: Final = packed(ext_authz_pb2.ExtAuthzPerRoute(disabled=True))
# A filter that is already in the chain runs even if a route found later disables it, but it obeys these settings.
_WITHOUT: Final = {
    AUTH: _SKIPPED,
    LOGIN: _SKIPPED,
    RATE: packed(no_limit()),
    BODY_FILTER: packed(ext_proc_pb2.ExtProcPerRoute(disabled=True)),
}


def has_route_headers(backend: Backend) -> bool:
    """Return whether a bypass affects header changes. If so, the routes make these changes, not the virtual host."""
    policy = backend.route_policy
    return any(
        (it.policy.request, it.policy.answer, it.policy.forwarded, bool(it.policy.changes))
        != (policy.request, policy.answer, policy.forwarded, bool(policy.changes))
        for it in policy.variants
    )


def with_bypass(backend: Backend, build: Callable[[Backend], list[Any]], options: GatewayOptions) -> list[Any]:
    """Return the routes of a backend, including those for requests that bypass some of its middlewares.

    Args:
        backend: the backend.
        build: builds the routes of a backend without bypasses.
        options: the gateway's settings.

    """
    policy = backend.route_policy
    if not policy.variants:
        return build(backend)
    edits = has_route_headers(backend)
    usual = backend_settings(backend, options)
    found = []
    for variant in policy.variants:
        other = msgspec.structs.replace(backend, route_policy=variant.policy)
        routes = build(other)
        if edits:
            edit_routes(routes, other)
        settings = _differences(usual, backend_settings(other, options))
        for tests in bypass_ways(variant.bypasses, backend.name):
            found += [_limited(route, header_matchers(tests, backend.name), settings) for route in routes]
    routes = build(backend)
    if edits:
        edit_routes(routes, backend)
    found += routes
    if policy.asks_address and not backend.rules.address:
        for route in found:
            route.request_headers_to_remove.extend((ADDRESS_HEADER, PROTOCOL_HEADER))
            route.metadata.filter_metadata[WILDCARD].fields[NEEDS_ADDRESS].bool_value = True
    return found


def _differences(usual: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    """Return the settings that differ for a bypass. Clients still cannot send the headers that an auth service sets."""
    changed = {name: it for name, it in wanted.items() if usual.get(name) != it and name in (ACCESS, *_WITHOUT)}
    return changed | {name: off for name, off in _WITHOUT.items() if name in usual and name not in wanted}


def _limited(route: Any, matchers: list[Any], settings: dict[str, Any]) -> Any:
    made = route_components_pb2.Route()
    made.CopyFrom(route)
    made.match.headers.extend(matchers)
    for name, it in settings.items():
        if name == LOGIN and name in made.typed_per_filter_config:
            continue  # rules require signing in, whatever bypasses the middlewares
        made.typed_per_filter_config[name].CopyFrom(it)
    return made
