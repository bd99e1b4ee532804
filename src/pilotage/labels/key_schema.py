"""Describes the spelling of the keys below an alias, as plain data. Pure.

:mod:`pilotage.routes.schema` builds it from the table of fields; :mod:`pilotage.labels.decode` reads it.
"""

from __future__ import annotations

from typing import Final

import msgspec

from pilotage.core.secrets import UNSEEN, Visibility, fold

__all__ = ["FREE_KEYS", "Key", "KeySchema", "fold"]


class Key(msgspec.Struct, frozen=True):
    """The meaning of a written key.

    Attributes:
        name: canonical name.
        below: keys of the mapping below it; ``None`` if the field is not a mapping.
        is_yaml: whether label text for this key is a YAML mapping. If not, it stays text until a deeper label needs a
            mapping.

    """

    name: str
    below: KeySchema | None = None
    is_yaml: bool = False


class KeySchema(msgspec.Struct, frozen=True):
    """The keys of one mapping.

    Attributes:
        keys: folded spelling -> key.
        protective: canonical names of the fields that restrict access: a route must not be served without them.
        lower: whether unlisted keys are lower-cased.
        below: keys of the mapping below an unlisted key.
        is_yaml: whether label text for an unlisted key is a YAML mapping.
        free: whether any keys are allowed, at any depth.
        visible: which parts of the values may be shown.

    """

    keys: dict[str, Key] = {}
    protective: frozenset[str] = frozenset()
    lower: bool = False
    below: KeySchema | None = None
    is_yaml: bool = False
    free: bool = False
    visible: Visibility = UNSEEN

    def find(self, written: str) -> Key:
        """Return the key with this spelling; an unlisted key stands for itself."""
        if self.keys:
            known = self.keys.get(fold(written))
            if known is not None:
                return known
        name = written.lower() if self.lower else written
        return Key(name, self if self.free else self.below, self.is_yaml)

    def knows(self, written: str) -> bool:
        """Return whether the key is listed, in any spelling."""
        return fold(written) in self.keys


FREE_KEYS: Final = KeySchema(free=True)
"""A mapping with any keys, kept as written."""
