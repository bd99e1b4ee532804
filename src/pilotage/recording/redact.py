"""Removes secrets from labels for bug reports. Pure.

:mod:`pilotage.core.secrets` decides what a secret is. Secrets inside YAML are replaced in place, so everything else
keeps its line and column. A text that should be a mapping but is not valid YAML is removed completely. Booleans are
kept: they are never secret, and they decide whether a route is served.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import yaml

from pilotage.containers.compose import COMPOSE_DEPENDS_ON, COMPOSE_ONEOFF, COMPOSE_PROJECT, COMPOSE_SERVICE
from pilotage.core.secrets import HIDDEN, SHOWN, UNSEEN, clean, fold, redact, shown_name
from pilotage.core.values import FALSE, TRUE, ParseError
from pilotage.core.yaml import parse_yaml
from pilotage.labels.keys import CONTAINER_OPTIONS, NO_OWN_LABELS, SHORTCUTS, filter_labels, is_own, split_key
from pilotage.routes.schema import ROUTE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pilotage.core.secrets import Visibility

__all__ = ["REMOVED", "read_by_us", "redact_label", "redact_labels", "without_passwords"]

REMOVED: Final = "<removed>"

_READ: Final = frozenset(
    {COMPOSE_PROJECT, COMPOSE_SERVICE, COMPOSE_ONEOFF, COMPOSE_DEPENDS_ON, "org.opencontainers.image.version"}
)
_HARMLESS: Final = TRUE | FALSE | {"", "null", "~"}
_RULES: Final = "rules"
_NO_RULE: Final = f"{REMOVED} {{}}"
"""Rules without their content: still rules, so the route is still served."""


def without_passwords(url: str) -> str:
    """Return a text without the passwords in its URLs."""
    return clean(url).replace(HIDDEN, REMOVED)


def read_by_us(label: str) -> bool:
    """Return whether pilotage reads a label or warns about its spelling."""
    return label in _READ or filter_labels({label: ""}) != NO_OWN_LABELS


def redact_labels(labels: Mapping[str, str]) -> dict[str, str]:
    """Return those labels that pilotage reads, with their secrets removed."""
    return {key: redact_label(key, text) for key, text in labels.items() if read_by_us(key)}


def redact_label(key: str, text: str) -> str:
    """Return a label's value without secrets."""
    if not is_own(key):
        return without_passwords(text) if key in _READ else _removed(text)
    alias, path = split_key(key)
    if not path and (alias in CONTAINER_OPTIONS or alias in SHORTCUTS):
        return _cleaned(text)
    visible = ROUTE.visible.at(path)
    if path and fold(path[0]) == _RULES and len(path) == 1:
        return _in_place(text, UNSEEN) or (_NO_RULE if text.strip() else text)
    if path and not (visible.fields or visible.names):
        return _cleaned(text, visible) if visible.shown else _in_place(text, visible) or _removed(text)
    found = _in_place(text, visible)
    if found is not None:
        return found
    if not path and ROUTE.visible.at((alias,)).shown:  # a field whose alias is missing
        return _cleaned(text)
    return _cleaned(text) if visible.shown and "\n" not in text else _removed(text)


def _cleaned(text: str, visible: Visibility = SHOWN) -> str:
    return str(redact(text, visible)).replace(HIDDEN, REMOVED)


def _removed(text: str) -> str:
    return text if text.strip() in _HARMLESS else REMOVED


def _in_place(text: str, visible: Visibility) -> str | None:
    """Return a YAML mapping or list without its secrets; ``None`` if the text is anything else."""
    try:
        document = parse_yaml(text)
        if document is None or not isinstance(document.value, dict | list):
            return text if document is None else None
        if _has_stray_names(text):
            return None
        root = yaml.compose(text, Loader=yaml.SafeLoader)  # the Python loader's marks count characters, not bytes
    except (ParseError, yaml.YAMLError, ValueError, RecursionError):
        return None
    for start, end, replacement in sorted(set(_places(root, visible)), reverse=True):
        text = text[:start] + replacement + text[end:]
    return clean(text).replace(HIDDEN, REMOVED)


def _has_stray_names(text: str) -> bool:
    """Return whether a text has a tag, an anchor or an alias.

    A secret may begin with ``!``, ``&`` or ``*``, or be the name of an anchor. An anchor may also carry a secret to a
    place where it would be shown.
    """
    found = yaml.scan(text, Loader=yaml.SafeLoader)
    return any(isinstance(token, yaml.TagToken | yaml.AnchorToken | yaml.AliasToken) for token in found)


def _places(node: yaml.Node | None, visible: Visibility, name: str = "") -> Iterator[tuple[int, int, str]]:
    """Yield start, end and replacement of every secret in a YAML document."""
    if isinstance(node, yaml.MappingNode):
        if node.flow_style and node.value and not (visible.fields or visible.names):
            yield node.start_mark.index, node.end_mark.index, REMOVED  # a secret in braces is a key
            return
        for key, value in node.value:
            inner = str(key.value) if isinstance(key, yaml.ScalarNode) else ""
            if visible.names and shown_name(inner) != inner:
                yield key.start_mark.index, key.end_mark.index, REMOVED
            yield from _places(value, visible.at((inner,)), inner)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _places(item, visible if visible.shown and isinstance(item, yaml.ScalarNode) else UNSEEN)
    elif isinstance(node, yaml.ScalarNode) and node.value.strip() not in _HARMLESS:
        if visible.shown and redact(node.value, visible) == clean(node.value):
            return  # cleaning the whole text is enough
        replacement = REMOVED if fold(name) != _RULES else f"'{_NO_RULE}'"
        end = node.end_mark.index
        if node.style in ("|", ">"):  # a block scalar ends with a newline that the rest of the document needs
            end -= 1
        yield node.start_mark.index, end, replacement
