"""Reads the options of the middleware ``hcaptcha``. Pure.

The names of the options are GoDoxy's. It needs no package from the ``gateway`` extra.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import msgspec

from pilotage.core.values import ParseError, parse_duration

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "CAPTCHA_HEADER",
    "CAPTCHA_OPTIONS",
    "CAPTCHA_PATH",
    "Captcha",
    "CaptchaService",
    "captcha_audience",
    "read_captcha",
    "url_problem",
]

CAPTCHA_OPTIONS: Final = ("site_key", "secret_key", "session_expiry")
CAPTCHA_PATH: Final = "/auth/captcha"
"""The path on the host of each route to which the page sends the solution."""
CAPTCHA_HEADER: Final = "x-pilotage-captcha"
"""The request header with the solution. Pages of other sites cannot send it."""

_KEY: Final = re.compile(r"[A-Za-z0-9_.-]{1,200}")
_SHORTEST, _LONGEST = 60.0, 400 * 86_400.0  # seconds; browsers keep no cookie for longer


class Captcha(msgspec.Struct, frozen=True):
    """The captcha that visitors of a route have to solve.

    Attributes:
        site_key: the site's public ID at the provider, which the page contains.
        secret_key: the site's password at the provider.
        session_seconds: how long a solved captcha grants access, in seconds.

    """

    site_key: str
    secret_key: str
    session_seconds: float = 86_400.0

    def __repr__(self) -> str:
        """Show everything but the secret."""
        return f"Captcha(site_key={self.site_key!r}, session_seconds={self.session_seconds!r})"


class CaptchaService(msgspec.Struct, frozen=True):
    """The URLs of the captcha provider.

    Attributes:
        script_url: the script that shows the captcha; browsers load it.
        verify_url: checks solutions; pilotage contacts it.

    """

    script_url: str = "https://js.hcaptcha.com/1/api.js"
    verify_url: str = "https://api.hcaptcha.com/siteverify"


def read_captcha(options: Mapping[str, Any]) -> tuple[Captcha, list[tuple[str, str, str]]]:
    """Read the options of the middleware.

    Args:
        options: folded name -> value.

    Returns:
        The captcha, and the problems, each with the option's name, a message and a hint.

    """
    problems = []
    keys = []
    for name in ("site_key", "secret_key"):
        value = options.get(name.replace("_", ""))
        text = "" if isinstance(value, dict | list | bool) or value is None else str(value).strip()
        if not _KEY.fullmatch(text):
            what = "a captcha needs this key" if not text else "not a key of hCaptcha"
            problems.append((name, what, "copy it from hCaptcha's dashboard"))
        keys.append(text)
    seconds = Captcha("", "").session_seconds
    try:
        seconds = parse_duration(str(options.get("sessionexpiry") or "24h"))
    except ParseError as error:
        problems.append(("session_expiry", error.message, "write one such as 24h"))
    if not _SHORTEST <= seconds <= _LONGEST:
        what = "the duration of a session is out of range"
        problems.append(("session_expiry", what, "write a duration from 1m to 9600h"))
    return Captcha(keys[0], keys[1], seconds), problems


def url_problem(url: str) -> tuple[str, str] | None:
    """Return message and hint if a text is not the URL of a service; ``None`` if it is."""
    try:
        parts = urlsplit(url)
        valid = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        valid = False
    else:
        valid = valid and not (parts.username or parts.password or parts.fragment) and _is_plain(url)
    return None if valid else ("not the URL of a service", "write one such as https://captcha.example.com/api.js")


def _is_plain(url: str) -> bool:
    return url.isascii() and url.isprintable() and not set(url) & set(" \"';,<>")


def captcha_audience(backend: str, captcha: Captcha) -> str:
    """Return the audience of visitors' sessions, which stands for one backend and one site at the provider.

    Args:
        backend: ``route/ALIAS`` or ``pool/NAME``.
        captcha: the captcha of this backend.

    """
    parts = ["captcha", backend, captcha.site_key]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]
