"""Describes the spelling of the keys below an alias, as plain data. Pure.

:mod:`pilotage.routes.schema` builds the schema from the table of fields; :mod:`pilotage.labels.decode` uses it.
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
        below: keys of the mapping below this key; ``None`` if the field is not a mapping.
        is_yaml: whether label text for this key is parsed as a YAML mapping at once. If not, the text is parsed only
            when a label with a longer path needs a mapping.

    """

    name: str
    below: KeySchema | None = None
    is_yaml: bool = False


class KeySchema(msgspec.Struct, frozen=True):
    """The keys of one mapping.

    Attributes:
        keys: folded spelling -> key.
        protective: canonical names of the fields that restrict access. A route is not served if one of them is invalid.
        lower: whether :meth:`find` lower-cases the name of an unlisted key.
        below: schema of the mapping under an unlisted key.
        is_yaml: whether label text for an unlisted key is a YAML mapping.
        free: whether arbitrary keys are allowed, at any depth.
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
        """Return the key with this spelling; for an unlisted key, return a new :class:`Key` with this name."""
        if self.keys:
            known = self.keys.get(fold(written))
            if known is not None:
                return known
        name = written.lower() if self.lower else written
        return Key(name, self if self.free else self.below, self.is_yaml)

    def knows(self, written: str) -> bool:
        """Return whether ``keys`` lists this key, in any spelling."""
        return fold(written) in self.keys


FREE_KEYS: Final = KeySchema(free=True)
"""A mapping with any keys, kept as written."""
