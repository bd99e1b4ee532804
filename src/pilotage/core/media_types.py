"""Guesses the media types of files from their names."""

from __future__ import annotations

from mimetypes import MimeTypes
from typing import Final

__all__ = ["media_type"]

_TYPES: Final = MimeTypes()
"""The types that Python knows. The machine's own list is not read, so that types are the same everywhere."""
for _type, _suffix in (
    ("application/wasm", ".wasm"),
    ("application/manifest+json", ".webmanifest"),
    ("text/javascript", ".mjs"),
    ("text/javascript", ".js"),
    ("text/markdown", ".md"),
    ("font/woff2", ".woff2"),
    ("image/avif", ".avif"),
    ("image/webp", ".webp"),
):
    _TYPES.add_type(_type, _suffix)


def media_type(name: str) -> str:
    """Return the value of the header ``Content-Type`` for a file with this name."""
    kind, encoding = _TYPES.guess_type(f"/{name}")
    if encoding is not None:
        return {"gzip": "application/gzip"}.get(encoding, "application/octet-stream")
    if kind is None:
        return "application/octet-stream"
    textual = kind.startswith("text/") or kind in ("application/json", "application/manifest+json", "image/svg+xml")
    return f"{kind}; charset=utf-8" if textual else kind
