"""Renews sessions with refresh tokens, which browsers keep in encrypted cookies (OpenID Connect Core, section 12)."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

import msgspec

from pilotage.request_service.providers import ProviderError

if TYPE_CHECKING:
    from pilotage.request_service.keys import SessionKeys
    from pilotage.request_service.providers import Provider, Tokens
    from pilotage.routes.oidc import OidcOptions

__all__ = ["LONGEST_ACCESS", "Renewals", "open_renewal", "seal_renewal"]

LONGEST_ACCESS: Final = 3600
"""Maximum seconds until a session that can be renewed must be renewed. The provider then decides again."""

_LONGEST_COOKIE: Final = 3600
_REMEMBERED: Final = 1000
_SECONDS: Final = 30.0
"""Number of renewals to remember, and seconds for which they are remembered. Several requests of a page may renew a
session at the same time, but a refresh token may be valid only once."""


class _Renewal(msgspec.Struct, frozen=True, array_like=True):
    valid_for: str
    subject: str
    token: str


def seal_renewal(keys: SessionKeys, valid_for: str, tokens: Tokens) -> str:
    """Return the value of a cookie that renews a session; ``""`` if there is no refresh token, or it is too long."""
    if not tokens.refresh_token:
        return ""
    renewal = _Renewal(valid_for, str(tokens.claims.get("sub", "")), tokens.refresh_token)
    sealed = keys.seal("renewal", msgspec.json.encode(renewal).decode())
    return sealed if len(sealed) <= _LONGEST_COOKIE else ""


def open_renewal(keys: SessionKeys, sealed: str, valid_for: str) -> tuple[str, str] | None:
    """Return the user's subject and the refresh token in a cookie; ``None`` if it is not valid for ``valid_for``."""
    text = keys.open("renewal", sealed) if sealed else None
    try:
        found = msgspec.json.decode(text, type=_Renewal) if text is not None else None
    except msgspec.MsgspecError:
        return None
    return (found.subject, found.token) if found is not None and found.valid_for == valid_for else None


class Renewals:
    """Renews each session once, however many requests ask for it at the same time."""

    def __init__(self) -> None:
        self._known: OrderedDict[bytes, tuple[float, asyncio.Task[Tokens]]] = OrderedDict()

    async def renew(self, provider: Provider, options: OidcOptions, subject: str, token: str) -> Tokens:
        """Return new tokens for a refresh token.

        Raises:
            ProviderError: the provider refuses it, or the new tokens are not for this user.

        """
        key = hashlib.sha256(f"{options.client_id}\0{token}".encode()).digest()
        known = self._known.get(key)
        if known is None or time.monotonic() - known[0] > _SECONDS:
            task = asyncio.create_task(_renew(provider, options, subject, token), name="renew a session")
            task.add_done_callback(lambda done: done.cancelled() or done.exception())  # nobody may be waiting any more
            self._known[key] = known = (time.monotonic(), task)
            self._known.move_to_end(key)
            while len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        return await asyncio.shield(known[1])


async def _renew(provider: Provider, options: OidcOptions, subject: str, token: str) -> Tokens:
    tokens = await provider.refresh(options, token)
    if not subject or tokens.claims.get("sub") != subject:
        raise ProviderError("the renewed session is that of a different user")
    return tokens if tokens.refresh_token else msgspec.structs.replace(tokens, refresh_token=token)
