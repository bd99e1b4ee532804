"""Chooses the network on which a container is reached, and resolves shared networks (``container:<id>``). Pure.

Rules: LABELS II.3.6, decisions 15, 16 and 21.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import msgspec

from pilotage.core.problems import Problem
from pilotage.core.suggest import did_you_mean
from pilotage.core.text import shorten_value
from pilotage.labels.container_options import NETWORK

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pilotage.containers.container import Container
    from pilotage.engine.types import Endpoint

__all__ = [
    "ChosenNetwork",
    "choose_network",
    "default_network",
    "is_infra",
    "join_shared_network",
    "not_attached",
    "shared_network_id",
]

_SHARED: Final = "container:"


class ChosenNetwork(msgspec.Struct, frozen=True, gc=False):
    """A network and the container's address on it.

    Attributes:
        name: name of the network; ``""`` if there is none.
        address: the container's address on this network; ``""`` if it has no address there.
        error: the problem if ``proxy.network`` names a network to which the container is not attached; otherwise
            ``None``.

    """

    name: str
    address: str = ""
    error: Problem | None = None


def default_network(networks: Mapping[str, Endpoint | None], project: str) -> ChosenNetwork:
    """Return the first network with an address: first the Compose project's default, then by name (decision 16)."""
    names = list(networks)
    if len(names) > 1:
        default = f"{project}_default"
        names.sort(key=lambda name: (name != default, name))
    for name in names:
        if address := _address(networks[name]):
            return ChosenNetwork(name, address)
    return ChosenNetwork("")


def choose_network(wanted: str, networks: Mapping[str, Endpoint | None], project: str) -> ChosenNetwork:
    """Return the network that ``proxy.network`` names, with or without the Compose project's prefix, or an error."""
    names = (wanted, f"{project}_{wanted}") if project else (wanted,)
    for name in names:
        if address := _address(networks.get(name)):
            return ChosenNetwork(name, address)
    if any(name in networks for name in names):
        return ChosenNetwork(wanted)
    prefix = f"{project}_"
    short = [name.removeprefix(prefix) for name in networks] if project else []
    hint = did_you_mean(wanted, [*networks, *short]) or f"the container is attached to {', '.join(sorted(networks))}"
    shown = shorten_value(wanted)
    return ChosenNetwork(
        wanted, error=Problem(message=f"network {shown!r} not found", hint=hint, label=NETWORK, value=shown)
    )


def not_attached(wanted: str) -> Problem:
    """Return the error for ``proxy.network`` on a container that is attached to no network (LABELS II.3.6)."""
    shown = shorten_value(wanted)
    hint = "the container has no network of its own; attach it to the network, or remove the label"
    return Problem(message=f"network {shown!r} not found", hint=hint, label=NETWORK, value=shown)


def _address(endpoint: Endpoint | None) -> str:
    return (endpoint.IPAddress or endpoint.GlobalIPv6Address) if endpoint is not None else ""


def shared_network_id(container: Container) -> str:
    """Return the ID or name of the container whose network is shared; ``""`` if none is shared (decision 21)."""
    return container.network_mode.removeprefix(_SHARED) if container.network_mode.startswith(_SHARED) else ""


def join_shared_network(container: Container, others: Mapping[str, Container]) -> Container:
    """Apply :func:`with_network_of` to a container that shares a known container's network; change no other container.

    Args:
        container: any container.
        others: the engine's containers by id and by name.

    """
    owner_id = shared_network_id(container)
    if not owner_id:
        return container
    owner = others.get(owner_id)
    return container if owner is None or owner is container else with_network_of(container, owner)


def with_network_of(container: Container, owner: Container) -> Container:
    """Return a container with the hostnames and ports of the network's owner.

    In a Podman pod, the owner is the infra container, which has the published ports of all members. A member gets only
    the ports that it exposes itself, because other ports may belong to other members. If the owner was restarted after
    the container was, the container gets no hostnames, and ``unreachable`` says why.
    """
    shared = msgspec.structs.replace(
        container,
        is_host_network_mode=owner.is_host_network_mode,
        network=owner.network,
        networks=owner.networks,
        private_hostname=owner.private_hostname if container.running else "",
        public_hostname=owner.public_hostname if container.running else "",
        ports=owner.ports,
        host_ports=owner.host_ports,
    )
    if is_infra(owner):
        published, own = owner.private_port_mapping, container.private_port_mapping
        ports = tuple(published.get(number, entry) for number, entry in own.items())
        shared = msgspec.structs.replace(shared, ports=ports, ports_unknown="" if ports else _POD_PORTS)
    if container.running and owner.running and 0 < container.started_at < owner.started_at:
        shared = msgspec.structs.replace(
            shared, private_hostname="", public_hostname="", unreachable=_left_behind(container, owner)
        )
    return shared


_POD_PORTS: Final = "the published ports of its pod may belong to another member"


def is_infra(container: Container) -> bool:
    """Return whether a container exists only to hold the network of a Podman pod."""
    return container.image_name == "podman-pause" or bool(_INFRA.fullmatch(container.container_name))


_INFRA: Final = re.compile(r"[0-9a-f]{12}-infra")


def _left_behind(container: Container, owner: Container) -> Problem:
    """Return the problem that a container lost its network because the network's owner was restarted."""
    name = container.container_name
    return Problem(
        message=f"not reachable: it uses the network of {owner.container_name}, which was restarted after it",
        hint=f"restart {name}: 'docker restart {name}'",
        provider=container.provider,
        container=name,
    )
