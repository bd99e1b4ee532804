"""Builds the filter that compresses responses, and the settings that turn it on or off for a route. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from envoy.config.core.v3 import extension_pb2
from envoy.extensions.compression.gzip.compressor.v3 import gzip_pb2
from envoy.extensions.filters.http.compressor.v3 import compressor_pb2

from pilotage.xds.resources import number, packed

if TYPE_CHECKING:
    from google.protobuf import any_pb2

    from pilotage.routes.schema import RouteSettings
    from pilotage.xds.options import GatewayOptions

__all__ = ["compression_switch", "compressor"]

_TEXTUAL: Final = (
    "application/javascript application/json application/manifest+json application/xhtml+xml application/xml "
    "image/svg+xml text/css text/csv text/html text/javascript text/markdown text/plain text/xml"
).split()
_SMALLEST: Final = 1024

_OFF: Final = packed(compressor_pb2.CompressorPerRoute(disabled=True))
_ON: Final = packed(
    compressor_pb2.CompressorPerRoute(
        overrides=compressor_pb2.CompressorOverrides(
            response_direction_config=compressor_pb2.ResponseDirectionOverrides()
        )
    )
)


def compressor() -> Any:
    """Return the filter. Envoy itself skips responses with ``Cache-Control: no-transform``."""
    common = compressor_pb2.Compressor.CommonDirectionConfig(
        min_content_length=number(_SMALLEST), content_type=list(_TEXTUAL)
    )
    response = compressor_pb2.Compressor.ResponseDirectionConfig(
        common_config=common,
        # The ETag and the ranges of a response refer to its uncompressed form.
        disable_on_etag_header=True,
        uncompressible_response_codes=[206],
    )
    return compressor_pb2.Compressor(
        response_direction_config=response,
        compressor_library=extension_pb2.TypedExtensionConfig(
            name="gzip", typed_config=packed(gzip_pb2.Gzip(compression_level=gzip_pb2.Gzip.COMPRESSION_LEVEL_5))
        ),
    )


def compression_switch(settings: RouteSettings, options: GatewayOptions) -> any_pb2.Any | None:
    """Return the per-route configuration of a route; ``None`` if the gateway's default applies to it."""
    compresses = (options.compression or settings.compression) and not settings.disable_compression
    if compresses == options.compression:
        return None
    return _ON if compresses else _OFF
