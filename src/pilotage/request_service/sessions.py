"""Creates and verifies session tokens of signed-in users, and checks whether a user has access."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

import msgspec

from pilotage.xds.login import SESSION_ISSUER

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pilotage.request_service.keys import SessionKeys
    from pilotage.routes.oidc import OidcOptions

__all__ = ["User", "has_access", "issue_session", "read_session", "read_user"]

_LONGEST_VALUE: Final = 256
"""Maximum number of characters of a name, an address or a group."""
_MOST_GROUPS: Final = 1000
_GROUP_BYTES: Final = 1200
"""Maximum bytes of groups in a session, because browsers refuse cookies over 4 KiB."""


class User(msgspec.Struct, frozen=True):
    """A signed-in user.

    Attributes:
        name: the user's name at the provider, as in ``allowed_users``.
        display: the name to show.
        email: the email address; ``""`` if the provider does not say that it is verified.
        groups: the user's groups.

    """

    name: str
    display: str = ""
    email: str = ""
    groups: tuple[str, ...] = ()


def read_user(claims: Mapping[str, Any]) -> User:
    """Return the user that an OpenID provider describes. Values that cannot be in an HTTP header are dropped."""
    groups = claims.get("groups")
    listed = [groups] if isinstance(groups, str) else groups if isinstance(groups, list) else []
    verified = claims.get("email_verified") in (True, "true")
    return User(
        name=_text(claims.get("preferred_username")),
        display=_text(claims.get("name")),
        email=_text(claims.get("email")) if verified else "",
        groups=tuple(dict.fromkeys(filter(None, map(_group, listed[:_MOST_GROUPS])))),
    )


def _text(value: Any) -> str:
    text = value.strip() if isinstance(value, str) else ""
    return text if text.isprintable() and len(text) <= _LONGEST_VALUE else ""


def _group(value: Any) -> str:
    return _text(value).replace(",", "") and _text(value)


def has_access(user: User, options: OidcOptions) -> bool:
    """Return whether a user may use a route with these options."""
    allowed = options.allowed_users
    by_name = bool(user.name) and user.name in allowed
    by_email = bool(user.email) and user.email.lower() in {it.lower() for it in allowed if "@" in it}
    return by_name or by_email or not set(options.allowed_groups).isdisjoint(user.groups)


def issue_session(keys: SessionKeys, user: User, valid_for: str, options: OidcOptions, seconds: int) -> str:
    """Return the token of a new session.

    The claims about the user are in a claim named ``valid_for``, so Envoy finds none in a session for another route.

    Args:
        keys: the keys, which sign the token.
        user: the signed-in user.
        valid_for: from :func:`pilotage.routes.oidc.audience`.
        options: the route's options. The session may not hold all groups, so those that give access come first.
        seconds: how long the session is valid.

    """
    now = int(time.time())
    first = [group for group in user.groups if group in options.allowed_groups]
    claims = {"ok": True, "user": user.name or user.email, "groups": ",".join(_fitting([*first, *user.groups]))}
    claims |= {name: text for name, text in (("name", user.display), ("email", user.email)) if text}
    return keys.sign(
        {"iss": SESSION_ISSUER, "aud": valid_for, "iat": now, "exp": now + max(1, seconds), valid_for: claims}
    )


def _fitting(groups: Iterable[str]) -> list[str]:
    found: list[str] = []
    rest = _GROUP_BYTES
    for group in dict.fromkeys(groups):
        rest -= len(group.encode()) + 1
        if rest < 0:
            break
        found.append(group)
    return found


def read_session(keys: SessionKeys, token: str, valid_for: str) -> dict[str, str] | None:
    """Return a session's claims about its user; ``None`` if the token is invalid, expired or for something else."""
    claims = keys.verify(token, SESSION_ISSUER) if token else None
    found = claims.get(valid_for) if claims is not None else None
    if not isinstance(found, dict) or found.get("ok") is not True:
        return None
    return {name: text for name, text in found.items() if isinstance(text, str)}
