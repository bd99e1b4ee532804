"""Talks to OpenID providers: reads metadata, exchanges codes for tokens and verifies tokens (OpenID Connect Core)."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlsplit

import aiohttp
import msgspec

from pilotage.core.text import shorten
from pilotage.request_service.outside import check_url, outside_session

if TYPE_CHECKING:
    from pilotage.routes.oidc import OidcOptions

__all__ = ["Metadata", "Provider", "ProviderError", "Providers", "Tokens"]

_TIMEOUT: Final = aiohttp.ClientTimeout(total=8, connect=4)
_LARGEST: Final = 256 * 1024
"""Maximum bytes of a provider's answer."""
_FRESH: Final = 3600.0
"""Seconds after which a provider's metadata and keys are read again."""
_KEYS_AGAIN: Final = 30.0
"""Minimum seconds between two reads of the keys, if a token names an unknown one."""
_FAILED_AGAIN: Final = 5.0
"""Seconds for which a failure to read the metadata is remembered, so that clients cannot repeat the attempt at will."""
_MOST_PROVIDERS: Final = 256
_AT_ONCE: Final = 16
"""Maximum number of requests to one provider at the same time."""
_LEEWAY: Final = 60
"""Seconds by which a provider's clock may differ."""
_ALGORITHMS: Final = frozenset(
    {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
)


class ProviderError(Exception):
    """A provider did not respond, or its response is invalid. The message contains no secrets."""


class Metadata(msgspec.Struct, frozen=True):
    """A provider's metadata (OpenID Connect Discovery, section 3)."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str | None = None
    end_session_endpoint: str | None = None
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)
    authorization_response_iss_parameter_supported: bool = False


class Tokens(msgspec.Struct, frozen=True):
    """A provider's response to a code or a refresh token.

    Attributes:
        claims: the verified claims of the ID token, and those that only the user info endpoint returns.
        id_token: the ID token.
        refresh_token: ``""`` if there is none.

    """

    claims: dict[str, Any]
    id_token: str = ""
    refresh_token: str = ""


class _Answer(msgspec.Struct):
    id_token: str | None = None
    access_token: str | None = None
    refresh_token: str | None = None


class Providers:
    """The providers that routes name, at most 256 at once. The least recently used ones are forgotten.

    Args:
        sessions: HTTP clients for providers that the operator names (``True``), and that containers name (``False``).

    """

    def __init__(self, sessions: dict[bool, aiohttp.ClientSession] | None = None) -> None:
        self._sessions = sessions or {}
        self._known: OrderedDict[tuple[str, bool], Provider] = OrderedDict()

    def find(self, issuer: str, *, trusted: bool) -> Provider:
        """Return the provider with this issuer URL.

        Args:
            issuer: its URL.
            trusted: whether the operator names it. Only then may it be at a loopback or link-local address.

        """
        key = (issuer, trusted)
        provider = self._known.pop(key, None)
        if provider is None:
            if trusted not in self._sessions:
                self._sessions[trusted] = outside_session(anywhere=trusted)
            provider = Provider(issuer, self._sessions[trusted], trusted=trusted)
        self._known[key] = provider
        while len(self._known) > _MOST_PROVIDERS:
            self._known.popitem(last=False)
        return provider

    async def close(self) -> None:
        """Close all connections."""
        for session in self._sessions.values():
            await session.close()


class Provider:
    """One OpenID provider.

    Args:
        issuer: its URL.
        session: an HTTP client.
        trusted: whether the operator names it. Only then may it be at a loopback or link-local address.

    """

    def __init__(self, issuer: str, session: aiohttp.ClientSession, *, trusted: bool = True) -> None:
        self.issuer = issuer
        self._trusted = trusted
        self._session = session
        self._lock = asyncio.Lock()
        self._keys_lock = asyncio.Lock()
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._metadata: Metadata | None = None
        self._read_at = self._keys_at = self._failed_at = -_FRESH
        self._failure = ""
        self._keys: list[dict[str, Any]] = []

    # ---- metadata

    async def metadata(self) -> Metadata:
        """Return the metadata, read at most once an hour.

        Raises:
            ProviderError: the provider cannot be reached, or its metadata is not usable.

        """
        async with self._lock:
            now = time.monotonic()
            if self._metadata is not None and now - self._read_at < _FRESH:
                return self._metadata
            if now - self._failed_at < _FAILED_AGAIN:
                raise ProviderError(self._failure)
            try:
                self._metadata = await self._discover()
            except ProviderError as error:
                self._failure, self._failed_at = str(error), now
                if self._metadata is None:
                    raise
            else:
                self._read_at = now
            return self._metadata

    async def _discover(self) -> Metadata:
        url = f"{self.issuer.rstrip('/')}/.well-known/openid-configuration"
        try:
            found = msgspec.json.decode(await self._ask("GET", url), type=Metadata)
        except msgspec.MsgspecError as error:
            raise ProviderError(f"{url} is not the metadata of an OpenID provider: {error}") from error
        if found.issuer.rstrip("/") != self.issuer.rstrip("/"):
            raise ProviderError(f"{url} names a different issuer, {shorten(found.issuer)!r}; set issuer_url to it")
        needed = (found.authorization_endpoint, found.token_endpoint, found.jwks_uri)
        given = [url for url in (found.userinfo_endpoint, found.end_session_endpoint) if url]
        for url in (*needed, *given):
            parts = urlsplit(url)
            if parts.scheme not in {"http", "https"} or not parts.hostname or not url.isprintable():
                raise ProviderError(f"the provider names an endpoint that is not a URL: {shorten(url)!r}")
        return found

    async def check_issuer(self, issuer: str) -> None:
        """Check the parameter ``iss`` of a response that the browser brings (RFC 9207); ``""`` if it has none.

        Raises:
            ProviderError: the response comes from a different provider.

        """
        metadata = await self.metadata()
        if (issuer or metadata.authorization_response_iss_parameter_supported) and issuer != metadata.issuer:
            raise ProviderError("the response comes from a different issuer")

    # ---- tokens

    async def exchange(self, options: OidcOptions, code: str, verifier: str, redirect_uri: str, nonce: str) -> Tokens:
        """Return the tokens for a code (OpenID Connect Core, section 3.1.3).

        Raises:
            ProviderError: the provider refuses the code, or its ID token is not valid.

        """
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": verifier,
        }
        return await self._tokens(options, form, nonce=nonce)

    async def refresh(self, options: OidcOptions, token: str) -> Tokens:
        """Return new tokens for a refresh token (OpenID Connect Core, section 12).

        Raises:
            ProviderError: the provider refuses it, or its response is not valid.

        """
        return await self._tokens(options, {"grant_type": "refresh_token", "refresh_token": token}, nonce="")

    async def _tokens(self, options: OidcOptions, form: dict[str, str], *, nonce: str) -> Tokens:
        metadata = await self.metadata()
        headers: dict[str, str] = {"Accept": "application/json"}
        methods = metadata.token_endpoint_auth_methods_supported
        if "client_secret_basic" in methods or "client_secret_post" not in methods:
            pair = f"{quote(options.client_id, safe='')}:{quote(options.client_secret, safe='')}"
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        else:
            form |= {"client_id": options.client_id, "client_secret": options.client_secret}
        body = await self._ask("POST", metadata.token_endpoint, data=form, headers=headers)
        try:
            answer = msgspec.json.decode(body, type=_Answer)
        except msgspec.MsgspecError as error:
            raise ProviderError("the provider's response with the tokens is not valid") from error
        if answer.id_token or nonce:
            claims = await self.verify(answer.id_token or "", options.client_id, nonce=nonce)
        else:
            claims = {}  # a renewal may leave the ID token out; then the user info says who the user is
        claims = await self._completed(claims, metadata, answer.access_token or "")
        return Tokens(claims, answer.id_token or "", answer.refresh_token or "")

    async def _completed(self, claims: dict[str, Any], metadata: Metadata, access_token: str) -> dict[str, Any]:
        """Add the claims of the user info endpoint if name or groups are missing (OpenID Connect Core, section 5.3)."""
        missing = {"preferred_username", "groups"} - claims.keys()
        if not (missing and metadata.userinfo_endpoint and access_token):
            return claims
        body = await self._ask("GET", metadata.userinfo_endpoint, headers={"Authorization": f"Bearer {access_token}"})
        try:
            found = msgspec.json.decode(body, type=dict[str, Any])
        except msgspec.MsgspecError:
            return claims  # it may be a signed token, which this client cannot read
        if claims and found.get("sub") != claims["sub"]:
            raise ProviderError("the provider's user info is about a different user")
        return {**found, **claims}

    async def verify(self, token: str, client_id: str, *, nonce: str) -> dict[str, Any]:
        """Return the claims of an ID token (OpenID Connect Core, section 3.1.3.7).

        Raises:
            ProviderError: the token is not valid, or not for this client or this login.

        """
        import jwt  # noqa: PLC0415  # an optional package

        metadata = await self.metadata()
        try:
            header = jwt.get_unverified_header(token)
            algorithm = header.get("alg")
            if algorithm not in _ALGORITHMS:
                raise ProviderError(f"the ID token is signed with {shorten(str(algorithm))!r}, which is not accepted")
            key = await self._key(header.get("kid"), algorithm)
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                audience=client_id,
                issuer=metadata.issuer,
                leeway=_LEEWAY,
                options={"require": ["exp", "iat", "iss", "aud", "sub"]},
            )
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            raise ProviderError(f"the ID token is not valid: {type(error).__name__}") from error
        audiences = claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
        if claims.get("azp", client_id) != client_id or (len(audiences) > 1 and "azp" not in claims):
            raise ProviderError("the ID token was issued to a different client")
        if nonce and not hmac.compare_digest(str(claims.get("nonce", "")).encode(), nonce.encode()):
            raise ProviderError("the ID token belongs to a different login")
        return claims

    async def _key(self, name: Any, algorithm: str) -> Any:
        """Return the provider's key with this name, or, if ``name`` is ``None``, the only key for the algorithm."""
        for attempt in (False, True):
            async with self._keys_lock:
                if attempt or time.monotonic() - self._keys_at >= _FRESH:
                    await self._read_keys()
            kind = {"R": "RSA", "P": "RSA", "E": "EC"}[algorithm[0]] if algorithm != "EdDSA" else "OKP"
            fitting = [
                key
                for key in self._keys
                if key.get("kty") == kind
                and key.get("use", "sig") == "sig"
                and key.get("alg", algorithm) == algorithm
                and (name is None or key.get("kid") == name)
            ]
            if len(fitting) == 1:
                import jwt  # noqa: PLC0415

                return jwt.PyJWK(fitting[0], algorithm).key
        raise ProviderError("the ID token is signed with a key that the provider does not have")

    async def _read_keys(self) -> None:
        now = time.monotonic()
        if now - self._keys_at < _KEYS_AGAIN:
            return
        self._keys_at = now
        body = await self._ask("GET", (await self.metadata()).jwks_uri)
        try:
            keys = json.loads(body)["keys"]
            self._keys = [key for key in keys if isinstance(key, dict)][:100]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ProviderError("the provider's keys are not valid") from error

    # ---- requests

    async def _ask(self, method: str, url: str, **options: Any) -> bytes:
        try:
            if not self._trusted:
                check_url(url)
            async with (
                self._turns,
                self._session.request(method, url, timeout=_TIMEOUT, allow_redirects=False, **options) as answer,
            ):
                body = await _bounded(answer)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise ProviderError(f"{_place(url)} cannot be reached: {_why(error)}") from error
        if answer.status != 200:
            raise ProviderError(f"{_place(url)} answers {answer.status}{_oauth_error(body)}")
        return body


async def _bounded(answer: aiohttp.ClientResponse) -> bytes:
    found = bytearray()
    async for chunk in answer.content.iter_chunked(16 * 1024):
        found += chunk
        if len(found) > _LARGEST:
            raise ValueError("the answer is too long")
    return bytes(found)


def _place(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}{parts.path}"


def _why(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return shorten(str(error) or type(error).__name__, 200)


def _oauth_error(body: bytes) -> str:
    """Return the error code in a provider's response, in parentheses; ``""`` if it has none (RFC 6749, section 5.2)."""
    try:
        code = json.loads(body)["error"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""
    return f" ({shorten(code, 60)})" if isinstance(code, str) and code.isprintable() else ""
