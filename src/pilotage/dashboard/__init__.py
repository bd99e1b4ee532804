"""Serves the dashboard: pages for people, on the addresses of the HTTP API.

The API's own source of data goes in, and HTML comes out; nothing that a label contains becomes markup or a script. It
must not decide anything about routes, and must not import the daemon or the command line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pilotage.core.lazy import lazy_exports

if TYPE_CHECKING:
    from pilotage.dashboard.site import Dashboard

__all__ = ["Dashboard"]

__getattr__, __dir__ = lazy_exports(__name__, {"Dashboard": "site"})
