"""Builds the gateway's own responses: HTML for browsers, plain text for other clients. Pure."""

from __future__ import annotations

from typing import Final

__all__ = ["bad_request_text", "not_found_page", "not_found_text", "unavailable_page"]

_UNKNOWN: Final = "No service with this name"
_SPELLING: Final = "No service is configured for this address. Check the spelling, or try again if it just started."
_ROUTES: Final = "lists the served names"
_EXPLAIN: Final = "explains why one is missing"

# Light or dark as the reader prefers, with limited line length and no external resources.
_STYLE: Final = (
    ":root{color-scheme:light dark}"
    "body{font:1rem/1.55 system-ui,sans-serif;max-width:34rem;margin:16vh auto 4rem;padding:0 1.5rem}"
    "small{font-size:.9rem;opacity:.6}"
    "h1{font-size:1.6rem;line-height:1.25;margin:.3rem 0 1rem;text-wrap:balance}"
    "p{margin:.8rem 0}"
    "code{font:.9rem ui-monospace,monospace;padding:.1rem .35rem;border-radius:.3rem;background:#8883}"
)


def _page(status: str, title: str, *paragraphs: str) -> str:
    """Return a page in Envoy's substitution format, in which percent signs are doubled."""
    text = "".join(f"<p>{paragraph}</p>" for paragraph in paragraphs)
    page = (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{title}</title><style>{_STYLE}</style><small>{status}</small><h1>{title}</h1>{text}</html>\n"
    )
    return page.replace("%", "%%")


def bad_request_text(part: str) -> str:
    """Return the response to a request that is refused because one part of it is invalid."""
    return f"The {part} of this request is not valid.\n"


def not_found_page(*, debug: bool) -> str:
    """Return the page for a host without a route; with ``debug``, it includes advice for the operator."""
    more = f"For the operator: <code>pilotage routes</code> {_ROUTES}, <code>pilotage explain NAME</code>"
    return _page("404", _UNKNOWN, _SPELLING, *([f"{more} {_EXPLAIN}."] if debug else []))


def not_found_text(*, debug: bool) -> str:
    """Return the same message as plain text."""
    more = f"For the operator: 'pilotage routes' {_ROUTES}, 'pilotage explain NAME' {_EXPLAIN}.\n"
    return f"{_UNKNOWN}. {_SPELLING}\n{more if debug else ''}".replace("%", "%%")


def unavailable_page(*, debug: bool) -> str:
    """Return the page for a service that could not be reached or did not respond in time."""
    text = "The gateway could not reach the service, or got no response in time. Try again in a moment."
    more = "For the operator: <code>pilotage explain NAME</code> shows the route. Envoy's response flags: <code>"
    page = _page("STATUS", "This service is not responding", text, *([f"{more}FLAGS</code>."] if debug else []))
    return page.replace("STATUS", "%RESPONSE_CODE%").replace("FLAGS", "%RESPONSE_FLAGS%")
