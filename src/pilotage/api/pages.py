"""Defines the interface between the HTTP API and the web pages on the same addresses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from aiohttp import web

    from pilotage.api.access import Refusal

__all__ = ["Pages", "prefers_html"]


class Pages(Protocol):
    """Web pages for people. The API controls access to them."""

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Add the paths of the pages, all but ``/``."""

    async def home(self, request: web.Request) -> web.StreamResponse:
        """Return the page of the path ``/``."""

    def is_open(self, path: str) -> bool:
        """Return whether a path needs no permission, such as the sign-in page and style sheets."""

    def is_signed_in(self, request: web.BaseRequest) -> bool:
        """Return whether a request has the cookie of a browser that has signed in with the API's token."""

    def error(self, request: web.Request, refusal: Refusal) -> web.Response:
        """Return a page that says why a request failed."""


def prefers_html(request: web.BaseRequest) -> bool:
    """Return whether a browser sent the request to show a page."""
    return "text/html" in request.headers.get("Accept", "")
