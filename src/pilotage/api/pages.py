"""Defines what the HTTP API needs to know about the pages for people that share its addresses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from aiohttp import web

    from pilotage.api.access import Refusal

__all__ = ["Pages", "prefers_html"]


class Pages(Protocol):
    """Pages for people. The API decides who may see them."""

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Add the paths of the pages, all but ``/``."""

    async def home(self, request: web.Request) -> web.StreamResponse:
        """Return the page of the path ``/``."""

    def is_open(self, path: str) -> bool:
        """Return whether everybody may use a path who can connect: the page to sign in, and style sheets."""

    def is_signed_in(self, request: web.BaseRequest) -> bool:
        """Return whether a request has the cookie of a browser that has signed in with the API's token."""

    def error(self, request: web.Request, refusal: Refusal) -> web.Response:
        """Return a page that says why a request failed."""


def prefers_html(request: web.BaseRequest) -> bool:
    """Return whether a browser sent the request to show a page, and no other program."""
    return "text/html" in request.headers.get("Accept", "")
