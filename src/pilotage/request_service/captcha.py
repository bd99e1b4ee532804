"""Admits visitors who solve a captcha (middleware ``hcaptcha``).

A visitor without a session gets a page with the provider's widget. The page sends the solution to a path on the same
host. This process asks the provider whether the solution is right, and the browser then gets a session.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import msgspec

from pilotage.request_service.captcha_page import captcha_page
from pilotage.request_service.cookies import read_cookies, set_cookie
from pilotage.request_service.outside import outside_session
from pilotage.request_service.pages import accepts_page, error_page, passes, redirect
from pilotage.xds.captcha import CAPTCHA_HEADER, CAPTCHA_PATH, Captcha, CaptchaService
from pilotage.xds.checks import denial
from pilotage.xds.login import CAPTCHA_COOKIE, SECURE_CAPTCHA_COOKIE, SESSION_ISSUER

if TYPE_CHECKING:
    from collections.abc import Callable

    from pilotage.request_service.asked import Asked
    from pilotage.request_service.keys import SessionKeys

__all__ = ["CaptchaCheck", "Guarded"]

log = logging.getLogger(__name__)

_TIMEOUT: Final = aiohttp.ClientTimeout(total=8, connect=4)
_LARGEST: Final = 64 * 1024
"""Maximum bytes of the provider's answer."""
_LONGEST: Final = 16 * 1024
"""Maximum characters of a solution."""
_AT_ONCE: Final = 32
"""Maximum number of solutions that are checked at the same time. Further ones wait."""
_QUIET: Final = 30.0
"""Seconds between two log lines about the provider."""
_OURS: Final = frozenset({"missing-input-secret", "invalid-input-secret", "sitekey-secret-mismatch", "bad-request"})
"""The provider's error codes for a wrong configuration (hCaptcha's documentation, "Verify the User Response")."""


class Guarded(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of a route with the middleware ``hcaptcha``.

    Attributes:
        captcha: the options of the middleware.
        valid_for: from :func:`pilotage.xds.captcha.captcha_audience`.
        name: the route's name, for messages.
        sends_address: whether the provider gets the client's address. It gets none if the route determines the address
            itself.

    """

    captcha: Captcha
    valid_for: str
    name: str
    sends_address: bool = True


class _Verdict(msgspec.Struct):
    success: bool = False
    error_codes: tuple[str, ...] = msgspec.field(default=(), name="error-codes")


class CaptchaCheck:
    """Answers checks of the middleware ``hcaptcha``.

    Args:
        keys: the keys, which sign sessions.
        service: the URLs of the provider, which the operator configures.
        find: returns what a backend requires; ``None`` if it does not have the middleware.

    """

    def __init__(self, keys: SessionKeys, service: CaptchaService, find: Callable[[str], Guarded | None]) -> None:
        self._keys = keys
        self._service = service
        self._find = find
        self._client: aiohttp.ClientSession | None = None
        self._limit = asyncio.Semaphore(_AT_ONCE)
        self._reported = -_QUIET

    def with_settings(self, keys: SessionKeys, service: CaptchaService) -> CaptchaCheck:
        """Use other keys and another provider from now on; return this object."""
        self._keys, self._service = keys, service
        return self

    async def check(self, asked: Asked) -> Any:
        """Return the answer to a check."""
        route = self._find(asked.route)
        if route is None:
            return error_page(asked, 503, "The gateway could not check this request.", "Try again in a moment.")
        if asked.path_only == CAPTCHA_PATH and asked.method == "POST":
            return await self._receive(asked, route)
        if not self.has_solved(asked, route):
            return self._ask(asked, route)
        return redirect(f"{asked.origin}/") if asked.path_only == CAPTCHA_PATH else passes({})

    def has_solved(self, asked: Asked, route: Guarded) -> bool:
        """Return whether a request carries a valid captcha session."""
        token = read_cookies(asked.headers.get("cookie", "")).get(_cookie(asked), "")
        claims = self._keys.verify(token, SESSION_ISSUER) if token else None
        found = claims.get(route.valid_for) if claims is not None else None
        return isinstance(found, dict) and found.get("ok") is True

    def _ask(self, asked: Asked, route: Guarded) -> Any:
        if accepts_page(asked):
            return captcha_page(self._service.script_url, route.captcha.site_key)
        text = "Open this site in a browser first."
        return error_page(asked, 403, "Visitors of this service must solve a captcha.", text)

    async def _receive(self, asked: Asked, route: Guarded) -> Any:
        solution = asked.headers.get(CAPTCHA_HEADER, "")
        if not 0 < len(solution) <= _LONGEST or not solution.isascii():
            return _said(400, "The solution is missing.")
        try:
            async with self._limit:
                verdict = await self._verify(asked, route, solution)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError, msgspec.MsgspecError) as error:
            self._report(route, f"{self._service.verify_url}: {str(error) or type(error).__name__}")
            return _said(503, "The solution cannot be checked at the moment. Try again later.")
        if wrong := sorted(_OURS.intersection(verdict.error_codes)):
            self._report(route, f"{self._service.verify_url} rejects the site: {', '.join(wrong)}; correct its keys")
            return _said(503, "The solution cannot be checked at the moment. Try again later.")
        if not verdict.success:
            return _said(403, "That solution is wrong. Try again.")
        now, seconds = int(time.time()), int(route.captcha.session_seconds)
        claims = {"iss": SESSION_ISSUER, "aud": route.valid_for, "iat": now, "exp": now + seconds}
        token = self._keys.sign({**claims, route.valid_for: {"ok": True}})
        return _said(200, "solved", set_cookie(_cookie(asked), token, secure=asked.is_secure, seconds=seconds))

    async def _verify(self, asked: Asked, route: Guarded, solution: str) -> _Verdict:
        if self._client is None:
            self._client = outside_session(anywhere=True)
        form = {"secret": route.captcha.secret_key, "sitekey": route.captcha.site_key, "response": solution}
        if asked.client and route.sends_address:
            form["remoteip"] = asked.client
        where = self._service.verify_url
        async with self._client.post(where, data=form, timeout=_TIMEOUT, allow_redirects=False) as answer:
            body = await answer.content.read(_LARGEST)
            if answer.status != 200:
                raise ValueError(f"status {answer.status}")
            return msgspec.json.decode(body, type=_Verdict)

    def _report(self, route: Guarded, why: str) -> None:
        now = time.monotonic()
        if now - self._reported >= _QUIET:
            self._reported = now
            log.warning("visitors of %s cannot solve captchas: %s", route.name, why)

    async def close(self) -> None:
        """Close the connections to the provider."""
        if self._client is not None:
            await self._client.close()


def _cookie(asked: Asked) -> str:
    return SECURE_CAPTCHA_COOKIE if asked.is_secure else CAPTCHA_COOKIE


def _said(status: int, text: str, *headers: tuple[str, str]) -> Any:
    kind = [("content-type", "text/plain; charset=utf-8"), ("cache-control", "no-store")]
    return denial(status, [*kind, *headers], f"{text}\n")
