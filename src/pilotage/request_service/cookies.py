"""Reads and writes cookies (RFC 6265). Pure."""

from __future__ import annotations

from typing import Final

__all__ = ["forget_cookie", "read_cookies", "set_cookie"]

_MOST: Final = 300
"""Maximum number of cookies that are read."""


def read_cookies(header: str) -> dict[str, str]:
    """Return the cookies in a request's header ``Cookie``. If a name occurs several times, the first value counts."""
    found: dict[str, str] = {}
    for pair in header.split(";", _MOST)[:_MOST]:
        name, is_pair, value = pair.strip().partition("=")
        if is_pair and name not in found:
            found[name] = value.strip().strip('"')
    return found


def set_cookie(name: str, value: str, *, secure: bool, seconds: int, path: str = "/") -> tuple[str, str]:
    """Return the response header that sets a cookie for one host.

    Scripts cannot read the cookie. From other sites, browsers send it only when the user follows a link to this host.

    Args:
        name: its name.
        value: its value, without spaces, quotation marks, commas and semicolons.
        secure: whether browsers send the cookie only over HTTPS.
        seconds: how long browsers keep the cookie.
        path: the path below which browsers send the cookie.

    """
    text = f"{name}={value}; Path={path}; Max-Age={seconds}; HttpOnly; SameSite=Lax"
    return ("set-cookie", f"{text}; Secure" if secure else text)


def forget_cookie(name: str, *, secure: bool, path: str = "/") -> tuple[str, str]:
    """Return the response header that removes a cookie from the browser."""
    return set_cookie(name, "", secure=secure, seconds=0, path=path)
