"""Counts the references to each cluster in one Envoy, so that no cluster is removed too early. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pilotage.xds.resources import LISTENER, SCOPE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pilotage.xds.resources import Key

__all__ = ["REFERENCING", "ClusterReferences"]

REFERENCING: Final = (LISTENER, SCOPE)
"""The types that reference clusters."""


class ClusterReferences:
    """Tracks which resources reference which clusters, among the resources that Envoy has or may have.

    Attributes:
        unknown: resources from before this session whose version, and so whose references, are unknown.

    """

    def __init__(self) -> None:
        self.unknown: set[Key] = set()
        self._clusters: dict[Key, frozenset[str]] = {}
        self._counts: dict[str, int] = {}
        self._initial: set[str] = set()

    def get(self, key: Key) -> frozenset[str]:
        """Return the clusters that a resource references."""
        return self._clusters.get(key, frozenset())

    def users(self, cluster: str) -> list[Key]:
        """Return the resources that reference a cluster."""
        return [key for key, clusters in self._clusters.items() if cluster in clusters]

    def add_initial(self, cluster: str) -> None:
        """Record a cluster from before this session. Resources whose version is unknown may reference it."""
        self._initial.add(cluster)

    def is_unreferenced(self, cluster: str, *, complete: bool) -> bool:
        """Return whether nothing can reference a cluster.

        Args:
            cluster: its name.
            complete: whether Envoy has named everything that it had before this session.

        """
        if self._counts.get(cluster):
            return False
        return cluster not in self._initial or (complete and not self.unknown)

    def set(self, key: Key, clusters: frozenset[str]) -> list[str]:
        """Set the references of a resource; return the clusters that nothing references any more."""
        if key[0] not in REFERENCING:
            return []
        before = self._clusters.pop(key, frozenset())
        if clusters:
            self._clusters[key] = clusters
        self._count(clusters - before, 1)
        return self._count(before - clusters, -1)

    def _count(self, names: Iterable[str], change: int) -> list[str]:
        """Change the counts of some clusters; return those that reached zero."""
        unreferenced = []
        for name in names:
            self._counts[name] = self._counts.get(name, 0) + change
            if not self._counts[name]:
                del self._counts[name]
                unreferenced.append(name)
        return unreferenced
