"""Defines the immutable :class:`Container`, which describes a container as its engine lists it."""

from __future__ import annotations

from typing import Final

import msgspec

from pilotage.containers.health import Health
from pilotage.containers.image import ContainerImage, image_name, parse_image
from pilotage.containers.ports import PortMapping, is_valid, map_ports
from pilotage.core.problems import Problem
from pilotage.engine.config import DockerProviderConfig
from pilotage.engine.types import Mount, Port
from pilotage.labels.container_options import IdleConfig
from pilotage.labels.keys import OwnLabels

__all__ = ["Container"]

_VERSION: Final = "org.opencontainers.image.version"


class Container(msgspec.Struct, frozen=True, gc=False):
    """A container, its networks and ports, and the options that its labels set.

    Created by :func:`pilotage.from_docker`. Routes are built later, from ``own_labels``, so changes to
    ``actual_labels`` or ``labels`` do not affect the routes. A container stores what the engine listed; rarely needed
    values, such as the parts of the image's name and the port mappings, are computed on access.

    Attributes:
        docker_cfg: configuration of the engine that the container runs on.
        container_id: the engine's id, 64 hexadecimal digits.
        container_name: name without the leading slash; ``""`` while the container is being removed.
        image_reference: the name of the container's image, as the engine lists it.
        image_id: the id of its image, with its ``sha256:`` prefix.
        created: time of creation, seconds since 1970.
        started_at: time of the last start, seconds since 1970; 0 unless an inspection has reported this time.
        state: the state that the engine reports: ``created``, ``running``, ``paused``, ``restarting``, ``exited``,
            ``removing`` or ``dead``.
        status: the engine's description, such as ``Up 3 hours (healthy)``.
        running: whether the container is running and not paused.
        health: result of the engine's health check; ``""`` if there is no health check, or the engine does not
            report the result.
        aliases: names for the container's routes, in lower case and in the order written, with duplicates.
        actual_labels: all labels, as the engine lists them.
        own_labels: its pilotage labels, from which its routes are built; ``None`` for a container that was not parsed,
            whose routes are built from ``labels``.
        is_excluded: whether ``proxy.exclude`` excludes the container from routing.
        is_oneoff: whether this is a one-off container of ``docker compose run`` (decision 22).
        compose_project, compose_service: Compose project and service; ``""`` if there is none.
        depends_on: containers that this container needs, such as ``db:service_healthy:false``.
        network_mode: the network mode that the engine reports, such as ``host``; ``""`` if it reports none.
        is_host_network_mode: whether the container uses the host's network.
        network: name of the network whose address is used; if no network is used, the value of ``proxy.network``.
        networks: names of the networks to which the container is attached, sorted.
        private_hostname: the container's address on ``network``; ``""`` while the container is not running, or if no
            address can be reached from here.
        public_hostname: the host that publishes the container's ports; ``""`` while the container is not running.
        ports: the port entries, as the engine lists them.
        host_ports: the ports that the container exposes on the host's network, from an inspection.
        ports_unknown: why the container's ports are not known; ``""`` if they are known.
        unreachable: the problem that explains why a running container has no reachable address; ``None`` if there is
            nothing to explain.
        mounts: the mounts, as the engine lists them.
        agent: name of the agent that relays to the engine; ``""`` if there is none.
        idlewatcher_config: how the container sleeps and wakes; ``None`` if it never sleeps.
        errors: errors that leave the container without routes.
        problems: other problems with the container's options.

    """

    docker_cfg: DockerProviderConfig
    container_id: str = ""
    container_name: str = ""
    image_reference: str = ""
    image_id: str = ""
    created: int = 0
    started_at: float = 0.0
    state: str = ""
    status: str = ""
    running: bool = False
    health: Health = ""
    aliases: tuple[str, ...] = ()
    actual_labels: dict[str, str] = {}
    own_labels: OwnLabels | None = None
    is_excluded: bool = False
    is_oneoff: bool = False
    compose_project: str = ""
    compose_service: str = ""
    depends_on: tuple[str, ...] = ()
    network_mode: str = ""
    is_host_network_mode: bool = False
    network: str = ""
    networks: tuple[str, ...] = ()
    private_hostname: str = ""
    public_hostname: str = ""
    ports: tuple[Port, ...] = ()
    host_ports: tuple[Port, ...] = ()
    ports_unknown: str = ""
    unreachable: Problem | None = None
    mounts: tuple[Mount, ...] = ()
    agent: str = ""
    idlewatcher_config: IdleConfig | None = None
    errors: tuple[Problem, ...] = ()
    problems: tuple[Problem, ...] = ()

    @property
    def labels(self) -> dict[str, str]:
        """All labels except those that set options of the container. Changing this dict does not affect routes."""
        own = self.own_labels
        if own is None or not own.options:
            return self.actual_labels
        return {key: text for key, text in self.actual_labels.items() if key not in own.options}

    @property
    def is_explicit(self) -> bool:
        """Whether it has a pilotage label (LABELS II.1.5)."""
        return self.own_labels is not None and not self.own_labels.is_empty

    @property
    def image(self) -> ContainerImage:
        """The image and the parts of its name."""
        return parse_image(self.image_reference, self.image_id, self.actual_labels.get(_VERSION, ""))

    @property
    def image_name(self) -> str:
        """The last part of its image's path: ``nginx``."""
        return image_name(self.image_reference)

    def exposes(self, port: int) -> bool:
        """Return whether the engine lists ``port`` as a port inside the container."""
        for entry in self.ports:  # noqa: SIM110  # this runs for every route, and a loop is faster
            if entry.PrivatePort == port and is_valid(entry):
                return True
        return False

    @property
    def port_mapping(self) -> PortMapping:
        """The container's ports, by port on the host and by port in the container."""
        mapping = map_ports(self.ports)
        if not self.host_ports:
            return mapping
        return PortMapping({port.PrivatePort: port for port in self.host_ports} | mapping.public, mapping.private)

    @property
    def public_port_mapping(self) -> dict[int, Port]:
        """Port on the host -> the engine's entry for this port."""
        return self.port_mapping.public

    @property
    def private_port_mapping(self) -> dict[int, Port]:
        """Port in the container -> the engine's entry for this port."""
        return self.port_mapping.private

    @property
    def provider(self) -> str:
        """Name of the engine in the configuration."""
        return self.docker_cfg.name

    @property
    def docker_health(self) -> bool:
        """Whether the engine reports the result of a health check of its own."""
        return self.health != ""

    @property
    def idles(self) -> bool:
        """Whether the container sleeps while it has no requests."""
        return self.idlewatcher_config is not None and self.idlewatcher_config.active

    def __repr__(self) -> str:
        where = f"{self.provider}/" if self.provider else ""
        return f"<Container {where}{self.container_name} {self.container_id[:12]} {self.image} {self.state}>"
