"""Adds details that an engine's list leaves out and only an inspection contains. Pure.

Rules: LABELS II.3.7, Engine API ``GET /containers/{id}/json``.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import msgspec

from pilotage.containers.health import known_health
from pilotage.containers.networks import shared_network_id
from pilotage.containers.ports import exposed_ports, ports_from_inspect
from pilotage.core.problems import Problem
from pilotage.engine.types import Inspect, Port

if TYPE_CHECKING:
    from pilotage.containers.container import Container

__all__ = ["inspection_failed", "needs_inspection", "with_inspection", "with_start"]


def needs_inspection(container: Container, *, podman: bool) -> bool:
    """Return whether the container's routes need details that the engine's list leaves out.

    Docker omits the ports of a container on the host's network. Podman lists neither network modes nor exposed ports,
    and not all published ports.
    """
    if container.errors or not container.container_id:
        return False
    return container.is_host_network_mode or (podman and container.running and not container.network_mode)


def with_inspection(container: Container, answer: Inspect) -> Container:
    """Return a container with the details of its inspection added.

    On the host's network, the ports that the image exposes are ports on the host (LABELS II.3.7). On other networks,
    the inspected ports replace the listed ones, because Podman lists only some. A container that shares another
    container's network gets only the ports that it exposes itself, although Podman also reports those of the network's
    owner. The health status is added, too, because Podman does not list it.
    """
    container = with_start(container, answer)
    health = answer.State.Health if answer.State is not None else None
    if not container.health and health is not None:
        container = msgspec.structs.replace(container, health=known_health(health.Status))
    exposed = exposed_ports((answer.Config and answer.Config.ExposedPorts) or ())
    lists_mode = bool(container.network_mode)
    if not lists_mode and answer.HostConfig is not None:
        mode = answer.HostConfig.NetworkMode
        container = msgspec.structs.replace(container, network_mode=mode, is_host_network_mode=mode == "host")
    if container.is_host_network_mode:
        return _with_host_ports(container, exposed, lists_mode=lists_mode)
    settings = answer.NetworkSettings
    shares = bool(shared_network_id(container))
    bound = [] if shares else ports_from_inspect((settings and settings.Ports) or {})
    if not exposed and not bound and not shares:
        return container
    return msgspec.structs.replace(container, ports=(*exposed, *bound))


def with_start(container: Container, answer: Inspect) -> Container:
    """Return a container with the time of its last start added."""
    text = answer.State.StartedAt if answer.State is not None else ""
    try:
        moment = dt.datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError):  # not a time, or out of range
        return container
    return msgspec.structs.replace(container, started_at=max(0.0, moment))


def _with_host_ports(container: Container, exposed: list[Port], *, lists_mode: bool) -> Container:
    public: dict[int, Port] = {}
    for port in exposed:  # TCP comes before UDP
        public.setdefault(port.PrivatePort, Port(port.PrivatePort, port.PrivatePort, port.Type))
    container = msgspec.structs.replace(container, host_ports=tuple(public.values()))
    # Podman 4.3, unlike 5.4, does not report the ports that an image exposes on the host's network. An engine that
    # lists network modes is not Podman.
    if lists_mode or container.public_port_mapping:
        return container
    unknown = "the engine does not report the ports of containers on the host's network"
    return msgspec.structs.replace(container, ports_unknown=unknown)


def inspection_failed(container: Container, why: str) -> Container:
    """Return a container on the host's network with the error that its ports are unknown without an inspection."""
    problem = Problem(
        message=f"its ports are not known: the container uses the host's network, and inspecting it failed ({why})",
        hint="allow GET /containers/{id}/json, or exclude it with proxy.exclude",
        provider=container.provider,
        container=container.container_name,
    )
    return msgspec.structs.replace(container, errors=(*container.errors, problem))
