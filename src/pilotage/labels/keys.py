"""The keys of labels: what they name, which there are beside the fields of routes, and which are near misses. Pure.

The rules: LABELS I.3, I.28, II.1.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from pilotage.core.problems import Problem
from pilotage.core.suggest import edit_distance
from pilotage.core.text import shorten

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["CONTAINER_LABELS", "SHORTCUTS", "is_own", "label_shape", "near_namespaces", "own_keys", "split_key"]

CONTAINER_LABELS: Final = (
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

# In the order in which the reference looks at them: it matters where several fill one field (LABELS II.1.4).
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


@lru_cache(maxsize=16384)
def split_key(key: str) -> tuple[str, tuple[str, ...]]:
    """Return the alias, lower-cased, and the path of ``proxy.<alias>.<path>``. A dot always separates."""
    _, alias, *path = key.split(".")
    return alias.lower(), tuple(path)


_fine_keys: set[str] = set()
_MOST_FINE_KEYS: Final = 50_000
_LONG: Final = 500  # longer keys and values are not worth remembering
_SIGNS: Final = ("*", "#", "$")
_NAMESPACE: Final = re.compile(r"[^.\-_/:]*-?")


def own_keys(labels: Mapping[str, str]) -> list[str]:
    """Return the keys below ``proxy.``, in no order."""
    # What is known to be somebody else's is sorted out in C: this runs for every label of every container.
    return [key for key in labels.keys() - _fine_keys if key.startswith("proxy.")]


def is_own(key: str) -> bool:
    """Return whether a label key is in our namespace."""
    return key.startswith("proxy.")


def near_namespaces(labels: Mapping[str, str]) -> list[Problem]:
    """Report keys that look like a mistyped ``proxy.``: ``prxy.``, ``proxy-``, ``porxy.`` (decision 28)."""
    problems = []
    if len(_fine_keys) > _MOST_FINE_KEYS:
        _fine_keys.clear()
    for key in sorted(labels.keys() - _fine_keys):
        fault = None if key.startswith("proxy.") else _namespace_fault(key)
        if fault:
            problems.append(fault)
        elif not key.startswith("proxy.") and len(key) < _LONG:
            _fine_keys.add(key)
    return problems


def label_shape(labels: Mapping[str, str], aliases: Sequence[str]) -> tuple[int, frozenset[tuple[str, ...]]] | None:
    """Return what the labels of a container say, whatever its aliases are called.

    Containers of one shape have the same settings, alias for alias, and in a fleet most have one of a few shapes: so
    what was read once need not be read again. ``None`` when there may be something to say about the labels themselves,
    or an alias that is not listed.
    """
    said = set()
    for key in labels.keys() - _fine_keys:
        if not key.startswith("proxy."):
            return None
        alias, _, _ = key[6:].partition(".")
        path, value = key[6 + len(alias) :], labels[key]
        if len(value) > _LONG:
            return None
        if alias[:1] in _SIGNS or (not path and alias in SHORTCUTS):
            said.add((alias, path, value))
        elif alias in aliases:
            said.add((str(aliases.index(alias)), path, value))
        else:
            return None
    if len(aliases) > 1 and len(set(aliases)) < len(aliases):
        return None
    return len(aliases), frozenset(said)


def _namespace_fault(key: str) -> Problem | None:
    if key == "proxy":
        return Problem(
            message="the label names neither an alias nor a field", hint="write proxy.<alias>.<field>", label=key
        )
    first = _NAMESPACE.match(key)
    word = first.group() if first else ""
    rest = key[len(word) :]
    is_dashed = word == "proxy-"
    if not is_dashed and (not rest.startswith(".") or word.endswith("-") or word.lower() == "proxy"):
        return None
    if is_dashed or edit_distance(word, "proxy", 1) <= 1:
        return Problem(
            message=f"{shorten(word)!r} is not a namespace of pilotage, so this label has no effect",
            severity="warning",
            hint=f"did you mean {'proxy.' + shorten(rest.lstrip('.'))!r}?",
            label=key,
        )
    return None
