"""Removes secrets from labels before they leave the machine in a bug report. Pure.

A value is a secret if its key looks like that of one, in the label key (``proxy.app.middlewares.oidc.client_secret``)
or inside its YAML. Each value in the query of a URL or path (``/up?key=...``) is one, too. It is replaced in place, so
everything else keeps its line and column. If a text mentions such a key but is not valid YAML, all of it is removed.
Fields of the schema are never secrets, whatever their names.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import yaml

from pilotage.containers.compose import COMPOSE_DEPENDS_ON, COMPOSE_ONEOFF, COMPOSE_PROJECT, COMPOSE_SERVICE
from pilotage.core.values import ParseError
from pilotage.core.yaml import parse_yaml
from pilotage.labels.key_schema import fold
from pilotage.labels.keys import NO_OWN_LABELS, filter_labels, is_own, split_key
from pilotage.routes.mappings import StructKind
from pilotage.routes.schema import ROUTE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pilotage.routes.fields import Kind

__all__ = ["REMOVED", "holds_secret", "is_secret", "read_by_us", "redact_label", "redact_labels", "without_passwords"]

REMOVED: Final = "<removed>"

_READ: Final = frozenset(
    {COMPOSE_PROJECT, COMPOSE_SERVICE, COMPOSE_ONEOFF, COMPOSE_DEPENDS_ON, "org.opencontainers.image.version"}
)
_SECRET: Final = re.compile(
    r"pass(word|wd|phrase)?s?$|pwd$|secret|token|credential|keys?$|clientid$|basicauth$|^auth$|authorization$|cookie|session"
    r"|jwt|bearer|users?$|emails?$"
)
_IN_URL: Final = re.compile(r"(://)[^/\s@:]*:[^/\s@]*@")
_IN_QUERY: Final = re.compile(r"([?&][\w.~%\[\]-]+=)(?:[^&#\s\"',}\]]|[',}\]](?=[^\s,}\]]))+")
"""A value ends with the text, or where YAML may end it: at a quotation mark, comma or bracket before a delimiter."""

_WORD: Final = re.compile(r"[\w-]+")
_WITH_HTTP_HEADERS: Final = frozenset({"rules", "middlewares"})
_CREDENTIALS: Final = re.compile(r"\b((?:bearer|basic)\s+)[^\s\"',}\]]+", re.IGNORECASE)


def is_secret(key: str) -> bool:
    """Return whether a key looks like that of a secret: ``client_secret``, ``apiKey``, ``Authorization``."""
    return _SECRET.search(fold(key).replace("-", "")) is not None


def holds_secret(path: Iterable[str]) -> bool:
    """Return whether the value at a path below an alias is a secret. Fields of the schema never are."""
    kind: Kind | None = ROUTE
    for name in path:
        known, kind = _below(kind, name)
        if not known and is_secret(name):
            return True
    return False


def without_passwords(url: str) -> str:
    """Return the text without passwords in URLs."""
    return _IN_URL.sub(rf"\1{REMOVED}@", url)


def read_by_us(label: str) -> bool:
    """Return whether pilotage reads a label or warns about its spelling."""
    return label in _READ or filter_labels({label: ""}) != NO_OWN_LABELS


def redact_labels(labels: Mapping[str, str]) -> dict[str, str]:
    """Return the labels that pilotage reads, without secrets."""
    return {key: redact_label(key, text) for key, text in labels.items() if read_by_us(key)}


def redact_label(key: str, text: str) -> str:
    """Return a label's value without secrets."""
    if not is_own(key):
        return _without_url_secrets(text)
    _, path = split_key(key)
    if holds_secret(path):
        return REMOVED if text else text
    places = _secrets_in(text, _kind_at(path))
    if places is None:
        return REMOVED
    for start, end in places:
        text = text[:start] + REMOVED + text[end:]
    if not _WITH_HTTP_HEADERS.isdisjoint(map(fold, [*path, *_WORD.findall(text)])):
        text = _CREDENTIALS.sub(rf"\1{REMOVED}", text)
    return _without_url_secrets(text)


def _without_url_secrets(text: str) -> str:
    return _IN_QUERY.sub(rf"\1{REMOVED}", without_passwords(text))


def _kind_at(path: Iterable[str]) -> Kind | None:
    kind: Kind | None = ROUTE
    for name in path:
        _, kind = _below(kind, name)
    return kind


def _below(kind: Kind | None, name: str) -> tuple[bool, Kind | None]:
    """Return whether the mapping has a field with this name, and the kind of the field."""
    canonical = kind.canonical(name) if isinstance(kind, StructKind) else None
    if canonical is None or not isinstance(kind, StructKind):
        return False, None
    return True, kind.fields[canonical].kind


def _secrets_in(text: str, kind: Kind | None) -> list[tuple[int, int]] | None:
    """Return the positions of secrets in a YAML mapping or list, last one first; ``None`` if it is not valid."""
    if not any(map(is_secret, _WORD.findall(text))):
        return []
    try:
        document = parse_yaml(text)
        if document is None or not isinstance(document.value, dict | list):
            return []
        root = yaml.compose(text, Loader=yaml.SafeLoader)  # the Python loader's marks count characters, not bytes
    except (ParseError, yaml.YAMLError, ValueError, RecursionError):
        return None
    return sorted(set(_places(root, kind, secret=False)), reverse=True)


def _places(node: yaml.Node | None, kind: Kind | None, *, secret: bool) -> Iterator[tuple[int, int]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            name = str(key.value) if isinstance(key, yaml.ScalarNode) else ""
            known, inner = _below(kind, name)
            yield from _places(value, inner, secret=secret or (not known and is_secret(name)))
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _places(item, None, secret=secret)
    elif secret and isinstance(node, yaml.ScalarNode) and node.value:
        end = node.end_mark.index
        if node.style in ("|", ">"):  # a block scalar ends with a newline that the rest of the document needs
            end -= 1
        yield node.start_mark.index, end
