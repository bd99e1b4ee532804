"""Builds URLs for the dashboard's links, and drops those that labels may not set. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlencode, urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping
    from urllib.parse import SplitResult

__all__ = ["own_path", "path_of", "safe_url", "with_query"]

_LONGEST: Final = 2_000  # characters of a URL; browsers take about as many


def safe_url(text: str) -> str:
    """Return an ``http`` or ``https`` URL; ``""`` for anything else.

    Labels are untrusted. A ``javascript:`` URL would run in the dashboard's own origin. Browsers ignore control
    characters and read a backslash as a slash, so no URL with such a character passes.
    """
    parts = _parts(text)
    if parts is None or parts.scheme not in ("http", "https"):
        return ""
    return text if parts.netloc and "@" not in parts.netloc else ""


def own_path(text: str) -> str:
    """Return a path on the same host, with its query; ``"/"`` for anything else, such as ``//elsewhere``."""
    parts = _parts(text)
    is_path = parts is not None and not parts.scheme and not parts.netloc and text.startswith("/")
    return text if is_path and not text.startswith("//") else "/"


def _parts(text: str) -> SplitResult | None:
    if not text or len(text) > _LONGEST or "\\" in text or any(char <= " " or char == "\x7f" for char in text):
        return None
    try:
        return urlsplit(text)
    except ValueError:
        return None


def path_of(*parts: str) -> str:
    """Return an absolute path with each part quoted, for example ``/routes/tcp%2Fdb``."""
    return "/" + "/".join(quote(part, safe="") for part in parts)


def with_query(path: str, query: Mapping[str, str], **changed: str | int) -> str:
    """Return a path with a query. Parameters in ``changed`` replace others, and empty ones are left out."""
    merged = {name: str(value) for name, value in {**query, **changed}.items() if value != ""}
    return f"{path}?{urlencode(merged)}" if merged else path
