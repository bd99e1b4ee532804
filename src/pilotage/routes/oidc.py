"""Defines the options of the middleware ``oidc``, and how routes inherit them from the configuration. Pure.

The names of the options are GoDoxy's.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import msgspec

from pilotage.core.text import shorten_value
from pilotage.core.values import comma_list

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "DEFAULT_SCOPES",
    "OIDC_OPTIONS",
    "OidcDefaults",
    "OidcOptions",
    "OidcProblem",
    "audience",
    "merge_oidc",
    "read_oidc",
]

DEFAULT_SCOPES: Final = ("openid", "profile", "email", "groups")
OIDC_OPTIONS: Final = ("issuer_url", "client_id", "client_secret", "scopes", "allowed_users", "allowed_groups")

_MOST: Final = 1000
"""Maximum number of users, groups or scopes."""
_LONGEST: Final = 2000
"""Maximum number of characters of a value."""
_SCOPE: Final = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")  # RFC 6749, section 3.3

OidcProblem = tuple[str, str, str]
"""The name of an option (``""`` for the middleware as a whole), what is wrong with it, and the remedy."""


class OidcOptions(msgspec.Struct, frozen=True, kw_only=True):
    """OpenID Connect settings of a route: the provider, and the users with access.

    Attributes:
        issuer_url: the OpenID provider, from which everything else about it is discovered.
        client_id: this client's name at the provider.
        client_secret: this client's password at the provider.
        scopes: what to ask the provider for.
        allowed_users: users with access, by ``preferred_username``, or by ``email`` if the provider has verified it.
        allowed_groups: groups whose members have access, by ``groups``.

    """

    issuer_url: str = ""
    client_id: str = ""
    client_secret: str = ""
    scopes: tuple[str, ...] = ()
    allowed_users: tuple[str, ...] = ()
    allowed_groups: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """Show everything but the secret."""
        return f"OidcOptions(issuer_url={self.issuer_url!r}, client_id={self.client_id!r})"


class OidcDefaults(OidcOptions, frozen=True, kw_only=True):
    """Sign-in settings from the configuration: defaults for the options of a route, and session settings.

    Attributes:
        all_routes: whether the middleware ``oidc`` applies to every HTTP route.
        bypass: conditions that exempt a request from :attr:`all_routes`.
        session_seconds: how long a session is valid.
        session_key_file: file with the session secret; ``""`` if the secret does not come from a file.
        session_key: the session secret from the environment; ``""`` if it is not set there.

    """

    all_routes: bool = False
    bypass: tuple[str, ...] = ()
    session_seconds: float = 86_400.0
    session_key_file: str = ""
    session_key: str = ""

    @property
    def for_routes(self) -> OidcDefaults:
        """A copy with only the settings on which routes depend."""
        return OidcDefaults(**{name: getattr(self, name) for name in (*OIDC_OPTIONS, "all_routes", "bypass")})


def read_oidc(options: Mapping[str, Any]) -> tuple[OidcOptions, list[OidcProblem]]:
    """Read the options of the middleware.

    Args:
        options: name -> value as written. Unknown names are ignored.

    Returns:
        The options, and the problems with them.

    """
    problems: list[OidcProblem] = []
    found: dict[str, Any] = {}
    for name in ("issuer_url", "client_id", "client_secret"):
        value = options.get(name)
        if value is None:
            continue
        if isinstance(value, dict | list | bool) or not _is_text(str(value)):
            problems.append((name, "not a single line of text", "write it on one line"))
        else:
            found[name] = str(value).strip()
    if problem := _issuer_problem(found.get("issuer_url", "")):
        problems.append(("issuer_url", *problem))
    for name in ("scopes", "allowed_users", "allowed_groups"):
        texts = _texts(options.get(name))
        if texts is None or len(texts) > _MOST or not all(map(_is_text, texts)):
            problems.append((name, "not a list of names", "write one such as [first, second]"))
        else:
            found[name] = texts
    if wrong := [scope for scope in found.get("scopes", ()) if not _SCOPE.fullmatch(scope)]:
        problems.append(("scopes", f"{shorten_value(wrong[0])!r} is not a scope", "write one such as profile"))
    elif found.get("scopes") and "openid" not in found["scopes"]:
        problems.append(
            ("scopes", "the scope openid is missing; without it, providers do not identify users", "add it")
        )
    return OidcOptions(**found), problems


def _texts(value: Any) -> tuple[str, ...] | None:
    """Return a list or comma-separated text as texts; ``None`` if it is neither."""
    if value is None:
        return ()
    if isinstance(value, dict | bool):
        return None
    if not isinstance(value, list):
        return tuple(comma_list(str(value).strip("[] \n")))
    if any(isinstance(item, dict | list) for item in value):
        return None
    return tuple(filter(None, (str(item).strip() for item in value if item is not None)))


def _is_text(text: str) -> bool:
    return len(text) <= _LONGEST and text.strip().isprintable()


def _issuer_problem(url: str) -> tuple[str, str] | None:
    if not url:
        return None
    try:
        parts = urlsplit(url)
        valid = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        valid = False
    else:
        valid = valid and not (parts.username or parts.password or parts.query or parts.fragment)
    return None if valid else ("not the URL of an OpenID provider", "write one such as https://auth.example.com")


def merge_oidc(own: OidcOptions, defaults: OidcOptions) -> tuple[OidcOptions, str]:
    """Complete the options of a route with those of the configuration.

    A secret goes only to the provider and client for which it was configured. Users and groups are those of one
    provider, so they are inherited together, and only by routes with the same provider. That is stricter than GoDoxy.

    Returns:
        The options, and which of them are missing; ``""`` if they are complete.

    """
    issuer = own.issuer_url or defaults.issuer_url
    same_issuer = issuer.rstrip("/") == defaults.issuer_url.rstrip("/")
    client = own.client_id or (defaults.client_id if same_issuer else "")
    same_client = same_issuer and client == defaults.client_id
    lists = own.allowed_users or own.allowed_groups
    merged = OidcOptions(
        issuer_url=issuer,
        client_id=client,
        client_secret=own.client_secret or (defaults.client_secret if same_client else ""),
        scopes=own.scopes or defaults.scopes or DEFAULT_SCOPES,
        allowed_users=own.allowed_users if lists or not same_issuer else defaults.allowed_users,
        allowed_groups=own.allowed_groups if lists or not same_issuer else defaults.allowed_groups,
    )
    missing = [name for name in ("issuer_url", "client_id", "client_secret") if not getattr(merged, name)]
    if not (merged.allowed_users or merged.allowed_groups):
        missing.append("allowed_users or allowed_groups")
    return merged, f"missing: {', '.join(missing)}" if missing else ""


def audience(backend: str, options: OidcOptions) -> str:
    """Return the audience of sessions, which stands for one backend and its sign-in settings.

    A session ends when the provider, the client, or a list of users or groups changes.

    Args:
        backend: ``route/ALIAS`` or ``pool/NAME``.
        options: its complete options.

    """
    parts = [
        backend,
        options.issuer_url.rstrip("/"),
        options.client_id,
        sorted(options.allowed_users),
        sorted(options.allowed_groups),
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]
