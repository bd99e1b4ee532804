"""Renders the dashboard's templates, and finds its static files."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import Any, Final

import jinja2
import msgspec

from pilotage.core.text import escape
from pilotage.dashboard.links import path_of, with_query

__all__ = ["Asset", "Renderer", "capitalized", "clock"]

_FOLDER: Final = Path(__file__).parent
_TYPES: Final = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


class Asset(msgspec.Struct, frozen=True):
    """A static file.

    Attributes:
        path: path of the file on the API's addresses.
        body: its content.
        content_type: its media type.
        version: part of the hash of the file's content. The file's URL contains it, so that browsers can cache the
            file.

    """

    path: str
    body: bytes
    content_type: str
    version: str


class Renderer:
    """Renders pages. Everything that a template inserts is escaped, and an unknown variable is an error.

    Attributes:
        assets: name -> static file.

    """

    def __init__(self) -> None:
        self.assets = {path.name: _asset(path) for path in sorted((_FOLDER / "static").iterdir())}
        self._environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(_FOLDER / "templates"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
            finalize=_readable,
        )
        self._environment.globals.update(asset=self._address, url=with_query, path_of=path_of)
        self._environment.filters.update(capitalized=capitalized, clock=clock, iso=_iso)

    def render(self, template: str, context: dict[str, Any]) -> str:
        """Return a page. ``template`` is the name of its file, without ``.html``."""
        return self._environment.get_template(f"{template}.html").render(context)

    def _address(self, name: str) -> str:
        found = self.assets[name]
        return f"{found.path}?v={found.version}"


def _asset(path: Path) -> Asset:
    body = path.read_bytes()
    version = hashlib.sha256(body).hexdigest()[:12]
    return Asset(f"/assets/{path.name}", body, _TYPES[path.suffix], version)


def _readable(value: Any) -> Any:
    """Make control characters visible, including those that change the direction of text."""
    return escape(value) if type(value) is str else value


def capitalized(text: str) -> str:
    """Return a text with a capital first letter, for a sentence that begins with a phrase."""
    return text[:1].upper() + text[1:]


def clock(at: float) -> str:
    """Return a time of day, or date and time if it is not today. ``at`` is in seconds since 1970."""
    then = time.localtime(at)
    return time.strftime("%H:%M:%S" if then[:3] == time.localtime()[:3] else "%Y-%m-%d %H:%M", then)


def _iso(at: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))
