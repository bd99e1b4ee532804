"""Says why the daemon's Envoy does not serve the current table."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pilotage.gateway.process import GatewayStatus
    from pilotage.xds.server import AdsServer

__all__ = ["envoy_trouble"]


def envoy_trouble(status: GatewayStatus, ads: AdsServer, node: str) -> str:
    """Return why the daemon's Envoy does not serve the current table; ``""`` if it does.

    Args:
        status: the state of Envoy's process.
        ads: the control plane. The state of other Envoys does not matter.
        node: the node ID of the daemon's Envoy.

    """
    if status.state != "ready":
        return "Envoy is restarting"
    state = ads.envoys.local_state(node)
    if state is None:
        return "Envoy is not connected to the control plane"
    if state.problem is not None:
        return state.problem.message
    problems = ads.listener_problems(node)
    return problems[0].message if problems else ""
