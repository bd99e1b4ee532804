"""Fetches the icons of services from their containers, so that browsers need not load them from anywhere else.

Only icons that are paths on the service itself are fetched, and only from the container's own address or the
target of a route from a file. Labels and responses come from strangers: a label cannot choose the address, redirects
are not followed, and only small images are kept.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

import aiohttp
import msgspec
import yarl

from pilotage.core.addresses import is_address
from pilotage.dashboard.links import own_path, path_of
from pilotage.policy.target_addresses import is_ordinary

if TYPE_CHECKING:
    from pilotage.routes.route import Route

__all__ = ["Icon", "Icons", "icon_url"]

_TYPES: Final = frozenset(
    {"image/png", "image/svg+xml", "image/webp", "image/jpeg", "image/gif", "image/x-icon", "image/vnd.microsoft.icon"}
)
_LARGEST: Final = 100_000
"""Bytes of an icon."""
_MOST: Final = 300
"""Maximum number of icons that are remembered, also of those that could not be fetched."""
_AT_ONCE: Final = 4
_PATIENCE: Final = 3.0
_AGAIN: Final = 600.0
"""Seconds until an icon is fetched again."""


class Icon(msgspec.Struct, frozen=True):
    """An icon, or the fact that there is none.

    Attributes:
        body: the image; empty if the icon could not be fetched.
        content_type: its media type.
        until: when to fetch the icon again, by the loop's clock.

    """

    body: bytes = b""
    content_type: str = ""
    until: float = 0.0


def icon_url(route: Route) -> str:
    """Return the URL of a route's icon on one of its endpoints; ``""`` if it has none that may be fetched."""
    path = route.settings.homepage.icon.removeprefix("@target")
    endpoint = next((it for it in route.endpoints if it.state == "ready"), None)
    usable = route.scheme in ("http", "https") and not route.agent and not route.excluded and endpoint is not None
    if not usable or endpoint is None or own_path(path) != path:
        return ""
    if "host" in route.labelled and not route.is_static:
        return ""  # otherwise, a label could send this process's requests to any machine
    if not is_address(endpoint.host) or not is_ordinary(endpoint.host):
        return ""
    return f"{route.scheme}://{endpoint.address}{path}"


class Icons:
    """The icons of routes, fetched when a page first shows them."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, Icon] = OrderedDict()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._slots = asyncio.Semaphore(_AT_ONCE)

    def path(self, route: Route) -> str:
        """Return the path of a route's icon on the dashboard; ``""`` while there is none. Fetch it if necessary."""
        url = icon_url(route)
        icon = self._get(url)
        if url and (icon is None or icon.until < asyncio.get_running_loop().time()):
            self._fetch(url)
        if icon is None or not icon.body:
            return ""
        return f"{path_of('icons', route.alias)}?v={hashlib.sha256(icon.body).hexdigest()[:12]}"

    def find(self, route: Route) -> Icon | None:
        """Return the icon of a route; ``None`` if there is none."""
        icon = self._get(icon_url(route))
        return icon if icon is not None and icon.body else None

    async def close(self) -> None:
        """End all requests."""
        for task in self._tasks.values():
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks.values())

    def _get(self, url: str) -> Icon | None:
        icon = self._known.get(url)
        if icon is not None:
            self._known.move_to_end(url)
        return icon

    def _fetch(self, url: str) -> None:
        if url in self._tasks or len(self._tasks) >= _MOST:
            return
        task = self._tasks[url] = asyncio.create_task(self._load(url), name="icon")
        task.add_done_callback(lambda _: self._tasks.pop(url, None))

    async def _load(self, url: str) -> None:
        async with self._slots:
            icon = await _download(url)
        until = asyncio.get_running_loop().time() + _AGAIN
        self._known[url] = msgspec.structs.replace(icon, until=until)
        while len(self._known) > _MOST:
            self._known.popitem(last=False)


async def _download(url: str) -> Icon:
    timeout = aiohttp.ClientTimeout(total=_PATIENCE)
    try:
        # The certificates of containers are rarely valid, and an icon is no secret.
        async with (
            aiohttp.ClientSession(timeout=timeout, auto_decompress=False) as session,
            session.get(yarl.URL(url, encoded=True), allow_redirects=False, ssl=False) as answer,
        ):
            body = await answer.content.read(_LARGEST + 1)
            while len(body) <= _LARGEST and (more := await answer.content.read(_LARGEST + 1 - len(body))):
                body += more
            fits = answer.status == 200 and len(body) <= _LARGEST and "Content-Encoding" not in answer.headers
            kind = answer.content_type.lower()
            return Icon(body, kind) if fits and kind in _TYPES else Icon()
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
        return Icon()
