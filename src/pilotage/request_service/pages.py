"""Builds the responses to clients that must sign in, or that have no access. Pure."""

from __future__ import annotations

import json
from html import escape
from typing import TYPE_CHECKING, Any, Final

from envoy.config.core.v3 import base_pb2
from envoy.service.auth.v3 import external_auth_pb2
from google.rpc import status_pb2

from pilotage.xds.checks import denial
from pilotage.xds.login import IDENTITY_HEADERS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pilotage.request_service.asked import Asked

__all__ = [
    "COMMON",
    "accepts_page",
    "document",
    "error_page",
    "passes",
    "redirect",
    "sign_in_required",
    "sign_out_form",
]

Headers = tuple[tuple[str, str], ...]

_STYLE: Final = (
    ":root{color-scheme:light dark}"
    "body{font:1rem/1.55 system-ui,sans-serif;max-width:34rem;margin:16vh auto 4rem;padding:0 1.5rem}"
    "h1{font-size:1.6rem;line-height:1.25;margin:.3rem 0 1rem;text-wrap:balance}"
    "p{margin:.8rem 0;overflow-wrap:anywhere}"
    "button{font:inherit;padding:.4rem 1rem}"
)
COMMON: Final[Headers] = (
    ("cache-control", "no-store"),
    ("referrer-policy", "no-referrer"),
    ("x-content-type-options", "nosniff"),
)
"""Headers of all these responses."""
_PAGE: Final[Headers] = (
    *COMMON,
    ("content-type", "text/html; charset=utf-8"),
    ("content-security-policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"),
)


def accepts_page(asked: Asked) -> bool:
    """Return whether a browser asks for a page, so that it can be redirected to another site.

    Scripts, API clients and WebSockets cannot follow such a redirect. They need a response that asks them to sign in.
    """
    headers = asked.headers
    return (
        asked.method == "GET"
        and "text/html" in headers.get("accept", "").lower()
        and headers.get("x-requested-with", "").lower() != "xmlhttprequest"
        and headers.get("sec-fetch-mode", "navigate").lower() == "navigate"
        and not headers.get("upgrade")
    )


def passes(user: Mapping[str, str], cookies: Headers = ()) -> Any:
    """Return the response to a check that lets the request pass, and tells the target who the user is.

    Args:
        user: the session's claims about the user.
        cookies: headers to add to the response to the client.

    """
    action = base_pb2.HeaderValueOption.HeaderAppendAction
    headers = [
        base_pb2.HeaderValueOption(
            header=base_pb2.HeaderValue(key=name, value=user[claim]),
            append_action=action.OVERWRITE_IF_EXISTS_OR_ADD,
        )
        for name, claim in IDENTITY_HEADERS.items()
        if user.get(claim)
    ]
    added = [
        base_pb2.HeaderValueOption(
            header=base_pb2.HeaderValue(key=name, value=value), append_action=action.APPEND_IF_EXISTS_OR_ADD
        )
        for name, value in cookies
    ]
    ok = external_auth_pb2.OkHttpResponse(headers=headers, response_headers_to_add=added)
    return external_auth_pb2.CheckResponse(status=status_pb2.Status(code=0), ok_response=ok)


def redirect(url: str, cookies: Headers = ()) -> Any:
    """Return a redirect to a URL, which must be absolute."""
    return denial(302, [("location", url), *COMMON, *cookies], "")


def error_page(
    asked: Asked, status: int, title: str, text: str, *, link: tuple[str, str] | None = None, cookies: Headers = ()
) -> Any:
    """Return an error page. Clients that do not accept HTML get only its title.

    Args:
        asked: the client's request.
        status: HTTP status.
        title: what happened. This text and the others are untrusted.
        text: what to do.
        link: path and text of a link.
        cookies: headers to add.

    """
    retry: Headers = (("retry-after", "5"),) if status == 503 else ()
    if "text/html" not in asked.headers.get("accept", "").lower():
        return denial(status, [("content-type", "text/plain; charset=utf-8"), *COMMON, *retry, *cookies], f"{title}\n")
    linked = f'<p><a href="{escape(link[0])}">{escape(link[1])}</a></p>' if link is not None else ""
    return denial(status, [*_PAGE, *retry, *cookies], document(title, f"<p>{escape(text)}</p>{linked}"))


def sign_out_form(path: str) -> Any:
    """Return a page that asks whether to sign out, for users whom another site has sent to the sign-out path."""
    form = f'<form method="post" action="{escape(path)}"><p><button>Sign out</button></p></form>'
    return denial(200, list(_PAGE), document("Do you want to sign out?", form))


def sign_in_required(asked: Asked, realm: str) -> Any:
    """Return 401 for clients that cannot be redirected to an OpenID provider."""
    headers = [*COMMON, ("www-authenticate", f'OpenID realm="{realm}"')]
    sentence = f"Sign in at {asked.origin}/ with a browser first."
    if "json" in asked.headers.get("accept", ""):
        body = json.dumps({"status": 401, "error": sentence})
        return denial(401, [*headers, ("content-type", "application/json")], f"{body}\n")
    return denial(401, [*headers, ("content-type", "text/plain; charset=utf-8")], f"{sentence}\n")


def document(title: str, content: str) -> str:
    """Return a whole page with a title and with content in HTML."""
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style><h1>{escape(title)}</h1>{content}</html>\n"
    )
