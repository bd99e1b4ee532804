"""Builds the requests with which Envoy asks auth services about a route's requests. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from envoy.config.core.v3 import base_pb2, http_uri_pb2
from envoy.extensions.filters.http.ext_authz.v3 import ext_authz_pb2
from envoy.extensions.filters.http.set_filter_state.v3 import set_filter_state_pb2
from envoy.type.matcher.v3 import string_pb2

from pilotage.xds.app_sec import app_sec_check
from pilotage.xds.real_ip import client_address
from pilotage.xds.resources import Frame, seconds

if TYPE_CHECKING:
    from pilotage.xds.auth_services import ForwardAuth
    from pilotage.xds.middlewares import RoutePolicy

__all__ = ["AGAIN", "ask_route", "matched_again"]

AGAIN: Final = "pilotage.again"
"""Name of the filter :func:`matched_again`."""


def ask_route(auth: ForwardAuth, policy: RoutePolicy) -> Any:
    """Return settings for asking a route. The request's path is fixed, so clients cannot add parameters."""
    if auth.api_key:
        service, body = app_sec_check(auth.route, auth.api_key, auth.timeout, client=client_address(policy))
    else:
        service, body = _forward(auth), None
    service.MergeFromString(_PATH_OVERRIDE(auth.path.encode()))
    settings = ext_authz_pb2.CheckSettings(http_service=service, with_request_body=body)
    return ext_authz_pb2.ExtAuthzPerRoute(check_settings=settings)


def _forward(auth: ForwardAuth) -> Any:
    """Return the auth service to ask, without the path."""
    values = {
        "X-Forwarded-Method": "%REQ(:METHOD)%",
        "X-Forwarded-Proto": "%REQ(X-FORWARDED-PROTO)%",
        "X-Forwarded-Host": "%REQ(:AUTHORITY)%",
        "X-Forwarded-Uri": "%REQ(:PATH)%",
    }
    exact = [string_pb2.StringMatcher(exact=name, ignore_case=True) for name in auth.headers]
    return ext_authz_pb2.HttpService(
        server_uri=http_uri_pb2.HttpUri(
            uri=f"http://{auth.route}", cluster=f"route/{auth.route}", timeout=seconds(auth.timeout)
        ),
        authorization_request=ext_authz_pb2.AuthorizationRequest(
            headers_to_add=[base_pb2.HeaderValue(key=name, value=value) for name, value in values.items()]
        ),
        authorization_response=ext_authz_pb2.AuthorizationResponse(
            allowed_upstream_headers=string_pb2.ListStringMatcher(patterns=exact),
            allowed_client_headers_on_success=string_pb2.ListStringMatcher(
                patterns=[string_pb2.StringMatcher(exact="set-cookie", ignore_case=True)]
            ),
        ),
    )


def matched_again() -> Any:
    """Return the filter that looks up a known route again after headers that clients may not set have been removed.

    Otherwise, a client could choose a route with such headers if the auth service's answer does not set them.
    """
    return set_filter_state_pb2.Config.FromString(_CLEAR_ROUTE_CACHE)


_CLEAR_ROUTE_CACHE: Final = b"\x10\x01"
"""The field ``clear_route_cache``, which the packages that we use do not have yet."""
_PATH_OVERRIDE: Final = Frame(ext_authz_pb2.HttpService, 10)
"""The field ``path_override``, which was added in Envoy 1.38."""
