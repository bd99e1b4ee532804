"""Builds the filter that lets this process change the bodies of responses, and its per-route configuration. Pure.

For each response of a route with such a middleware, Envoy sends the headers to this process. It also streams the body
if this process asks for it. While this process is away, responses pass unchanged. Other routes do not use the filter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from envoy.config.core.v3 import base_pb2, grpc_service_pb2
from envoy.extensions.filters.http.ext_proc.v3 import ext_proc_pb2, processing_mode_pb2

from pilotage.xds.resources import packed, seconds

if TYPE_CHECKING:
    from pilotage.xds.backend import Backend

__all__ = ["ASSETS", "BACKEND", "BODY_FILTER", "asset_settings", "body_filter", "body_settings"]

BODY_FILTER: Final = "pilotage.body"
BACKEND: Final = "x-pilotage-backend"
"""Key of the gRPC metadata that names the backend: ``route/ALIAS`` or ``pool/NAME``."""

ASSETS: Final = "/$gperrorpage/"
"""Below this path, each route with error pages serves the files that the pages refer to, as in GoDoxy."""

_LONGEST: Final = 5.0
"""Seconds that this process may take to answer. After that, the response passes unchanged."""

_MODE: Final = processing_mode_pb2.ProcessingMode


def body_filter(cluster: str) -> Any:
    """Return the filter, which asks the server in a cluster."""
    return ext_proc_pb2.ExternalProcessor(
        grpc_service=_service(cluster),
        failure_mode_allow=True,
        processing_mode=_only_headers(),
        allow_mode_override=True,
        message_timeout=seconds(_LONGEST),
        stat_prefix="body",
    )


def _service(cluster: str) -> Any:
    return grpc_service_pb2.GrpcService(
        envoy_grpc=grpc_service_pb2.GrpcService.EnvoyGrpc(cluster_name=cluster), timeout=seconds(0)
    )


def _only_headers() -> Any:
    return _MODE(
        request_header_mode=_MODE.SKIP,
        response_header_mode=_MODE.SEND,
        request_trailer_mode=_MODE.SKIP,
        response_trailer_mode=_MODE.SKIP,
    )


def body_settings(backend: Backend) -> dict[str, Any]:
    """Return the per-route configuration of a backend; empty if no middleware changes bodies."""
    if not (backend.route_policy.changes or backend.route_policy.error_page):
        return {}
    overrides = ext_proc_pb2.ExtProcOverrides(
        processing_mode=_only_headers(), grpc_initial_metadata=[base_pb2.HeaderValue(key=BACKEND, value=backend.key)]
    )
    return {BODY_FILTER: packed(ext_proc_pb2.ExtProcPerRoute(overrides=overrides))}


def asset_settings(backend: Backend) -> Any:
    """Return the configuration for requests to :data:`ASSETS`, which this process answers itself."""
    overrides = ext_proc_pb2.ExtProcOverrides(
        processing_mode=_MODE(request_header_mode=_MODE.SEND, response_header_mode=_MODE.SKIP),
        grpc_initial_metadata=[base_pb2.HeaderValue(key=BACKEND, value=backend.key)],
    )
    return packed(ext_proc_pb2.ExtProcPerRoute(overrides=overrides))
