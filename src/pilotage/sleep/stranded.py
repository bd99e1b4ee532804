"""Wakes containers for requests that Envoy was sending to them when somebody else stopped them.

Envoy has already chosen the cluster of such a request, so it does not ask pilotage for another one. It retries the
request in that cluster, which no longer has an endpoint, and counts each failed attempt in its load reports.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from pilotage.sleep.state import Phase
from pilotage.xds.cluster_names import gate_of
from pilotage.xds.clusters import GRPC_SUFFIX, NO_ENDPOINT

if TYPE_CHECKING:
    from pilotage.sleep.units import Unit
    from pilotage.xds.load_reports import Report

__all__ = ["StrandedRequests"]

_MOST_ENVOYS: Final = 1000


class _Sleeper(Protocol):
    def unit(self, alias: str) -> Unit | None: ...
    def want(self, alias: str) -> None: ...


class StrandedRequests:
    """Wakes sleeping containers if an Envoy retries requests in a cluster that has lost its endpoints.

    If only requests to a certain path may wake the containers, they stay asleep, because reports do not contain paths.

    Args:
        sleeper: wakes the containers.

    """

    def __init__(self, sleeper: _Sleeper) -> None:
        self._sleeper = sleeper
        self._failed: dict[str, dict[str, int]] = {}  # node ID -> cluster -> failed attempts so far

    def reported(self, report: Report) -> None:
        """Wake sleeping containers for which the Envoy counts more failed attempts than in its previous report."""
        before = self._failed.pop(report.node, {})
        now = {
            cluster: sum(loads[address].failed for address in NO_ENDPOINT & loads.keys())
            for cluster, loads in report.loads.items()
            if gate_of(cluster) and not NO_ENDPOINT.isdisjoint(loads)
        }
        if now and len(self._failed) < _MOST_ENVOYS:  # an Envoy that has left is never removed
            self._failed[report.node] = now
        for cluster, failed in now.items():
            alias = gate_of(cluster.removesuffix(GRPC_SUFFIX))
            unit = self._sleeper.unit(alias)
            if unit is None or unit.state.phase is not Phase.ASLEEP or unit.config.start_endpoint:
                continue
            if failed > before.get(cluster, 0):
                self._sleeper.want(alias)
