"""Builds the Envoy routes for the files that error pages refer to, such as style sheets. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from envoy.config.core.v3 import base_pb2
from envoy.config.route.v3 import route_components_pb2
from envoy.extensions.filters.http.ext_authz.v3 import ext_authz_pb2
from envoy.extensions.filters.http.rbac.v3 import rbac_pb2

from pilotage.xds.body_filter import ASSETS, BODY_FILTER, asset_settings
from pilotage.xds.filters import ACCESS, AUTH
from pilotage.xds.login import LOGIN
from pilotage.xds.resources import packed

if TYPE_CHECKING:
    from pilotage.xds.backend import Backend
    from pilotage.xds.options import GatewayOptions

__all__ = ["asset_routes"]

_UNCHECKED: Final = packed(ext_authz_pb2.ExtAuthzPerRoute(disabled=True))
_OPEN: Final = {ACCESS: packed(rbac_pb2.RBACPerRoute()), AUTH: _UNCHECKED, LOGIN: _UNCHECKED}
"""Clients that the route refuses get its error pages, too, so they may also get the files of these pages."""
_MISSING: Final = route_components_pb2.DirectResponseAction(
    status=404, body=base_pb2.DataSource(inline_string="There is no such file.\n")
)


def asset_routes(backend: Backend, options: GatewayOptions) -> list[Any]:
    """Return the route for the files of a backend's error pages; empty if it has none.

    This process serves the files, never the target. While this process is not running, clients get 404.
    """
    if not (backend.route_policy.error_page and options.error_pages):
        return []
    route = route_components_pb2.Route(
        match=route_components_pb2.RouteMatch(prefix=ASSETS),
        direct_response=_MISSING,
        typed_per_filter_config={**_OPEN, BODY_FILTER: asset_settings(backend)},
    )
    return [route]
