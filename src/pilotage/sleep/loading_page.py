"""Renders the loading page that browsers show while a service wakes, and the events that update it. Pure.

The page loads only the service's icon. Without JavaScript, it reloads itself instead of receiving events. This module
writes all texts, so the page's script only inserts them.
"""

from __future__ import annotations

import base64
import hashlib
import math
import re
from functools import lru_cache
from html import escape
from typing import Final, Literal

import msgspec

from pilotage.core.text import SEARCHED, count, safe_json, shorten
from pilotage.sleep.loading_assets import SCRIPT, STYLE
from pilotage.sleep.state import Phase

__all__ = [
    "CONTENT_SECURITY_POLICY",
    "EVENT_NAMES",
    "REFRESH",
    "WakeStatus",
    "event_data",
    "event_name",
    "page_headers",
    "render_page",
    "retry_after",
]

REFRESH: Final = 2
"""Seconds until the page reloads itself in a browser without JavaScript."""

EVENT_NAMES: Final = (
    "waking_dep",
    "dep_ready",
    "starting",
    "container_woke",
    "waiting_ready",
    "ready",
    "error",
    "asleep",
    "quiescing",
    "stopping",
)
"""Names of events. The first seven are GoDoxy's; the others are phases for which GoDoxy has no event."""

_LONGEST_RETRY_AFTER: Final = 30
_MOST_STEPS: Final = 8  # finished steps to list; waking one container may take hundreds
_LONGEST_NAME: Final = 80
_LONGEST_STEP: Final = 160
_LONGEST_FAILURE: Final = 1000

_PATH: Final = re.compile(r"/(?![/\\])[!-~]{0,2000}")
"""A path on the same host. Browsers read ``//x`` and ``/\\x`` as another host, and ignore tabs and newlines."""


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


CONTENT_SECURITY_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        f"script-src {_hash(SCRIPT)}",
        f"style-src {_hash(STYLE)}",
        "img-src 'self' data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
    )
)
"""Value of the header ``Content-Security-Policy``: only the page's own script and style run.

With hashes instead of nonces, the value is constant. It allows frames, because dashboards show services in frames, and
a browser that refused the page there would never reach the service. An attacker gains nothing by tricking users into
clicking "Try again".
"""


class WakeStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The status of a service that is asleep or waking. Its texts may come from labels and engines.

    Attributes:
        name: the display name of the service.
        icon: path of its icon on the same host, such as ``/icon.png``. Any value that is not such a path is ignored.
        phase: what its containers are doing.
        step: what is happening now, such as ``waiting for db to become healthy``.
        done: finished steps, in the order in which they happened.
        waited: seconds since the wake-up began.
        failure: why the last attempt to wake it failed; ``""`` if it did not fail.
        retry_in: seconds until another attempt is allowed; ``None`` if it is allowed now.
        typical: how long the last wake-up took, in seconds; ``None`` before the first wake-up.
        container: the name of its container in ``step`` and ``done``; ``""`` if it is the same as ``name``.

    """

    name: str
    icon: str = ""
    phase: Phase
    step: str
    done: tuple[str, ...]
    waited: float
    failure: str
    retry_in: float | None
    typical: float | None
    container: str = ""


class _View(msgspec.Struct, frozen=True):
    """A status as the page shows it: put into words, shortened, and with secrets removed."""

    name: str
    icon: str
    phase: Phase
    step: str
    done: tuple[str, ...]
    earlier: str
    waited: float
    failure: str
    retry_in: float | None
    typical: float | None
    look: Literal["waking", "moment", "failed", "asleep"]
    title: str
    headline: str
    action: str


def _view(status: WakeStatus) -> _View:
    name = _short(status.name[:SEARCHED], _LONGEST_NAME)
    step = _sentence(status.step)
    done = tuple(_sentence(it) for it in status.done[-_MOST_STEPS:])
    earlier = len(status.done) - len(done)
    look: Literal["waking", "moment", "failed", "asleep"] = "moment"
    action = ""
    match status.phase:
        case Phase.WAKING:
            look, title, headline = "waking", f"{name} is starting", step or "Starting"
        case Phase.READY:
            title, headline = name, "One moment"
        case Phase.QUIESCING | Phase.STOPPING:
            title, headline = f"{name} is shutting down", "Shutting down, then starting again"
        case _ if status.failure or status.phase is Phase.FAILED:
            look, title, headline, action = (
                "failed",
                f"{name} could not be started",
                "Could not be started",
                "Try again",
            )
        case _:
            look, title, headline, action = "asleep", f"{name} is asleep", "Asleep", "Start"
    return _View(
        name=name,
        icon=status.icon if _PATH.fullmatch(status.icon) else "",
        phase=status.phase,
        step=step,
        done=done,
        earlier=count(earlier, "earlier step") if earlier else "",
        waited=round(max(0.0, status.waited), 3),
        failure=_short(status.failure[:SEARCHED], _LONGEST_FAILURE),
        retry_in=None if status.retry_in is None else round(max(0.0, status.retry_in), 3),
        typical=None if status.typical is None else round(max(0.0, status.typical), 3),
        look=look,
        title=title,
        headline=headline,
        action=action,
    )


def _sentence(text: str) -> str:
    text = _short(text[:SEARCHED], _LONGEST_STEP)
    return text[:1].upper() + text[1:]


@lru_cache(maxsize=128)
def _short(text: str, limit: int) -> str:
    """Return a text, shortened for display. Cached, because a thousand browsers may get the same text at once."""
    return shorten(text, limit)


def event_data(status: WakeStatus) -> bytes:
    """Return a status as one line of JSON, with fields of :class:`WakeStatus` and the texts that the page shows."""
    return safe_json(msgspec.json.encode(_view(status)))


def event_name(before: WakeStatus | None, status: WakeStatus) -> str:
    """Return the name of the event that reports a new status; one of :data:`EVENT_NAMES`.

    Args:
        before: the previous status; ``None`` if it is not known.
        status: the new status.

    """
    if status.phase is Phase.FAILED or (status.phase is Phase.ASLEEP and status.failure):
        return "error"
    if status.phase is not Phase.WAKING:
        return status.phase.value
    own = status.container or status.name
    finished = status.done[len(before.done) :] if before is not None else ()
    if finished:
        return "container_woke" if _concerns(finished[-1], own) else "dep_ready"
    if status.step.endswith(" to answer"):  # only the service itself has to answer
        return "waiting_ready"
    if not status.step or _concerns(status.step, own):
        return "waiting_ready" if status.step.startswith("waiting ") else "starting"
    return "waking_dep"


def _concerns(step: str, name: str) -> bool:
    """Return whether a step is about the container ``name`` and not about a container that it needs."""
    subject = step
    for verb in ("starting ", "started ", "resuming ", "waiting for "):
        subject = subject.removeprefix(verb)
    name = name.casefold()
    return subject.casefold() == name or subject.casefold().startswith(f"{name} to ")


def retry_after(status: WakeStatus) -> int:
    """Return the value of ``Retry-After``: the seconds after which a client that gets no events should try again."""
    if status.phase is Phase.READY:
        return 1
    if status.retry_in is not None:
        seconds = status.retry_in
    elif status.phase is Phase.WAKING and status.typical is not None:
        seconds = status.typical - status.waited
    else:
        seconds = 0.0
    return max(REFRESH, min(_LONGEST_RETRY_AFTER, math.ceil(seconds)))


def page_headers(status: WakeStatus) -> dict[str, str]:
    """Return the response headers of a page, except for its content type."""
    return {
        "Cache-Control": "no-store",
        "Content-Security-Policy": CONTENT_SECURITY_POLICY,
        "Referrer-Policy": "no-referrer",
        "Retry-After": str(retry_after(status)),
        "X-Content-Type-Options": "nosniff",
    }


def render_page(status: WakeStatus, *, events_path: str, target: str = "") -> str:
    """Return the HTML page for a status, to be sent with :data:`CONTENT_SECURITY_POLICY`.

    A page for the phase ``ready`` reloads itself after a second and needs no events.

    Args:
        status: what to show.
        events_path: path from which the browser gets events. Their data comes from :func:`event_data`.
        target: path and query of the request. Without JavaScript, Chromium reloads a page with a fragment (``#top``) in
            its URL only if the page says which URL to load.

    """
    view = _view(status)
    refresh = ""
    if view.look != "failed":  # an open page must not keep starting a broken service
        seconds = 1 if view.phase is Phase.READY else REFRESH
        # A path may begin with two slashes. Behind "/." browsers do not take it for another host.
        url = f"; url=/.{escape(target)}" if target.startswith("/") else ""
        refresh = f'<noscript><meta http-equiv="refresh" content="{seconds}{url}"></noscript>'
    icon = f'<img id="icon" src="{escape(view.icon)}" alt="" width="56" height="56">' if view.icon else ""
    letter = next((char.upper() for char in view.name if char.isalnum()), "•")
    value = "" if view.look != "waking" or not view.typical else f' value="{_progress(view.waited, view.typical):.3f}"'
    retry = f"in {_seconds(view.retry_in)}" if view.retry_in else ""
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="robots" content="noindex">
{refresh}
<title>{escape(view.title)}</title>
<link rel="icon" href="{escape(view.icon) or "data:,"}">
<style>{STYLE}</style>
</head>
<body data-look="{view.look}" data-events="{escape(events_path)}" data-status="{escape(event_data(status).decode())}">
<main>
<div class="tile" aria-hidden="true"><span id="letter"{" hidden" if icon else ""}>{escape(letter)}</span>{icon}</div>
<h1 dir="auto">{escape(view.name)}</h1>
<p id="headline" role="status" aria-live="polite">{escape(view.headline)}</p>
<div class="bar"><progress id="progress" aria-label="Progress" max="1"{value}></progress></div>
<p class="time"><span id="elapsed">{_seconds(math.floor(view.waited))}</span>
<span id="typical">{f"usually {_seconds(view.typical)}" if view.typical else ""}</span></p>
<div class="failure" id="failure" role="region" aria-label="Error" tabindex="0">{escape(view.failure)}</div>
<p class="retry"><a id="action" href="">{escape(view.action)}</a><span id="retry">{retry}</span></p>
<p class="earlier" id="earlier">{view.earlier}</p>
<ul id="done" aria-label="Finished steps">{"".join(f"<li>{escape(it)}</li>" for it in view.done)}</ul>
</main>
<script>{SCRIPT}</script>
</body>
</html>
"""


def _progress(waited: float, typical: float) -> float:
    """Return the progress from 0 to 0.95: 0.82 once the wake-up has taken as long as the last one."""
    return 0.95 * (1 - math.exp(-2 * waited / typical))


def _seconds(seconds: float | None) -> str:
    """Return a duration in the format that the page's script uses: ``12 s``, ``1 min 5 s``."""
    whole = math.ceil(seconds or 0)
    return f"{whole} s" if whole < 60 else f"{whole // 60} min {whole % 60} s"
