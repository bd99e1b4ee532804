"""Provides the built-in demonstration, for machines without an engine.

It takes no input and returns a fake engine, whose containers demonstrate the label language and can respond to HTTP
requests. It must not touch a real engine, and must listen only on loopback.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pilotage.core.lazy import lazy_exports

if TYPE_CHECKING:
    from pilotage.demo.engine import demo_engine
    from pilotage.demo.site import DEMO_POLICY, demo_site

__all__ = [
    "DEMO_POLICY",
    "demo_engine",
    "demo_site",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "DEMO_POLICY": "site",
        "demo_engine": "engine",
        "demo_site": "site",
    },
)
