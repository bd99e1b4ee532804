"""Builds JSON responses."""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp import web

from pilotage.core.text import safe_json

__all__ = ["error", "json"]


def json(value: Any, status: int = 200) -> web.Response:
    """Return a response whose body is ``value`` as JSON."""
    return web.Response(
        body=safe_json(msgspec.json.encode(value)) + b"\n", status=status, content_type="application/json"
    )


def error(status: int, message: str, hint: str = "") -> web.Response:
    """Return a response whose body is a JSON object with the error ``message`` and a hint on what to do."""
    return json({"error": message, "hint": hint}, status)
