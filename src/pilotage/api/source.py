"""Defines the data that the HTTP API needs. The daemon provides it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pilotage.api.certificates import CertificateSource
    from pilotage.api.history import ChangeHistory
    from pilotage.api.metrics import Metrics
    from pilotage.core.problems import Problem
    from pilotage.discovery.manager import DiscoveryManager
    from pilotage.output.urls import GatewayPorts
    from pilotage.sleep.sleeper import Sleeper
    from pilotage.table.envoys import EnvoyState, RouteState
    from pilotage.table.traffic import RouteTraffic

__all__ = ["Source"]


class Source(Protocol):
    """The data that the API serves."""

    discovery: DiscoveryManager
    metrics: Metrics
    history: ChangeHistory

    @property
    def sleeper(self) -> Sleeper | None:
        """The object that puts containers to sleep and wakes them; ``None`` if containers do not sleep here."""

    @property
    def certificates(self) -> CertificateSource | None:
        """The object that obtains certificates; ``None`` if there is none here."""

    @property
    def gateway_ports(self) -> GatewayPorts | None:
        """The gateway's addresses and domains, for the URLs of routes; ``None`` if the daemon runs no gateway."""

    @property
    def revision(self) -> int:
        """A number that changes whenever an Envoy connects, disconnects, accepts or rejects something."""

    @property
    def config_file(self) -> str:
        """Absolute path of the configuration file; ``""`` if there is none."""

    def problems(self) -> tuple[Problem, ...]:
        """Return all problems with labels, engines and the configuration, and all rejections by Envoys."""

    def not_ready(self) -> str:
        """Return why the daemon is not ready; ``""`` if it is."""

    def envoys(self) -> tuple[EnvoyState, ...]:
        """Return the state of each Envoy that is connected or was within the last hour."""

    def route_states(self, alias: str) -> Mapping[str, RouteState]:
        """Return node ID -> state of a route, for each connected Envoy; empty if the route is not served."""

    async def traffic(self) -> Mapping[str, RouteTraffic]:
        """Return name -> request statistics, for each route and pool; empty while Envoy does not respond."""

    async def gateway_statistics(self) -> bytes:
        """Return Envoy's metrics in Prometheus's text format.

        Raises:
            GatewayError: the daemon runs no Envoy, or its Envoy does not respond.

        """
