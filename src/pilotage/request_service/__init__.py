"""Answers what Envoy asks about requests to routes whose middlewares Envoy does not have itself.

Its inputs are Envoy's checks, which name the middleware and the backend. Its outputs are decisions: the request passes,
or the client gets a response. This package must not read labels, build Envoy's configuration or contact engines.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pilotage.core.lazy import lazy_exports

if TYPE_CHECKING:
    from pilotage.request_service.service import RequestService

__all__ = ["RequestService"]

__getattr__, __dir__ = lazy_exports(__name__, {"RequestService": "service"})
