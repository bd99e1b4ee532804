"""Escapes text for Envoy. Pure. It needs no package from the ``gateway`` extra."""

from __future__ import annotations

__all__ = ["literal"]


def literal(text: str) -> str:
    """Escape text so that Envoy does not expand command operators such as ``%REQ(:path)%`` in it."""
    return text.replace("%", "%%")
