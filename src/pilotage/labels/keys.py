"""Selects pilotage's labels, splits their keys, and finds keys that look like a mistyped ``proxy.``. Pure.

Only this module decides which labels are in the namespace ``proxy.``; other modules only name such labels in messages.
Rules: decisions 3 and 28; LABELS II.1.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import msgspec

from pilotage.core.budget import MAX_PROBLEMS
from pilotage.core.hostnames import ascii_host
from pilotage.core.problems import Problem
from pilotage.core.suggest import edit_distance
from pilotage.core.text import count, shorten

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence

__all__ = [
    "CONTAINER_OPTIONS",
    "MAX_DEPTH",
    "NO_OWN_LABELS",
    "SHORTCUTS",
    "OwnLabels",
    "filter_labels",
    "fingerprint",
    "is_own",
    "shown_key",
    "split_key",
]

CONTAINER_OPTIONS: Final = (
    "aliases",
    "exclude",
    "network",
    "idle_timeout",
    "wake_timeout",
    "stop_method",
    "stop_timeout",
    "stop_signal",
    "start_endpoint",
    "depends_on",
    "no_loading_page",
)
"""Options of the whole container: ``proxy.<option>``."""

SHORTCUTS: Final[Mapping[str, str]] = {
    "ports": "port",
    "protos": "scheme",
    "protocols": "scheme",
    "schemes": "scheme",
    "hosts": "host",
    "binds": "bind",
    "roots": "root",
    "spas": "spa",
    "indexes": "index",
    "no_tls_verifies": "no_tls_verify",
    "response_header_timeouts": "response_header_timeout",
    "max_conns_per_hosts": "max_conns_per_host",
    "ssl_server_names": "ssl_server_name",
    "ssl_trusted_certificates": "ssl_trusted_certificate",
    "ssl_certificates": "ssl_certificate",
    "ssl_certificate_keys": "ssl_certificate_key",
    "agents": "agent",
    "inbound_mtls_profiles": "inbound_mtls_profile",
    "rule_files": "rule_file",
    "tls_terminations": "tls_termination",
    "proxy_protocol_headers": "relay_proxy_protocol_header",
    "disable_compressions": "disable_compression",
}
"""Shortcut -> field. ``proxy.<shortcut>`` lists one value per alias.

If several shortcuts set one field, the first in this order wins. The order is GoDoxy's (LABELS II.1.4).
"""

_NAMESPACE: Final = "proxy."
_AFTER_NAMESPACE: Final = len(_NAMESPACE)
_OPTION_KEYS: Final = frozenset(_NAMESPACE + option for option in CONTAINER_OPTIONS)
_MAX_FOREIGN: Final = 50_000
_LONG: Final = 500  # characters; longer keys and values are not worth caching
_SIGNS: Final = ("*", "#", "$")
_MAX_LABELS: Final = 2_000  # pilotage labels of a container
_MAX_SIZE: Final = 1024 * 1024  # characters in the keys and values of these labels together
_MAX_CHECKED: Final = 3_000  # labels of a container; more are not searched for misspelt keys
_LONGEST_KEY: Final = 1024  # characters
MAX_DEPTH: Final = 64
"""Maximum number of names below an alias in one label key."""
_FIRST_WORD: Final = re.compile(r"[^.\-_/:]*-?")


class OwnLabels(msgspec.Struct, frozen=True, gc=False):
    """The pilotage labels of one container.

    Attributes:
        options: key -> text, for the labels in :data:`CONTAINER_OPTIONS`.
        routes: key -> text, for all other labels in the namespace ``proxy.``, sorted by key.
        warnings: keys that look like a misspelled ``proxy.`` (decision 28).
        error: the problem if the pilotage labels are too many or too large, so that the container gets no routes
            (decision 36); otherwise ``None``.

    """

    options: dict[str, str] = {}
    routes: dict[str, str] = {}
    warnings: tuple[Problem, ...] = ()
    error: Problem | None = None

    @property
    def is_empty(self) -> bool:
        """Whether the container has no pilotage label; warnings do not count."""
        return not (self.options or self.routes or self.error)


NO_OWN_LABELS: Final = OwnLabels()


def is_own(key: str) -> bool:
    """Return whether a label key is in the namespace ``proxy.``."""
    return key.startswith(_NAMESPACE)


def filter_labels(labels: Mapping[str, str], foreign: set[str] | None = None) -> OwnLabels:
    """Select the pilotage labels from all labels of a container.

    Args:
        labels: all labels of the container, key -> text.
        foreign: keys known not to be pilotage's; new ones are added. Pass the same set for all containers of an engine.
            Most keys recur, so filtering then costs almost nothing.

    """
    warnings: tuple[Problem, ...] = ()
    if len(labels) > _MAX_CHECKED:
        ours = sorted(key for key in labels if key.startswith(_NAMESPACE))
        warnings = (_unchecked(len(labels)),)
    else:
        foreign = set() if foreign is None else foreign
        unknown = [key for key in labels if key not in foreign]
        if not unknown:
            return NO_OWN_LABELS
        unknown.sort()
        ours = unknown
        if unknown[0][:_AFTER_NAMESPACE] != _NAMESPACE or unknown[-1][:_AFTER_NAMESPACE] != _NAMESPACE:
            ours = [key for key in unknown if key[:_AFTER_NAMESPACE] == _NAMESPACE]
            warnings = _other_warnings(set(unknown).difference(ours), foreign)
    if not ours:
        return OwnLabels(warnings=warnings) if warnings else NO_OWN_LABELS
    options: dict[str, str] = {}
    routes: dict[str, str] = {}
    size = 0
    for key in ours:
        text = labels[key]
        size += len(key) + len(text)
        if key in _OPTION_KEYS:
            options[key] = text
        else:
            routes[key] = text
    if len(ours) > _MAX_LABELS or size > _MAX_SIZE:
        return OwnLabels(warnings=warnings, error=_size_error(len(ours)))
    return OwnLabels(options, routes, warnings)


def _unchecked(number: int) -> Problem:
    message = f"the container has {number:,} labels, so it is not searched for misspelled pilotage labels"
    return Problem(message=message, severity="warning", hint=f"at most {_MAX_CHECKED:,} are checked")


def _other_warnings(others: set[str], foreign: set[str]) -> tuple[Problem, ...]:
    """Return warnings for keys that look like a misspelled ``proxy.``, and add all other keys to ``foreign``."""
    misspelt = sorted(filter(_is_misspelt, others))
    if len(foreign) > _MAX_FOREIGN:
        foreign.clear()
    foreign.update(key for key in others.difference(misspelt) if len(key) < _LONG)
    warnings = tuple(map(_typo_warning, misspelt[:MAX_PROBLEMS]))
    if len(misspelt) <= MAX_PROBLEMS:
        return warnings
    message = f"{count(len(misspelt) - MAX_PROBLEMS, 'more label')} look misspelled, too"
    return (*warnings, Problem(message=message, severity="warning", hint=f"write {_NAMESPACE}"))


def _size_error(number: int) -> Problem:
    """Return the error for too many labels. No label is read, because reading only some could miss a restriction."""
    message = "the container has more than 1 MiB of pilotage labels"
    if number > _MAX_LABELS:
        message = f"the container has {number:,} pilotage labels; at most {_MAX_LABELS:,} are read"
    return Problem(message=f"{message}, so it gets no routes", hint="spread them over several containers")


def split_key(key: str) -> tuple[str, tuple[str, ...]]:
    """Split ``proxy.<alias>.<path>`` at every dot; return the alias in lower case and in ASCII, and the path.

    At most 65 path segments are kept, one more than ``MAX_DEPTH``, so the caller can tell that a key is too deep.
    """
    _, alias, *path = key.split(".", MAX_DEPTH + 3)
    is_plain = alias.isascii() or alias[0] in _SIGNS
    return alias.lower() if is_plain else ascii_host(alias), tuple(path[: MAX_DEPTH + 1])


def shown_key(key: str) -> str:
    """Return a label key for a problem: as written, or shortened if it is too long (decision 36)."""
    return key if len(key) <= _LONGEST_KEY else shorten(key, 200)


def fingerprint(own: OwnLabels, aliases: Sequence[str]) -> Hashable | None:
    """Return a fingerprint of the fields that the first, second, … alias gets. It does not depend on the aliases.

    Most containers share one of a few fingerprints, so they can share decoded settings.

    Returns:
        The fingerprint, or ``None`` if the result must not be shared: there are warnings, very long values, duplicate
        aliases, or labels of an alias that is not listed.

    """
    if own.warnings or (len(aliases) > 1 and len(set(aliases)) < len(aliases)):
        return None
    if len(aliases) == 1 and "." not in aliases[0] and aliases[0][:1] not in _SIGNS:
        # Most containers have one alias, and all their labels contain it. For these, the sorted labels without the
        # alias are enough.
        start = f"{_NAMESPACE}{aliases[0]}."
        size = len(start)
        fields = [(key[size:], text) for key, text in own.routes.items() if key[:size] == start and len(text) <= _LONG]
        if len(fields) == len(own.routes):
            return tuple(fields)
    parts = set()
    numbers = {alias: str(number) for number, alias in enumerate(aliases)}
    for key, text in own.routes.items():
        alias, _, _ = key[_AFTER_NAMESPACE:].partition(".")
        path = key[_AFTER_NAMESPACE + len(alias) :]
        if len(text) > _LONG:
            return None
        if alias[:1] in _SIGNS or (not path and alias in SHORTCUTS):
            parts.add((alias, path, text))
        elif alias in numbers:
            parts.add((numbers[alias], path, text))
        else:
            return None
    return len(aliases), frozenset(parts)


def _first_word(key: str) -> str:
    return str(next(_FIRST_WORD.finditer(key))[0])  # matches any key, but possibly an empty part of it


def _is_misspelt(key: str) -> bool:
    """Return whether a key looks like a misspelled ``proxy.``: ``prxy.``, ``proxy-``, ``Proxy.``."""
    word = _first_word(key)
    if word == "proxy-" or key == "proxy":
        return True
    if key[len(word) : len(word) + 1] != "." or word.endswith("-"):
        return False
    return word.lower() == "proxy" or edit_distance(word, "proxy", 1) <= 1


def _typo_warning(key: str) -> Problem:
    if key == "proxy":
        message = "the label has neither an alias nor a field"
        return Problem(message=message, hint="write proxy.<alias>.<field>", label=key)
    word = _first_word(key)
    rest = key[len(word) :]
    return Problem(
        message=f"{shorten(word)!r} is not a pilotage namespace, so this label has no effect",
        severity="warning",
        hint=f"did you mean {_NAMESPACE + shorten(rest.lstrip('.'))!r}?",
        label=shown_key(key),
    )
