"""Keeps resources that Envoys had before this process started until it is known that no route needs them. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pilotage.xds.resources import Key

__all__ = ["RemovalHold"]


class RemovalHold:
    """Decides whether resources may be removed from Envoys.

    A control plane that has just started does not yet know the routes of engines whose containers it has not listed.
    Until then, Envoys must keep the resources of these routes.
    """

    def __init__(self) -> None:
        self._active = False
        self._held: set[Key] = set()

    def begin(self) -> None:
        """Forbid removals until :meth:`end` is called."""
        self._active = True

    @property
    def is_active(self) -> bool:
        """Whether removals are forbidden."""
        return self._active

    def holds(self, key: Key) -> bool:
        """Return whether a resource must stay for now."""
        if self._active:
            self._held.add(key)
        return self._active

    def end(self) -> set[Key]:
        """Allow removals again. Return the keys of the resources that would have been removed."""
        self._active = False
        held, self._held = self._held, set()
        return held
