"""Configuration of Envoy: from the table to resources, and the xDS sessions that bring them to each Envoy.

Tables and gateway options go in; resources, their acknowledgements and the problems that Envoy reports come out.
It must not start Envoy or contact engines, and it needs the extra ``gateway``: ``pip install 'pilotage[gateway]'``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pilotage.core.lazy import lazy_exports

if TYPE_CHECKING:
    from pilotage.xds.backend import Backend
    from pilotage.xds.bootstrap import bootstrap
    from pilotage.xds.clusters import PROBED, is_probed
    from pilotage.xds.options import CertificateFiles, GatewayOptions
    from pilotage.xds.resources import Key
    from pilotage.xds.server import AdsServer

__all__ = [
    "PROBED",
    "AdsServer",
    "Backend",
    "CertificateFiles",
    "GatewayOptions",
    "Key",
    "bootstrap",
    "is_probed",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "AdsServer": "server",
        "Backend": "backend",
        "CertificateFiles": "options",
        "GatewayOptions": "options",
        "Key": "resources",
        "PROBED": "clusters",
        "bootstrap": "bootstrap",
        "is_probed": "clusters",
    },
)
