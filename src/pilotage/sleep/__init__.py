"""Puts containers without requests to sleep, and wakes them by the next request.

Updates of the table, the load reports of Envoys and what Envoys ask for go in; commands to engines come out, and for
each route whether its requests pass, wait or are rejected.
It must not decide who gets a name, build Envoy's configuration or read labels.
"""

from __future__ import annotations

__all__: list[str] = []
