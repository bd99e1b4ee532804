"""What the gateway says by itself: pages for browsers, a few lines for everything else. Pure."""

from __future__ import annotations

from typing import Final

__all__ = ["not_found_page", "not_found_text", "unavailable_page"]

_UNKNOWN: Final = "Nothing answers under this name"
_SPELLING: Final = "No service is known for this address. Look at its spelling; if it has just been started, try again."
_ROUTES: Final = "lists the names that are answered"
_EXPLAIN: Final = "says why one is not"

# Light or dark as the reader has it, at most as wide as reads well, and nothing loaded from anywhere.
_STYLE: Final = (
    ":root{color-scheme:light dark}"
    "body{font:1rem/1.55 system-ui,sans-serif;max-width:34rem;margin:16vh auto 4rem;padding:0 1.5rem}"
    "small{font-size:.9rem;opacity:.6}"
    "h1{font-size:1.6rem;line-height:1.25;margin:.3rem 0 1rem;text-wrap:balance}"
    "p{margin:.8rem 0}"
    "code{font:.9rem ui-monospace,monospace;padding:.1rem .35rem;border-radius:.3rem;background:#8883}"
)


def _page(status: str, title: str, *paragraphs: str) -> str:
    """Return a page as Envoy's substitution format wants it: a percent sign is written twice."""
    text = "".join(f"<p>{paragraph}</p>" for paragraph in paragraphs)
    page = (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{title}</title><style>{_STYLE}</style><small>{status}</small><h1>{title}</h1>{text}</html>\n"
    )
    return page.replace("%", "%%")


def not_found_page(*, debug: bool) -> str:
    """Return the page for a host that no route answers for; with ``debug`` it tells its operator what to do."""
    more = f"For who runs this gateway: <code>pilotage routes</code> {_ROUTES}, <code>pilotage explain NAME</code>"
    return _page("404", _UNKNOWN, _SPELLING, *([f"{more} {_EXPLAIN}."] if debug else []))


def not_found_text(*, debug: bool) -> str:
    """Return the same for who wants no HTML."""
    more = f"For who runs this gateway: 'pilotage routes' {_ROUTES}, 'pilotage explain NAME' {_EXPLAIN}.\n"
    return f"{_UNKNOWN}. {_SPELLING}\n{more if debug else ''}".replace("%", "%%")


def unavailable_page(*, debug: bool) -> str:
    """Return the page for a service that could not be reached, or did not answer in time."""
    said = "The gateway knows it, but could not reach it, or got no answer in time. Try again in a moment."
    more = "For who runs this gateway: <code>pilotage explain NAME</code> tells how the route is; Envoy's flags: <code>"
    page = _page("STATUS", "This service does not answer", said, *([f"{more}FLAGS</code>."] if debug else []))
    return page.replace("STATUS", "%RESPONSE_CODE%").replace("FLAGS", "%RESPONSE_FLAGS%")
