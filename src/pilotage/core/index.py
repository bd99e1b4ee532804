"""Maps each key to the values that have it, so that a change need not search all values. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from collections.abc import Set as AbstractSet

__all__ = ["Index"]

_K = TypeVar("_K")
_V = TypeVar("_V")


class Index(Generic[_K, _V]):
    """Maps keys to values. It needs little more memory than a dictionary while most keys have one value.

    A value must not be a set.
    """

    def __init__(self) -> None:
        self._values: dict[_K, _V | set[_V]] = {}  # a single value is stored without a set

    def __iter__(self) -> Iterator[_K]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __contains__(self, key: object) -> bool:
        return key in self._values

    def __getitem__(self, key: _K) -> AbstractSet[_V]:
        """Return the values of a key, or an empty set. A later change to the index may also change this set."""
        found = self._values.get(key, _NONE)
        if found is _NONE:
            return frozenset()
        return found if isinstance(found, set) else {cast("_V", found)}

    def add(self, key: _K, value: _V) -> None:
        """Add a value to a key."""
        found = self._values.setdefault(key, value)
        if isinstance(found, set):
            found.add(value)
        elif found != value:
            self._values[key] = {found, value}

    def discard(self, key: _K, value: _V) -> bool:
        """Remove a value from a key; return whether it was the key's only value."""
        found = self._values.get(key, _NONE)
        if isinstance(found, set):
            found.discard(value)
            if len(found) == 1:
                self._values[key] = found.pop()
            return False
        if found is _NONE or found != value:
            return False
        del self._values[key]
        return True

    def replace(self, value: _V, before: Iterable[_K], now: Iterable[_K]) -> list[_K]:
        """Remove a value from the keys ``before`` and add it to ``now``; return the keys that now have no value."""
        for key in now:
            self.add(key, value)
        kept = set(now)
        return [key for key in before if key not in kept and self.discard(key, value)]


_NONE = object()
