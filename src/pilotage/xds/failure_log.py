"""Lets Envoys report requests that failed because of an invalid message from a target or a client. Pure.

Every listener has an access log that sends such requests to the control plane. For all other requests, Envoy only
compares flags, which it keeps anyway.
"""

from __future__ import annotations

from typing import Any, Final

from envoy.config.accesslog.v3 import accesslog_pb2
from envoy.config.core.v3 import base_pb2, grpc_service_pb2
from envoy.extensions.access_loggers.filters.cel.v3 import cel_pb2
from envoy.extensions.access_loggers.grpc.v3 import als_pb2
from envoy.type.tracing.v3 import custom_tag_pb2

from pilotage.xds.filters import CONTROL_CLUSTER
from pilotage.xds.resources import packed, seconds

__all__ = ["ROUTE_TAG", "failure_log"]

ROUTE_TAG: Final = "route"
"""The tag with the name of the route's backend."""

_INTERVAL: Final = 1.0
"""Seconds after which each thread of Envoy sends its reports."""
_FLAGS: Final = ("UPE", "UC", "UR", "UT", "SI", "DT", "UMSDR", "DPE")
_FILTER: Final = accesslog_pb2.AccessLogFilter


def failure_log() -> list[Any]:
    """Return the access log, in a list."""
    common = als_pb2.CommonGrpcAccessLogConfig(
        log_name="failures",
        transport_api_version=2,
        grpc_service=grpc_service_pb2.GrpcService(
            envoy_grpc=grpc_service_pb2.GrpcService.EnvoyGrpc(cluster_name=CONTROL_CLUSTER)
        ),
        buffer_flush_interval=seconds(_INTERVAL),
        custom_tags=[custom_tag_pb2.CustomTag(tag=ROUTE_TAG, value="%VIRTUAL_CLUSTER_NAME%")],
    )
    kinds = [
        _flagged(*_FLAGS),
        _both(_flagged("UF"), _says("TLS_error")),
        _both(_has_status(400), _says("path_normalization_failed")),
    ]
    return [
        accesslog_pb2.AccessLog(
            name="envoy.access_loggers.http_grpc",
            filter=_FILTER(or_filter=accesslog_pb2.OrFilter(filters=kinds)),
            typed_config=packed(als_pb2.HttpGrpcAccessLogConfig(common_config=common)),
        )
    ]


def _flagged(*flags: str) -> Any:
    return _FILTER(response_flag_filter=accesslog_pb2.ResponseFlagFilter(flags=flags))


def _both(*filters: Any) -> Any:
    return _FILTER(and_filter=accesslog_pb2.AndFilter(filters=filters))


def _has_status(status: int) -> Any:
    comparison = accesslog_pb2.ComparisonFilter(
        op=accesslog_pb2.ComparisonFilter.EQ,
        value=base_pb2.RuntimeUInt32(default_value=status),  # a runtime key would be looked up each time
    )
    return _FILTER(status_code_filter=accesslog_pb2.StatusCodeFilter(comparison=comparison))


def _says(word: str) -> Any:
    expression = cel_pb2.ExpressionFilter(expression=f"response.code_details.contains('{word}')")
    name = "envoy.access_loggers.extension_filters.cel"
    return _FILTER(extension_filter=accesslog_pb2.ExtensionFilter(name=name, typed_config=packed(expression)))
