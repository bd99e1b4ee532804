"""Signs users in with OpenID Connect: the authorization code flow with PKCE, and sessions in cookies.

Logins that have begun are not stored here. Until the user returns from the provider, a login's data is encrypted in the
parameter ``state``, and a cookie binds it to the browser.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import logging
import re
import secrets
import time
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, urlencode

import msgspec

from pilotage.request_service.cookies import forget_cookie, read_cookies, set_cookie
from pilotage.request_service.pages import (
    accepts_page,
    error_page,
    passes,
    redirect,
    sign_in_required,
    sign_out_form,
)
from pilotage.request_service.providers import ProviderError
from pilotage.request_service.refresh import LONGEST_ACCESS, Renewals, open_renewal, seal_renewal
from pilotage.request_service.sessions import has_access, issue_session, read_session, read_user
from pilotage.routes.oidc import OidcOptions
from pilotage.xds.login import CALLBACK_PATH, LOGOUT_PATH, SECURE_COOKIE, SESSION_COOKIE

if TYPE_CHECKING:
    from collections.abc import Callable

    from pilotage.request_service.asked import Asked
    from pilotage.request_service.keys import SessionKeys
    from pilotage.request_service.providers import Metadata, Provider, Providers, Tokens
    from pilotage.request_service.sessions import User

__all__ = ["Protected", "SignIn"]

log = logging.getLogger(__name__)

_LOGIN_SECONDS: Final = 600
"""How long a user may take to sign in at the provider."""
_LONGEST_PATH: Final = 1024
"""Maximum characters of the path to which a user returns. If the path is longer, the user returns to the start page."""
_LONGEST_HINT: Final = 3600
"""Maximum characters of a cookie with an ID token. Browsers refuse longer cookies."""
_BINDING: Final = re.compile(r"[A-Za-z0-9_-]{22,64}")
_QUIET: Final = 30.0
"""Seconds between two log lines about one provider."""


class Protected(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of a route with the middleware ``oidc``.

    Attributes:
        options: the complete options of the middleware.
        valid_for: from :func:`pilotage.routes.oidc.audience`.
        name: the route's name, for messages.
        trusted: whether the operator named the provider.

    """

    options: OidcOptions
    valid_for: str
    name: str
    trusted: bool = False


class _Pending(msgspec.Struct, frozen=True, array_like=True):
    """A login that has begun."""

    expires: int
    valid_for: str
    nonce: str
    verifier: str
    binding: str
    path: str


class SignIn:
    """Answers checks of the middleware ``oidc``.

    Args:
        keys: the keys, which sign sessions and encrypt logins.
        providers: the OpenID providers.
        find: returns what a backend requires; ``None`` if it does not have the middleware.
        session_seconds: how long a session is valid.

    """

    def __init__(
        self,
        keys: SessionKeys,
        providers: Providers,
        find: Callable[[str], Protected | None],
        *,
        session_seconds: int = 86_400,
    ) -> None:
        self._keys = keys
        self._providers = providers
        self._find = find
        self._session_seconds = session_seconds
        self._reported: dict[str, float] = {}
        self._renewals = Renewals()

    async def check(self, asked: Asked) -> Any:
        """Return the answer to a check."""
        route = self._find(asked.route)
        if route is None:
            return error_page(asked, 503, "The gateway could not check this request.", "Try again in a moment.")
        cookies = read_cookies(asked.headers.get("cookie", ""))
        if asked.path_only == LOGOUT_PATH:
            return await self._sign_out(asked, route, cookies)
        if asked.path_only == CALLBACK_PATH and (pending := self._pending(asked)) is not None:
            return await self._return(asked, route, cookies, pending)
        user = self._user(asked, route, cookies)
        if user is not None:
            return passes(user)
        if (renewed := await self._renew(asked, route, cookies)) is not None:
            return renewed
        if not accepts_page(asked):
            return sign_in_required(asked, route.name)
        return await self._begin(asked, route, cookies)

    def _user(self, asked: Asked, route: Protected, cookies: dict[str, str]) -> dict[str, str] | None:
        name = SECURE_COOKIE if asked.is_secure else SESSION_COOKIE
        return read_session(self._keys, cookies.get(name, ""), route.valid_for)

    async def _renew(self, asked: Asked, route: Protected, cookies: dict[str, str]) -> Any:
        """Renew the session of a request and let the request pass; return ``None`` if the session cannot be renewed."""
        found = open_renewal(self._keys, cookies.get(_renewal_cookie(asked), ""), route.valid_for)
        if found is None:
            return None
        try:
            tokens = await self._renewals.renew(self._provider(route), route.options, *found)
        except ProviderError as error:
            log.debug("a session of %s was not renewed: %s", route.name, error)
            return None
        user = read_user(tokens.claims)
        if not has_access(user, route.options):
            return None
        token, set_cookies = self._session(asked, route, user, tokens)
        return passes(read_session(self._keys, token, route.valid_for) or {}, set_cookies)

    def _session(
        self, asked: Asked, route: Protected, user: User, tokens: Tokens
    ) -> tuple[str, tuple[tuple[str, str], ...]]:
        """Return the token of a new session, and the cookies that keep it."""
        renewal = seal_renewal(self._keys, route.valid_for, tokens)
        seconds = min(LONGEST_ACCESS, self._session_seconds) if renewal else self._session_seconds
        token = issue_session(self._keys, user, route.valid_for, route.options, seconds)
        secure, kept = asked.is_secure, self._session_seconds
        session = set_cookie(SECURE_COOKIE if secure else SESSION_COOKIE, token, secure=secure, seconds=kept)
        if not renewal:
            return token, (session,)
        return token, (session, set_cookie(_renewal_cookie(asked), renewal, secure=secure, seconds=kept))

    # ---- to the provider

    async def _begin(self, asked: Asked, route: Protected, cookies: dict[str, str]) -> Any:
        """Redirect the browser to the provider."""
        try:
            metadata = await self._provider(route).metadata()
        except ProviderError as error:
            return self._unavailable(asked, route, error)
        cookie = _binding_cookie(asked)
        binding = cookies.get(cookie, "")
        if not _BINDING.fullmatch(binding):
            binding = secrets.token_urlsafe(24)
        returns = asked.path_only != CALLBACK_PATH and len(asked.path) <= _LONGEST_PATH
        pending = _Pending(
            expires=int(time.time()) + _LOGIN_SECONDS,
            valid_for=route.valid_for,
            nonce=secrets.token_urlsafe(24),
            verifier=secrets.token_urlsafe(48),
            binding=_digest(binding),
            path=asked.path if returns and asked.path.startswith("/") else "/",
        )
        query = {
            "client_id": route.options.client_id,
            "redirect_uri": f"{asked.origin}{CALLBACK_PATH}",
            "response_type": "code",
            "scope": " ".join(route.options.scopes),
            "state": self._keys.seal("login", msgspec.json.encode(pending).decode()),
            "nonce": pending.nonce,
            "code_challenge": _digest(pending.verifier),
            "code_challenge_method": "S256",
        }
        kept = set_cookie(cookie, binding, secure=asked.is_secure, seconds=_LOGIN_SECONDS)
        return redirect(_with_query(metadata.authorization_endpoint, query), (kept,))

    # ---- back from the provider

    def _pending(self, asked: Asked) -> _Pending | None:
        """Return the login to which a callback belongs; ``None`` if no gateway with these keys began it."""
        text = self._keys.open("login", _single(asked.query, "state"))
        try:
            return msgspec.json.decode(text, type=_Pending) if text is not None else None
        except msgspec.MsgspecError:
            return None

    async def _return(self, asked: Asked, route: Protected, cookies: dict[str, str], pending: _Pending) -> Any:
        """Redeem the code that the browser sends back, and start a session if the user has access."""
        user = self._user(asked, route, cookies)
        if user is not None and pending.valid_for == route.valid_for:
            return redirect(f"{asked.origin}{pending.path}")  # signed in meanwhile, perhaps in another tab
        binding = cookies.get(_binding_cookie(asked), "")
        again = ("/", "Sign in again")
        if asked.method != "GET" or pending.valid_for != route.valid_for:
            return error_page(asked, 400, "This sign-in was for a different service.", "Try again.", link=again)
        if not hmac.compare_digest(_digest(binding).encode(), pending.binding.encode()):
            title = "This sign-in began in another browser."
            return error_page(asked, 400, title, "Try again in this browser, and allow cookies.", link=again)
        if pending.expires < time.time():
            return error_page(asked, 400, "This sign-in took too long.", "Try again.", link=again)
        if reason := _single(asked.query, "error"):
            text = f"The provider's reason: {reason[:100]}"
            return error_page(asked, 403, "The provider did not let you sign in.", text, link=again)
        provider = self._provider(route)
        try:
            await provider.check_issuer(_single(asked.query, "iss"))
            tokens = await provider.exchange(
                route.options,
                _single(asked.query, "code"),
                pending.verifier,
                f"{asked.origin}{CALLBACK_PATH}",
                pending.nonce,
            )
        except ProviderError as error:
            return self._unavailable(asked, route, error)
        return self._admit(asked, route, pending.path, tokens)

    def _admit(self, asked: Asked, route: Protected, path: str, tokens: Tokens) -> Any:
        """Start a session for a user who has signed in at the provider, if that user has access."""
        user = read_user(tokens.claims)
        hint = self._hint(asked, route, tokens.id_token)
        if not has_access(user, route.options):
            who = user.name or user.email or "a user without a name"
            log.info("%s has signed in to %s, but has no access", who, route.name)
            text = f"You are signed in as {who}."
            title = "You do not have access to this service."
            link = (LOGOUT_PATH, "Sign in as a different user")
            return error_page(asked, 403, title, text, link=link, cookies=hint)
        _, session = self._session(asked, route, user, tokens)
        done = forget_cookie(_binding_cookie(asked), secure=asked.is_secure)
        return redirect(f"{asked.origin}{path}", (*session, done, *hint))

    def _hint(self, asked: Asked, route: Protected, id_token: str) -> tuple[tuple[str, str], ...]:
        """Return the cookie that tells the provider at sign-out who the user is; nothing if it would be too long."""
        sealed = self._keys.seal(_hint_for(route), id_token)
        if len(sealed) > _LONGEST_HINT:
            return ()
        name, secure = _hint_cookie(asked), asked.is_secure
        return (set_cookie(name, sealed, secure=secure, seconds=self._session_seconds, path=LOGOUT_PATH),)

    # ---- sign out

    async def _sign_out(self, asked: Asked, route: Protected, cookies: dict[str, str]) -> Any:
        """End the session here, and at the provider if it supports that (OpenID Connect RP-Initiated Logout)."""
        site = asked.headers.get("sec-fetch-site", "")
        if asked.method == "GET" and site in {"cross-site", "same-site"}:
            return sign_out_form(LOGOUT_PATH)
        own = site == "same-origin" or asked.headers.get("origin") == asked.origin
        if asked.method != "GET" and not (asked.method == "POST" and own):
            return error_page(asked, 403, "Only this site may sign you out.", "Open this page again.")
        gone = (
            forget_cookie(SECURE_COOKIE if asked.is_secure else SESSION_COOKIE, secure=asked.is_secure),
            forget_cookie(_hint_cookie(asked), secure=asked.is_secure, path=LOGOUT_PATH),
            forget_cookie(_binding_cookie(asked), secure=asked.is_secure),
            forget_cookie(_renewal_cookie(asked), secure=asked.is_secure),
        )
        try:
            url = _end_session(
                await self._provider(route).metadata(), asked, route, self._id_token(asked, route, cookies)
            )
        except ProviderError:
            url = ""
        if url:
            return redirect(url, gone)
        text = "You may still be signed in at the provider."
        return error_page(asked, 200, "You have signed out.", text, link=("/", "Sign in again"), cookies=gone)

    def _id_token(self, asked: Asked, route: Protected, cookies: dict[str, str]) -> str:
        return self._keys.open(_hint_for(route), cookies.get(_hint_cookie(asked), "")) or ""

    # ---- providers

    def _provider(self, route: Protected) -> Provider:
        return self._providers.find(route.options.issuer_url, trusted=route.trusted)

    def _unavailable(self, asked: Asked, route: Protected, error: ProviderError) -> Any:
        now, issuer = time.monotonic(), route.options.issuer_url
        if now - self._reported.get(issuer, -_QUIET) >= _QUIET:
            if len(self._reported) > 1000:
                self._reported.clear()
            self._reported[issuer] = now
            log.warning("nobody can sign in to %s: %s", route.name, error)
        title = "Signing in does not work at the moment."
        return error_page(asked, 503, title, "Try again in a moment.", link=("/", "Try again"))


def _end_session(metadata: Metadata, asked: Asked, route: Protected, id_token: str) -> str:
    if not metadata.end_session_endpoint:
        return ""
    query = {"client_id": route.options.client_id, "post_logout_redirect_uri": asked.origin}
    if id_token:
        query["id_token_hint"] = id_token
    return _with_query(metadata.end_session_endpoint, query)


def _binding_cookie(asked: Asked) -> str:
    return "__Host-pilotage_login" if asked.is_secure else "pilotage_login"


def _renewal_cookie(asked: Asked) -> str:
    return "__Host-pilotage_renewal" if asked.is_secure else "pilotage_renewal"


def _hint_cookie(asked: Asked) -> str:
    return "__Secure-pilotage_hint" if asked.is_secure else "pilotage_hint"


def _hint_for(route: Protected) -> str:
    """Return the purpose text with which an ID token is encrypted.

    It includes the provider, so that the token is never sent to a different provider.
    """
    return f"hint {route.valid_for}"


def _digest(text: str) -> str:
    """Return the SHA-256 digest of a text in base64url, as PKCE requires (RFC 7636, section 4.2)."""
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


def _single(query: str, name: str) -> str:
    """Return the value of a query parameter; ``""`` if it is missing, occurs twice, or the query is too long."""
    if len(query) > 16_384:
        return ""
    try:
        values = parse_qs(query, max_num_fields=50, errors="strict").get(name, [])
    except ValueError:
        return ""
    return values[0] if len(values) == 1 else ""


def _with_query(url: str, query: dict[str, str]) -> str:
    return f"{url}{'&' if '?' in url else '?'}{urlencode(query)}"
