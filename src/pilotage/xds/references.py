"""Tracks which resources reference each cluster in one Envoy, so that no cluster is removed too early. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pilotage.core.index import Index
from pilotage.xds.resources import LISTENER, SCOPE

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from pilotage.xds.resources import Key

__all__ = ["REFERENCING", "ClusterReferences"]

REFERENCING: Final = (LISTENER, SCOPE)
"""The types that reference clusters."""


class ClusterReferences:
    """Tracks which resources reference which clusters, among the resources that Envoy has or may have.

    Attributes:
        unknown: resources that Envoy had before this session, in versions that this process does not know. Their
            references are therefore unknown.

    """

    def __init__(self) -> None:
        self.unknown: set[Key] = set()
        self._clusters: dict[Key, frozenset[str]] = {}
        self._users: Index[str, Key] = Index()
        self._initial: set[str] = set()

    def get(self, key: Key) -> frozenset[str]:
        """Return the clusters that a resource references."""
        return self._clusters.get(key, frozenset())

    def users(self, cluster: str) -> AbstractSet[Key]:
        """Return the resources that reference a cluster."""
        return self._users[cluster]

    def add_initial(self, cluster: str) -> None:
        """Record a cluster that Envoy had before this session, because :attr:`unknown` resources may reference it."""
        self._initial.add(cluster)

    def is_unreferenced(self, cluster: str, *, complete: bool) -> bool:
        """Return whether nothing can reference a cluster.

        Args:
            cluster: name of the cluster.
            complete: whether Envoy has listed all resources that it had before this session.

        """
        if cluster in self._users:
            return False
        return cluster not in self._initial or (complete and not self.unknown)

    def set(self, key: Key, clusters: frozenset[str]) -> list[str]:
        """Set the clusters that a resource references; return those that no resource references any more."""
        if key[0] not in REFERENCING:
            return []
        before = self._clusters.pop(key, frozenset())
        if clusters:
            self._clusters[key] = clusters
        return self._users.replace(key, before, clusters)
