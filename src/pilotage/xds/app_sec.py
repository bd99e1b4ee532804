"""Builds the settings with which Envoy asks CrowdSec about requests (middleware ``crowdsec``). Pure.

In CrowdSec's AppSec protocol, 200 lets a request pass, and any other status refuses it. If CrowdSec does not answer,
the client gets 503. Source: CrowdSec's documentation of the protocol between bouncers and AppSec.
"""

from __future__ import annotations

from typing import Any, Final

from envoy.config.core.v3 import base_pb2, http_uri_pb2
from envoy.extensions.filters.http.ext_authz.v3 import ext_authz_pb2

from pilotage.xds.literals import literal
from pilotage.xds.resources import seconds

__all__ = ["BUFFERED", "app_sec_check"]

_NAMES: Final = {
    "Uri": "%REQ(:PATH)%",
    "Host": "%REQ(:AUTHORITY)%",
    "Verb": "%REQ(:METHOD)%",
    "User-Agent": "%REQ(USER-AGENT)%",
}
_PREFIX: Final = "X-Crowdsec-Appsec-"

_INSPECTED: Final = 64 * 1024
"""Bytes of a body that CrowdSec sees. Envoy keeps them until CrowdSec has answered."""
BUFFERED: Final = 4 * _INSPECTED
"""Bytes of a body that Envoy may keep on routes with this middleware. With less, it would refuse large bodies."""


def app_sec_check(route: str, api_key: str, timeout: float, *, client: str) -> tuple[Any, Any]:
    """Return the HTTP service that Envoy asks, without the path, and how much of a request's body this service gets.

    Args:
        route: the alias of CrowdSec's route.
        api_key: the key by which CrowdSec recognizes this gateway.
        timeout: seconds that CrowdSec may take to answer.
        client: Envoy's format for the client's address.

    """
    values = {f"{_PREFIX}{name}": value for name, value in {"Ip": client, **_NAMES}.items()}
    values[f"{_PREFIX}Api-Key"] = literal(api_key)
    service = ext_authz_pb2.HttpService(
        server_uri=http_uri_pb2.HttpUri(uri=f"http://{route}", cluster=f"route/{route}", timeout=seconds(timeout)),
        authorization_request=ext_authz_pb2.AuthorizationRequest(
            headers_to_add=[base_pb2.HeaderValue(key=name, value=value) for name, value in values.items()]
        ),
        authorization_response=ext_authz_pb2.AuthorizationResponse(
            allowed_upstream_headers={"patterns": [{"exact": f"{_PREFIX}none"}]},
        ),
    )
    body = ext_authz_pb2.BufferSettings(max_request_bytes=_INSPECTED, allow_partial_message=True)
    return service, body
