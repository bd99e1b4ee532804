"""When an idle container is put to sleep, and how it wakes: the idle-watcher labels (LABELS II.5)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import msgspec

from pilotage.core.problems import Problem
from pilotage.core.suggest import did_you_mean
from pilotage.core.text import shorten
from pilotage.core.values import ParseError, go_bool, parse_duration

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["DEPENDS_ON", "IDLE_LABELS", "IdleConfig", "dependencies_from", "parse_idle"]

DEPENDS_ON: Final = "com.docker.compose.depends_on"

STOP_METHODS: Final = ("stop", "pause", "kill")
STOP_SIGNALS: Final = ("SIGINT", "SIGTERM", "SIGKILL", "SIGQUIT", "SIGHUP", "INT", "TERM", "KILL", "QUIT", "HUP")
WAKE_TIMEOUT: Final = 180.0
STOP_TIMEOUT: Final = 60.0

IDLE_LABELS: Final = (
    "proxy.idle_timeout",
    "proxy.wake_timeout",
    "proxy.stop_method",
    "proxy.stop_timeout",
    "proxy.stop_signal",
    "proxy.start_endpoint",
    "proxy.depends_on",
    "proxy.no_loading_page",
)


class IdleConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How a container sleeps and wakes. Times are in seconds.

    Attributes:
        idle_timeout: sleep after this long without a request. 0: never. Negative: never by itself, only with the
            container that depends on it.
        wake_timeout: give up waking after this long.
        stop_method: ``stop``, ``pause`` or ``kill``.
        stop_timeout: how long the engine waits before it kills.
        stop_signal: signal for stopping; ``""`` is the container's own.
        start_endpoint: the only path that wakes it; ``""`` for any.
        depends_on: what is woken before it, e.g. ``db:service_healthy``.
        no_loading_page: let browsers wait too, instead of showing a page.

    """

    idle_timeout: float
    wake_timeout: float = 0.0
    stop_method: str = ""
    stop_timeout: float = 0.0
    stop_signal: str = ""
    start_endpoint: str = ""
    depends_on: tuple[str, ...] = ()
    no_loading_page: bool = False

    @property
    def active(self) -> bool:
        """True when the container is put to sleep by itself."""
        return self.idle_timeout > 0


def parse_idle(labels: Mapping[str, str]) -> tuple[IdleConfig | None, list[Problem]]:
    """Read the idle-watcher labels of a container.

    Returns:
        The settings and no problems; ``None`` and no problems when ``proxy.idle_timeout`` is absent or empty (the other
        labels are ignored then); ``None`` and every problem found when something is wrong.

    """
    if not labels.get("proxy.idle_timeout"):
        return None, []
    reader = _Reader(labels)
    idle = reader.duration("proxy.idle_timeout")
    method = labels.get("proxy.stop_method", "")
    signal = labels.get("proxy.stop_signal", "")
    endpoint = labels.get("proxy.start_endpoint", "")
    config = IdleConfig(
        idle_timeout=idle or 0.0,
        wake_timeout=reader.duration("proxy.wake_timeout") or 0.0,
        stop_method=method,
        stop_timeout=reader.duration("proxy.stop_timeout") or 0.0,
        stop_signal=signal,
        start_endpoint=endpoint,
        depends_on=dependencies_from(labels),
        no_loading_page=reader.boolean("proxy.no_loading_page"),
    )
    if idle == 0:
        # Switched off: the rest is neither checked nor given defaults, but stays visible.
        return (None, reader.problems) if reader.problems else (config, [])
    reader.one_of("proxy.stop_method", method, STOP_METHODS)
    reader.one_of("proxy.stop_signal", signal, STOP_SIGNALS)
    reader.endpoint("proxy.start_endpoint", endpoint)
    if reader.problems:
        return None, reader.problems
    return (
        msgspec.structs.replace(
            config,
            wake_timeout=config.wake_timeout or WAKE_TIMEOUT,
            stop_timeout=config.stop_timeout or STOP_TIMEOUT,
            stop_method=method or STOP_METHODS[0],
            start_endpoint=endpoint.partition("#")[0],
        ),
        [],
    )


class _Reader:
    """Reads values and gathers what is wrong with them."""

    def __init__(self, labels: Mapping[str, str]) -> None:
        self.labels = labels
        self.problems: list[Problem] = []

    def fault(self, label: str, value: str, message: str, hint: str = "") -> None:
        self.problems.append(Problem(message=message, hint=hint, label=label, value=shorten(value)))

    def duration(self, label: str) -> float | None:
        text = self.labels.get(label, "")
        if not text:
            return None
        try:
            return parse_duration(text)
        except ParseError as error:
            self.fault(label, text, f"{shorten(text)!r}: {error.message}")
            return None

    def boolean(self, label: str) -> bool:
        text = self.labels.get(label, "")
        value = go_bool(text) if text else False
        if value is None:
            self.fault(label, text, f"{shorten(text)!r} is not a boolean", "write true or false")
        return bool(value)

    def one_of(self, label: str, value: str, allowed: tuple[str, ...]) -> None:
        if value and value not in allowed:
            message = f"{shorten(value)!r} is not allowed here; one of {', '.join(allowed)}"
            self.fault(label, value, message, did_you_mean(value, allowed))

    def endpoint(self, label: str, value: str) -> None:
        if not value:
            return
        path = value.partition("#")[0]
        if not path:
            self.fault(label, value, "the start endpoint is empty before its '#'", "write a path such as /api/wake")
        elif not (path == "*" or path.startswith("/") or _is_absolute_url(path)):
            self.fault(
                label, value, f"{shorten(value)!r} is neither an absolute path nor a URL", f"write /{path.lstrip('/')}"
            )


def _is_absolute_url(text: str) -> bool:
    try:
        parts: Any = urlsplit(text)
    except ValueError:
        return False
    return bool(parts.scheme and parts.netloc)


def dependencies_from(labels: Mapping[str, str]) -> tuple[str, ...]:
    """Do the work of :func:`dependencies` on a container's untouched labels."""
    own = tuple(piece for item in labels.get("proxy.depends_on", "").split(",") if (piece := item.strip()))
    if own:
        return own
    return tuple(piece for item in labels.get(DEPENDS_ON, "").split(",") if (piece := item.strip()))
