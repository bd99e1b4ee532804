"""A container as pilotage sees it: a frozen value made of one engine's answer."""

from __future__ import annotations

from typing import Literal

import msgspec

from pilotage.containers.image import ContainerImage
from pilotage.core.problems import Problem
from pilotage.engine.address import DockerProviderConfig
from pilotage.engine.types import Mount, Port
from pilotage.labels.container_options import IdleConfig

__all__ = ["Container", "Health"]

Health = Literal["", "starting", "healthy", "unhealthy"]


class Container(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A container, its place in the networks, and what its labels say about it as a whole.

    Made by :func:`pilotage.from_docker`; what its labels say about its routes is read later.

    Attributes:
        docker_cfg: the engine it runs on.
        container_id: the engine's id, 64 hexadecimal digits.
        container_name: its name without the leading slash; ``""`` while it is being removed.
        image: what it runs.
        created: when it was created, seconds since 1970.
        state: the engine's word: ``created``, ``running``, ``paused``, ``restarting``, ``exited``, ``removing``,
            ``dead``.
        status: the engine's sentence, such as ``Up 3 hours (healthy)``.
        running: True when it runs and is not paused.
        health: the engine's own health check; ``""`` when there is none or the engine does not say.
        aliases: the names it wants to be reached by, lower-cased, in order, duplicates kept.
        labels: the labels left for routes and other uses.
        actual_labels: all labels as the engine gave them.
        is_explicit: it carries a label of ours (LABELS II.1.5).
        is_excluded: ``proxy.exclude`` says so.
        is_oneoff: a one-off of ``docker compose run`` (decision 22).
        network_mode: as the engine says, ``""`` if it does not.
        is_host_network_mode: it uses the host's network.
        network: name of the network whose address is used, else what ``proxy.network`` asks for.
        networks: names of the networks it is attached to, sorted.
        private_hostname: its address in that network; ``""`` if there is none or it cannot be reached from here.
        public_hostname: the host that publishes its ports; ``""`` while it does not run.
        public_port_mapping: port on the host -> entry.
        private_port_mapping: port in the container -> entry.
        ports_unknown: why the engine cannot tell the ports, ``""`` where it can.
        mounts: all of them.
        agent: name of the agent through which it is reached, ``""`` without one.
        idlewatcher_config: how it sleeps and wakes, ``None`` if it never sleeps.
        errors: why no route can come of it; any error means no routes.
        problems: what else is wrong with its labels, without such effect.

    """

    docker_cfg: DockerProviderConfig
    container_id: str
    container_name: str
    image: ContainerImage
    created: int = 0
    state: str = ""
    status: str = ""
    running: bool = False
    health: Health = ""
    aliases: tuple[str, ...] = ()
    labels: dict[str, str] = {}
    actual_labels: dict[str, str] = {}
    is_explicit: bool = False
    is_excluded: bool = False
    is_oneoff: bool = False
    network_mode: str = ""
    is_host_network_mode: bool = False
    network: str = ""
    networks: tuple[str, ...] = ()
    private_hostname: str = ""
    public_hostname: str = ""
    public_port_mapping: dict[int, Port] = {}
    private_port_mapping: dict[int, Port] = {}
    ports_unknown: str = ""
    mounts: tuple[Mount, ...] = ()
    agent: str = ""
    idlewatcher_config: IdleConfig | None = None
    errors: tuple[Problem, ...] = ()
    problems: tuple[Problem, ...] = ()

    @property
    def provider(self) -> str:
        """Name of the engine in the configuration."""
        return self.docker_cfg.name

    @property
    def docker_health(self) -> bool:
        """True when the engine itself checks the container's health."""
        return self.health != ""

    @property
    def idles(self) -> bool:
        """True when the container is put to sleep while nobody asks for it."""
        return self.idlewatcher_config is not None and self.idlewatcher_config.active

    def __repr__(self) -> str:
        where = f"{self.provider}/" if self.provider else ""
        return f"<Container {where}{self.container_name} {self.container_id[:12]} {self.image} {self.state}>"
