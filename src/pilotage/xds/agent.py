"""Describes how Envoys reach an agent. Pure."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

import msgspec

from pilotage.routes.reach import nowhere
from pilotage.routes.route import bracketed

if TYPE_CHECKING:
    from pilotage.routes.route import Endpoint

__all__ = ["TUNNELLED", "Agent", "Tunnel", "host_of", "is_of_machine"]

TUNNELLED: Final = frozenset({"tcp", "udp", "h2c"})
"""Schemes of routes that reach their containers through tunnels. All others use the agent's HTTP proxy."""


def host_of(address: str) -> str:
    """Return the host of an address ``host:port``, without brackets."""
    return address.rpartition(":")[0].strip("[]")


def is_of_machine(agent: str, endpoint: Endpoint) -> bool:
    """Return whether an endpoint is a port on the agent's own machine that the agent may reach over loopback.

    If a label names a port that is not the container's own, the result is ``False``, because a label must not reach a
    service that listens only on loopback.

    Args:
        agent: address of the agent.
        endpoint: the endpoint.

    """
    host, reach = host_of(agent), endpoint.reach
    return endpoint.host == host and (reach is None or reach.owns(host, nowhere))


class Tunnel(msgspec.Struct, frozen=True):
    """A tunnel through an agent to one port.

    Envoy connects to a relay on its own machine, which opens a tunnel for each connection or, for udp, each client.

    Attributes:
        agent: address of the agent.
        place: the ``host:port`` to which the agent connects for the tunnel.
        udp: whether the tunnel carries datagrams.

    """

    agent: str
    place: str
    udp: bool = False

    @property
    def name(self) -> str:
        """File name of the relay's socket for this tunnel."""
        kind = " udp" if self.udp else ""
        return f"tunnel-{hashlib.sha256(f'{self.agent} {self.place}{kind}'.encode()).hexdigest()[:12]}"

    @property
    def host(self) -> str:
        """The host of :attr:`place`, without brackets."""
        return host_of(self.place)

    @property
    def port(self) -> int:
        """The port of :attr:`place`."""
        return int(self.place.rpartition(":")[2])


class Agent(msgspec.Struct, frozen=True):
    """The settings with which Envoys reach an agent.

    Attributes:
        address: ``host:port`` as configured, which identifies the agent.
        name: the name of the agent's engine.
        ip: the address to which the agent's host was resolved; ``""`` if the host could not be resolved.
        is_old: whether the agent is older than 0.18.6 and therefore expects different headers.
        tunnels: whether the agent can tunnel tcp and udp.
        in_host_network: whether the agent uses its machine's network, as agents for Docker do.
        problem: why the agent cannot be used at all; ``""`` if it can be used.
        relay: the folder with the sockets of the agent's tunnels; ``""`` if no relay opens tunnels.
        datagrams: whether that relay can tunnel udp, which needs pyOpenSSL.

    """

    address: str
    name: str = ""
    ip: str = ""
    is_old: bool = False
    tunnels: bool = True
    in_host_network: bool = True
    problem: str = ""
    relay: str = ""
    datagrams: bool = True

    @property
    def host(self) -> str:
        """The host of its address."""
        return host_of(self.address)

    @property
    def port(self) -> int:
        """The port of its address."""
        return int(self.address.rpartition(":")[2])

    @property
    def cluster(self) -> str:
        """Name of the cluster that all plain routes through it share."""
        return f"agent/{self.address}"

    def place_of(self, endpoint: Endpoint, address: str) -> str:
        """Return the ``host:port`` at which the agent reaches an endpoint. On its own machine, it uses loopback.

        Args:
            endpoint: the endpoint.
            address: the address to which the endpoint's host was resolved, or the host itself if it is an address.

        """
        own = self.in_host_network and is_of_machine(self.address, endpoint)
        return f"{'127.0.0.1' if own else bracketed(address)}:{endpoint.port}"

    def tunnel_to(self, endpoint: Endpoint, address: str, *, udp: bool = False) -> Tunnel:
        """Return the tunnel to an endpoint; see :meth:`place_of`."""
        return Tunnel(self.address, self.place_of(endpoint, address), udp)
