"""Reads the options that labels set for a whole container: aliases, exclude, network and idling. Pure.

Rules: LABELS II.1.2, II.5.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import msgspec

from pilotage.core.budget import container_budget
from pilotage.core.hostnames import ascii_host
from pilotage.core.problems import Problem
from pilotage.core.secrets import holds_secret
from pilotage.core.suggest import did_you_mean
from pilotage.core.text import shorten_value
from pilotage.core.values import FALSE, TRUE, ParseError, comma_list, go_bool, parse_duration

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pilotage.labels.keys import OwnLabels

__all__ = [
    "ALIASES",
    "DEPENDS_ON",
    "EXCLUDE",
    "IDLE_LABELS",
    "IDLE_TIMEOUT",
    "NETWORK",
    "NO_OPTIONS",
    "ContainerOptions",
    "IdleConfig",
    "decode_options",
    "parse_idle",
    "split_names",
    "too_many",
]

ALIASES: Final = "proxy.aliases"
EXCLUDE: Final = "proxy.exclude"
NETWORK: Final = "proxy.network"
IDLE_TIMEOUT: Final = "proxy.idle_timeout"
DEPENDS_ON: Final = "proxy.depends_on"

_LONGEST_URL: Final = 4096  # characters
STOP_METHODS: Final = ("stop", "pause", "kill")
STOP_SIGNALS: Final = ("SIGINT", "SIGTERM", "SIGKILL", "SIGQUIT", "SIGHUP", "INT", "TERM", "KILL", "QUIT", "HUP")
WAKE_TIMEOUT: Final = 180.0
STOP_TIMEOUT: Final = 60.0

IDLE_LABELS: Final = (
    IDLE_TIMEOUT,
    "proxy.wake_timeout",
    "proxy.stop_method",
    "proxy.stop_timeout",
    "proxy.stop_signal",
    "proxy.start_endpoint",
    DEPENDS_ON,
    "proxy.no_loading_page",
)


class IdleConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How a container sleeps and wakes. Times are in seconds.

    Attributes:
        idle_timeout: sleep after this long without a request; 0: never sleep; negative: sleep only together with the
            container that depends on this one.
        wake_timeout: stop trying to wake the container after this long.
        stop_method: ``stop``, ``pause`` or ``kill``.
        stop_timeout: how long the container may take to stop before the engine kills it.
        stop_signal: signal that stops the container; ``""`` for the container's default.
        start_endpoint: the only request path that wakes the container; ``""`` for any path.
        depends_on: containers to wake before this one, e.g. ``db:service_healthy``.
        no_loading_page: let browsers wait instead of showing them a loading page.

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
        """Whether the container sleeps when it has no requests."""
        return self.idle_timeout > 0


class ContainerOptions(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Options that labels set for a container.

    Attributes:
        aliases: the aliases that ``proxy.aliases`` lists, in the order of the label, with duplicates; empty if it lists
            none. They are spelled as :func:`~pilotage.core.hostnames.ascii_host` returns them.
        exclude: whether to serve none of the container's routes; ``None`` if no label sets it.
        network: name of the network through which to reach the container; ``""`` for the default.
        idle: how the container sleeps and wakes; ``None`` if it never sleeps, or if an idle label is invalid.
        depends_on: containers that this one needs, e.g. ``db:service_healthy``.
        errors: errors that leave the container without routes.
        problems: other problems.

    """

    aliases: tuple[str, ...] = ()
    exclude: bool | None = None
    network: str = ""
    idle: IdleConfig | None = None
    depends_on: tuple[str, ...] = ()
    errors: tuple[Problem, ...] = ()
    problems: tuple[Problem, ...] = ()


NO_OPTIONS: Final = ContainerOptions()

MAX_NAMES: Final = 1_000
"""Maximum number of aliases of a container, and of the containers that it depends on (decision 36)."""


def decode_options(own: OwnLabels) -> ContainerOptions:
    """Decode the options of one container."""
    labels = own.options
    if own.error is not None:
        return ContainerOptions(errors=(own.error,))
    if not labels:
        return NO_OPTIONS
    listed = labels.get(ALIASES, "").lower()
    if len(labels) == 1 and _ONE_NAME.fullmatch(listed):
        return ContainerOptions(aliases=(ascii_host(listed),))
    is_plain = listed.isascii() and "." not in listed
    aliases = tuple(comma_list(listed, MAX_NAMES))
    is_harmless = _HARMLESS.fullmatch(listed) is not None
    aliases = aliases if is_plain else tuple(map(ascii_host, aliases))
    if len(labels) == 1 and 0 < len(aliases) <= MAX_NAMES and is_harmless:
        return ContainerOptions(aliases=aliases)
    budget = container_budget()
    holds_secrets = not is_harmless and budget.holds_secret(listed)
    exclude, problems = _exclude(labels.get(EXCLUDE, ""))
    if len(aliases) > MAX_NAMES:
        aliases = aliases[:MAX_NAMES]
        problems = (*problems, too_many("aliases", ALIASES))
    if labels.get(DEPENDS_ON, "").count(",") >= MAX_NAMES:
        problems = (*problems, too_many("dependencies", DEPENDS_ON))
    idle, errors = parse_idle(labels)
    if holds_secrets:
        parts = listed.split(",", MAX_NAMES)
        kept = ",".join(part for part in parts if _HARMLESS.fullmatch(part) or not budget.holds_secret(part))
        aliases = tuple(map(ascii_host, comma_list(kept, MAX_NAMES)))
        if aliases:
            problems = (*problems, _SECRET_ALIAS)
        else:
            errors.append(_SECRET_ALIAS)
    return ContainerOptions(
        aliases=aliases,
        exclude=exclude,
        network=labels.get(NETWORK, ""),
        idle=idle,
        depends_on=split_names(labels.get(DEPENDS_ON, "")),
        errors=tuple(errors),
        problems=problems,
    )


_ONE_NAME: Final = re.compile(r"[\w.*-]+")
_HARMLESS: Final = re.compile(r"[\w.*,\s-]*")
_SECRET_ALIAS: Final = Problem(
    message="an alias contains a password or another secret, or is too long to check for secrets, so it has no effect",
    hint="write a name such as shop, or a host such as shop.example.com",
    label=ALIASES,
)


def too_many(what: str, label: str) -> Problem:
    """Return the problem for a label that lists more than 1,000 names, of which only the first 1,000 are used."""
    message = f"the label lists more than {MAX_NAMES:,} {what}; only the first {MAX_NAMES:,} count"
    return Problem(message=message, hint="spread them over several containers", label=label)


def split_names(text: str) -> tuple[str, ...]:
    """Split a list of dependencies at its commas: ``"db:service_healthy, cache"``. Only the first 1,000 are used."""
    return tuple(name for item in text.split(",", MAX_NAMES)[:MAX_NAMES] if (name := item.strip()))


def _exclude(text: str) -> tuple[bool | None, tuple[Problem, ...]]:
    """Read ``proxy.exclude``. Text that is not a boolean counts as true and is reported as a problem (decision 8)."""
    if text in FALSE or not text:
        return (False if text else None), ()
    if text in TRUE:
        return True, ()
    shown = shorten_value(text)
    problem = Problem(
        message=f"{shown!r} is not a boolean; the container stays excluded",
        hint="write true or false",
        value=shown,
        label=EXCLUDE,
    )
    return True, (problem,)


def parse_idle(labels: Mapping[str, str]) -> tuple[IdleConfig | None, list[Problem]]:
    """Read the idle labels of a container.

    Returns:
        The settings and no problems; ``None`` and no problems if ``proxy.idle_timeout`` is absent or empty (the other
        labels have no effect then); or ``None`` and all problems.

    """
    if not labels.get(IDLE_TIMEOUT):
        return None, []
    reader = _OptionReader(labels)
    idle = reader.duration(IDLE_TIMEOUT)
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
        depends_on=split_names(labels.get(DEPENDS_ON, "")),
        no_loading_page=reader.boolean("proxy.no_loading_page"),
    )
    if idle == 0:
        # Idling is off. The other options are neither checked nor given defaults, but they stay visible.
        return (None, reader.problems) if reader.problems else (config, [])
    reader.one_of("proxy.stop_method", method, STOP_METHODS)
    reader.one_of("proxy.stop_signal", signal, STOP_SIGNALS)
    reader.endpoint("proxy.start_endpoint", endpoint)
    if reader.problems:
        return None, reader.problems
    completed = msgspec.structs.replace(
        config,
        wake_timeout=config.wake_timeout or WAKE_TIMEOUT,
        stop_timeout=config.stop_timeout or STOP_TIMEOUT,
        stop_method=method or STOP_METHODS[0],
        start_endpoint=endpoint.partition("#")[0],
    )
    return completed, []


class _OptionReader:
    """Reads option values and collects their problems."""

    def __init__(self, labels: Mapping[str, str]) -> None:
        self.labels = labels
        self.problems: list[Problem] = []

    def error(self, label: str, value: str, message: str, hint: str = "") -> None:
        self.problems.append(Problem(message=message, hint=hint, label=label, value=shorten_value(value)))

    def duration(self, label: str) -> float | None:
        text = self.labels.get(label, "")
        if not text:
            return None
        try:
            return parse_duration(text)
        except ParseError as error:
            self.error(label, text, f"{shorten_value(text)!r}: {error.message}")
            return None

    def boolean(self, label: str) -> bool:
        text = self.labels.get(label, "")
        value = go_bool(text) if text else False
        if value is None:
            self.error(label, text, f"{shorten_value(text)!r} is not a boolean", "write true or false")
        return bool(value)

    def one_of(self, label: str, value: str, allowed: tuple[str, ...]) -> None:
        if value and value not in allowed:
            message = f"{shorten_value(value)!r} is not allowed here; write one of {', '.join(allowed)}"
            self.error(label, value, message, did_you_mean(value, allowed))

    def endpoint(self, label: str, value: str) -> None:
        if not value:
            return
        path = value.partition("#")[0]
        if not path:
            self.error(label, value, "the start endpoint is empty before its '#'", "write a path such as /api/wake")
        elif path != value and _may_hold_secret(value):  # a secret could not be recognized in part of it
            self.error(label, value, f"{shorten_value(value)!r} has a '#'", "write only the path, such as /api/wake")
        elif not (path == "*" or path.startswith("/") or _is_absolute_url(path)):
            message = f"{shorten_value(value)!r} is neither an absolute path nor a URL"
            self.error(label, value, message, f"write /{shorten_value(path.lstrip('/'))}")


def _may_hold_secret(text: str) -> bool:
    return len(text) > _LONGEST_URL or holds_secret(text)


def _is_absolute_url(text: str) -> bool:
    if len(text) > _LONGEST_URL:
        return False
    try:
        parts: Any = urlsplit(text)
    except ValueError:
        return False
    return bool(parts.scheme and parts.netloc)
