"""All Envoy resources of a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pilotage.xds.snapshot import Snapshot

if TYPE_CHECKING:
    from pilotage.table.table import Table
    from pilotage.xds.options import GatewayOptions
    from pilotage.xds.resources import Resource

__all__ = ["build_resources"]


def build_resources(table: Table, options: GatewayOptions) -> dict[str, dict[str, Resource]]:
    """Return type URL -> name -> resource."""
    snapshot = Snapshot(options)
    snapshot.replace(table)
    found: dict[str, dict[str, Resource]] = {}
    for (type_url, name), item in sorted(snapshot.resources.items()):
        found.setdefault(type_url, {})[name] = item
    return found
