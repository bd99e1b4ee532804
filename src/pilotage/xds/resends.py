"""Marks scopes (route configurations) that are sent again, so that Envoy applies them. Pure.

If Envoy 1.40 rejects one scope of a response, it has already stored the scopes before it, without serving them. If they
are sent again, it acknowledges them but ignores them, because they equal what it has stored (``addOrUpdateScopes`` in
``scoped_rds.cc``). Requests would get 404, or reach the address of an earlier version. Each new attempt therefore has a
different mark in the scope's metadata, which nothing reads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from envoy.config.route.v3 import route_pb2, scoped_route_pb2

from pilotage.xds.resources import Frame

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Resends"]

_KEY: Final = "pilotage.attempt"
_ROUTES: Final = Frame(scoped_route_pb2.ScopedRouteConfiguration, "route_configuration")


class Resends:
    """Knows which scopes one Envoy may have stored without serving them."""

    def __init__(self) -> None:
        self._attempts: dict[str, int] = {}  # scope -> number of rejected responses that contained it
        self._accepted: set[str] | None = None

    def take_over(self) -> None:
        """Record that Envoy had another session before. Scopes that it has not acknowledged since then are marked."""
        if self._accepted is None:
            self._accepted = set()

    def rejected(self, names: Iterable[str]) -> None:
        """Record that Envoy has rejected a response with these scopes."""
        for name in names:
            self._attempts[name] = self._attempts.get(name, 0) + 1

    def accepted(self, name: str) -> None:
        """Record that Envoy has applied or removed a scope."""
        self._attempts.pop(name, None)
        if self._accepted is not None:
            self._accepted.add(name)

    def may_be_stored(self, name: str) -> bool:
        """Return whether Envoy may have stored a scope without serving it, in this session."""
        return name in self._attempts

    def mark(self, name: str, now: float) -> bytes:
        """Return the bytes to append to a serialized scope.

        Args:
            name: name of the scope.
            now: the current time, which distinguishes sessions.

        """
        attempts = self._attempts.get(name, 0)
        if not attempts and (self._accepted is None or name in self._accepted):
            return b""
        marked = route_pb2.RouteConfiguration()
        marked.metadata.filter_metadata[_KEY].update({"number": f"{now}/{attempts}"})
        return _ROUTES(marked.SerializeToString(deterministic=True))  # Envoy merges both occurrences of the field
