"""Serves the dashboard's pages on the addresses of the HTTP API."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final, Self

from aiohttp import web

from pilotage.api.access import Refusal, client_of, is_from_socket
from pilotage.api.gateway_entry import ENTRY
from pilotage.core.text import shorten
from pilotage.dashboard.actions import put_to_sleep, wake
from pilotage.dashboard.forms import read_form
from pilotage.dashboard.icons import Icons
from pilotage.dashboard.links import own_path, path_of
from pilotage.dashboard.lists import Lists
from pilotage.dashboard.rates import Rates
from pilotage.dashboard.rendering import Renderer
from pilotage.dashboard.sessions import COOKIE, LIFETIME, Sessions

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from pilotage.api.source import Source

__all__ = ["Dashboard"]

log = logging.getLogger(__name__)

_NAV: Final = (
    ("/", "Services"),
    ("/routes", "Routes"),
    ("/problems", "Problems"),
    ("/events", "Events"),
    ("/engines", "Engines"),
    ("/envoys", "Envoys"),
    ("/certificates", "Certificates"),
    ("/labels", "Labels"),
)
_HEADERS: Final = {
    # Nothing runs or loads that is not in a file of this package, so an icon cannot come from elsewhere either.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",  # a page that opens this one cannot look at its frames or history
    "Cache-Control": "no-store",
    "Vary": "Accept, Accept-Encoding, Cookie",
}
_ASSET_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cache-Control": "public, max-age=31536000, immutable",
}
_ICON_HEADERS: Final = {
    **_ASSET_HEADERS,
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox",  # SVG may have styles
    "Cache-Control": "private, max-age=3600",
}
_LONGEST: Final = 200
"""Maximum number of characters of a parameter that are used."""
_EVERY: Final = 5.0
"""Seconds between two reads of the request counters, while a browser shows pages."""
_WATCHED: Final = 60.0
"""Seconds after the last page for which the counters are read."""


class Dashboard:
    """The dashboard's pages, as a context manager. :class:`~pilotage.api.server.Api` takes it as ``pages``.

    Args:
        source: the data that the pages show.
        token: the API's token, with which browsers sign in; ``""`` if there is none.
        reload: asks the daemon to read its configuration again.

    """

    def __init__(self, source: Source, *, token: str = "", reload: Callable[[], object] | None = None) -> None:
        self._source = source
        self._reload = reload
        self._renderer = Renderer()
        self._rates = Rates()
        self._icons = Icons()
        self._lists = Lists(source, self._rates, self._icons)
        self._sessions = Sessions(token, lambda: asyncio.get_running_loop().time())
        self._looked_at = 0.0
        self._reading: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait([self._reading])
        await self._icons.close()

    # ---- what the API asks

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Add the paths of the pages, all but ``/``."""
        lists = self._lists
        router.add_get("/routes", self._shows("routes", "Routes", lists.routes))
        router.add_get("/problems", self._shows("problems", "Problems", lists.problems))
        router.add_get("/events", self._shows("events", "Events", lists.events))
        router.add_get("/engines", self._shows("engines", "Engines", lists.engines))
        router.add_get("/envoys", self._shows("envoys", "Envoys", lists.envoys))
        router.add_get("/certificates", self._shows("certificates", "Certificates", lists.certificates))
        router.add_get("/labels", self._shows("labels", "Labels", lists.labels, live=False))
        router.add_post("/routes/{name:.+}/wake", self._wake)
        router.add_post("/routes/{name:.+}/sleep", self._sleep)
        router.add_get("/routes/{name:.+}", self._route)
        router.add_post("/reload", self._request_reload)
        router.add_get("/login", self._login_page)
        router.add_post("/login", self._login)
        router.add_post("/logout", self._logout)
        router.add_get("/assets/{name}", self._asset)
        router.add_get("/icons/{name:.+}", self._icon)

    async def home(self, request: web.Request) -> web.StreamResponse:
        """Return the start page."""
        return await self._page(request, "home", "Services", await self._lists.home(_query(request)))

    def is_open(self, path: str) -> bool:
        """Return whether a path needs no permission, such as the sign-in page and style sheets."""
        return path == "/login" or path.startswith("/assets/")

    def is_signed_in(self, request: web.BaseRequest) -> bool:
        """Return whether a request has the cookie of a browser that has signed in with the API's token."""
        return self._sessions.holds(request.cookies.get(COOKIE, ""))

    def error(self, request: web.Request, refusal: Refusal) -> web.Response:
        """Return a page that says why a request failed."""
        title = {404: "Not found", 401: "Sign in", 403: "Not allowed"}.get(refusal.status, "Failed")
        sign_in = refusal.status in (401, 403) and self._sessions.possible and not self.is_signed_in(request)
        context = {"message": refusal.message, "hint": refusal.hint, "sign_in": sign_in}
        return self._render(request, "error", title, context, status=refusal.status, live=False)

    # ---- pages

    def _shows(
        self, template: str, title: str, context: Callable[[dict[str, str]], Awaitable[dict[str, Any]]], **options: bool
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            return await self._page(request, template, title, await context(_query(request)), **options)

        return handle

    async def _route(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        found = await self._lists.route(name)
        if isinstance(found, str):
            return self.error(request, Refusal(404, f"no route or container is called {shorten(name)!r}", found))
        return await self._page(request, "route", shorten(name), found | {"path": path_of("routes", name)})

    async def _page(
        self, request: web.Request, template: str, title: str, context: dict[str, Any], *, live: bool = True
    ) -> web.StreamResponse:
        self._look()
        return self._render(request, template, title, context, live=live)

    def _render(
        self,
        request: web.Request,
        template: str,
        title: str,
        context: dict[str, Any],
        *,
        status: int = 200,
        live: bool = True,
    ) -> web.Response:
        signed_in = self.is_signed_in(request)
        common = {
            "title": title,
            "nav": [{"path": path, "name": name, "count": self._number(path)} for path, name in _NAV],
            "here": request.path,
            "live": live,
            "version": self._source.discovery.table.version,
            "signed_in": signed_in,
            "can_sign_in": self._sessions.possible,
            "can_write": signed_in or is_from_socket(request),
            "can_reload": self._reload is not None,
            "notice": "",
            "query": _query(request),
        }
        text = self._renderer.render(template, common | context)
        response = web.Response(text=text, status=status, content_type="text/html", headers=_HEADERS)
        response.enable_compression()
        return response

    def _number(self, path: str) -> int:
        return len(self._source.problems()) if path == "/problems" else 0

    async def _asset(self, request: web.Request) -> web.StreamResponse:
        found = self._renderer.assets.get(request.match_info["name"])
        if found is None:
            raise web.HTTPNotFound
        response = web.Response(body=found.body, content_type=found.content_type, headers=_ASSET_HEADERS)
        response.charset = "utf-8"
        response.enable_compression()
        return response

    async def _icon(self, request: web.Request) -> web.StreamResponse:
        route = self._source.discovery.table.routes.get(request.match_info["name"])
        found = self._icons.find(route) if route is not None else None
        if found is None:
            raise web.HTTPNotFound
        return web.Response(body=found.body, content_type=found.content_type, headers=_ICON_HEADERS)

    # ---- actions. The API has already checked permissions, and logs each action

    async def _wake(self, request: web.Request) -> web.StreamResponse:
        return self._act(request, wake)

    async def _sleep(self, request: web.Request) -> web.StreamResponse:
        return self._act(request, put_to_sleep)

    def _act(self, request: web.Request, action: Callable[..., str]) -> web.StreamResponse:
        name = request.match_info["name"]
        if refused := action(self._source.sleeper, name):
            return self.error(request, Refusal(409, refused))
        raise web.HTTPSeeOther(path_of("routes", name))

    async def _request_reload(self, _: web.Request) -> web.StreamResponse:
        if self._reload is None:
            raise web.HTTPNotFound
        self._reload()
        raise web.HTTPSeeOther("/engines")

    # ---- signing in

    async def _login_page(self, request: web.Request) -> web.StreamResponse:
        context = {"wrong": "", "next": own_path(request.query.get("next", "/"))}
        return self._render(request, "login", "Sign in", context, live=False)

    async def _login(self, request: web.Request) -> web.StreamResponse:
        form = await read_form(request)
        target = own_path(form.get("next", "/"))
        client = client_of(request, request.app[ENTRY])
        blocked = self._sessions.is_blocked(client)
        session = None if blocked else self._sessions.begin(form.get("token", ""), client)
        if session is None:
            log.warning("a browser at %s could not sign in to the dashboard", client)
            wrong = "Too many wrong tokens. Wait a minute." if blocked else "This is not the token."
            status = 429 if blocked else 403
            return self._render(
                request, "login", "Sign in", {"wrong": wrong, "next": target}, status=status, live=False
            )
        log.info("a browser at %s signed in to the dashboard", client)
        response = web.HTTPSeeOther(target)
        secure = request.headers.get("X-Forwarded-Proto") == "https"
        response.set_cookie(COOKIE, session, max_age=int(LIFETIME), httponly=True, samesite="Strict", secure=secure)
        raise response

    async def _logout(self, request: web.Request) -> web.StreamResponse:
        self._sessions.end(request.cookies.get(COOKIE, ""))
        response = web.HTTPSeeOther("/")
        response.del_cookie(COOKIE)
        raise response

    # ---- request rates

    def _look(self) -> None:
        """Read the request counters regularly while a browser shows pages."""
        self._looked_at = asyncio.get_running_loop().time()
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read(), name="request rates")

    async def _read(self) -> None:
        loop = asyncio.get_running_loop()
        while loop.time() - self._looked_at < _WATCHED:
            self._rates.add(loop.time(), await self._source.traffic())
            await asyncio.sleep(_EVERY)


def _query(request: web.BaseRequest) -> dict[str, str]:
    """Return the parameters of the URL that are not empty, each shortened."""
    return {name[:_LONGEST]: value[:_LONGEST] for name, value in request.query.items() if value}
