"""From one element of an engine's list to a :class:`Container` (LABELS II.3, decisions 13 to 16, 19, 21, 26).

``from_docker`` never raises, whatever the engine answers, and never changes its input: what is wrong becomes an error
of the container, which then has no routes, or a problem of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec

from pilotage.containers.compose import ONEOFF, PROJECT
from pilotage.containers.container import Container, Health
from pilotage.containers.image import parse_image
from pilotage.containers.ports import exposed_ports, map_ports, ports_from_inspect
from pilotage.core.problems import Problem
from pilotage.core.suggest import did_you_mean
from pilotage.core.text import shorten
from pilotage.core.values import FALSE, TRUE, comma_list
from pilotage.engine.address import DockerProviderConfig, is_local, url_hostname
from pilotage.engine.types import Endpoint, Inspect, Port, Summary
from pilotage.labels.container_options import IDLE_LABELS, parse_idle
from pilotage.labels.keys import own_keys

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ContainerReader", "from_docker", "needs_inspection", "unreadable", "with_inspection", "with_network_of"]

CONSUMED: Final = frozenset({"proxy.network", "proxy.exclude", "proxy.aliases", *IDLE_LABELS})
_AGENT: Final = "agent://"
_YES: Final = ("True", "true")  # Compose 1 and 2 both write True
_IDLE_OFF: Final = "proxy.idle_timeout"
_SUMMARY: Final = msgspec.json.Decoder(Summary)
# Of another shape, not JSON at all, not UTF-8, nested a thousand levels deep.
_UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class ContainerReader:
    """Reads the containers of one engine: everything about the engine itself is worked out once.

    Args:
        config: the engine.
        agents: address (``host:port``) -> name of every known agent; by default an agent is its provider.
        env: environment variables; only ``DOCKER_HOST`` matters, which makes an engine local (LABELS II.3.5).

    Attributes:
        reaches_containers: container addresses can be reached from here.

    """

    def __init__(
        self,
        config: DockerProviderConfig,
        *,
        agents: Mapping[str, str] | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.config = config
        self.errors: tuple[Problem, ...] = ()
        self.agent = ""
        url = config.url
        if url.startswith(_AGENT):
            address = url.removeprefix(_AGENT)
            self.agent = (config.name or address) if agents is None else agents.get(address, "")
            if not self.agent:
                self.errors = (
                    Problem(
                        message=f"agent {url!r} not found",
                        hint=f"known agents: {', '.join(sorted(agents or ())) or 'none'}",
                        provider=config.name,
                    ),
                )
        local = is_local(url, env or {})
        self.host = "127.0.0.1" if local else url_hostname(url)
        self.reaches_containers = bool(self.agent) or (local and not self.errors and not is_rootless(url))

    def decode(self, raw: bytes | bytearray | memoryview | msgspec.Raw) -> Container:
        """Build the container of one undecoded list element; one that cannot be read becomes one with an error."""
        try:
            return self.read(_SUMMARY.decode(raw))
        except _UNREADABLE as error:
            try:
                known = msgspec.json.decode(raw, type=_Identity)
            except _UNREADABLE:
                known = _Identity()
            return unreadable(self.config, error, *_identity(known.Id, known.Names))

    def read(self, summary: Summary) -> Container:
        """Build the container of one list element."""
        labels = summary.Labels or {}
        name = container_name(summary.Names)
        status = summary.Status
        running = summary.State == "running" or status == "running"
        problems: list[Problem] = []
        errors: list[Problem] = list(self.errors)

        own = own_keys(labels)
        rest = labels
        aliases: tuple[str, ...] = ()
        network = ""
        excluded = False
        idle = None
        if own:
            if not CONSUMED.isdisjoint(own):
                rest = labels.copy()
                for key in CONSUMED.intersection(own):
                    del rest[key]
                aliases = tuple(comma_list(labels.get("proxy.aliases", "").lower()))
            network = labels.get("proxy.network", "")
            if "proxy.exclude" in labels:
                excluded = _excluded(labels["proxy.exclude"], problems)
            if _IDLE_OFF in labels:
                idle, faults = parse_idle(labels)
                errors += faults

        networks = (summary.NetworkSettings and summary.NetworkSettings.Networks) or {}
        address = ""
        if self.reaches_containers and networks:
            if network:
                network, address = _named_network(network, networks, labels.get(PROJECT, ""), errors)
            elif running:
                network, address = _automatic_network(networks, labels.get(PROJECT, ""))
            if not running:
                address = ""
        public_host = self.host if running else ""
        if running and not address and not public_host:
            errors.append(
                Problem(
                    message="no network found: the container has no address that can be reached, nor has its host",
                    hint="check the engine's address in the configuration",
                )
            )
        host_config = summary.HostConfig
        mode = host_config.NetworkMode if host_config is not None else ""
        ports = map_ports(summary.Ports)
        if errors or problems:
            where = {"provider": self.config.name, "container": name}
            errors = [problem.at(**where) for problem in errors]
            problems = [problem.at(**where) for problem in problems]
        return Container(
            docker_cfg=self.config,
            container_id=summary.Id,
            container_name=name,
            image=parse_image(summary.Image, summary.ImageID, labels.get("org.opencontainers.image.version", "")),
            created=summary.Created,
            state=summary.State,
            status=status,
            running=running,
            health=_health(summary),
            aliases=aliases or ((name.lower(),) if name else ()),
            labels=rest,
            actual_labels=labels,
            is_explicit=bool(own),
            is_excluded=excluded,
            is_oneoff=labels.get(ONEOFF) in _YES and labels.get("proxy.exclude") not in FALSE,
            network_mode=mode,
            is_host_network_mode=mode == "host" or (host_config is None and "host" in networks),
            network=network,
            networks=tuple(sorted(networks)) if len(networks) > 1 else tuple(networks),
            private_hostname=address,
            public_hostname=public_host,
            public_port_mapping=ports.public,
            private_port_mapping=ports.private,
            mounts=tuple(summary.Mounts or ()),
            agent=self.agent,
            idlewatcher_config=idle,
            errors=tuple(errors),
            problems=tuple(problems),
        )


def from_docker(
    summary: Summary | Mapping[str, Any] | bytes,
    config: DockerProviderConfig,
    *,
    agents: Mapping[str, str] | None = None,
    env: Mapping[str, str] | None = None,
) -> Container:
    """Build a :class:`Container` from one element of ``GET /containers/json``.

    Args:
        summary: the element, decoded, as a plain mapping or as JSON bytes.
        config: the engine that answered.
        agents: address (``host:port``) -> name of every known agent; by default an agent is its provider.
        env: environment variables; ``DOCKER_HOST`` alone matters, an engine with that very address is local.

    Returns:
        The container. What is wrong with it is in its ``errors`` and ``problems``; an element that cannot be read at
        all becomes a container with an error.

    """
    reader = ContainerReader(config, agents=agents, env=env)
    if isinstance(summary, Summary):
        return reader.read(summary)
    if isinstance(summary, bytes | bytearray | memoryview | msgspec.Raw):
        return reader.decode(summary)
    plain: object = summary
    try:
        return reader.read(msgspec.convert(plain, Summary))
    except msgspec.ValidationError as error:
        known = plain if isinstance(plain, Mapping) else {}
        return unreadable(config, error, *_identity(known.get("Id"), known.get("Names")))


def unreadable(config: DockerProviderConfig, error: Exception, container_id: str = "", name: str = "") -> Container:
    """Return the container that stands for a list element of a shape no engine should answer."""
    problem = Problem(
        message=f"the engine's answer for a container cannot be read: {shorten(error, 160)}",
        provider=config.name,
        container=name or container_id[:12],
    )
    image = parse_image("")
    return Container(docker_cfg=config, container_id=container_id, container_name=name, image=image, errors=(problem,))


class _Identity(msgspec.Struct, gc=False):
    """What names a container, of whatever types."""

    Id: Any = None
    Names: Any = None


def _identity(container_id: object, names: object) -> tuple[str, str]:
    """Return what can be made out of a container's id and name."""
    texts = [name for name in names if isinstance(name, str)] if isinstance(names, list) else []
    return (container_id if isinstance(container_id, str) else "", container_name(texts))


def with_inspection(container: Container, answer: Inspect) -> Container:
    """Fill in what the engine's list cannot know.

    For a container on the host's network: the ports its image exposes are ports of the host (LABELS II.3.7). For any
    other: its ports in full, where the engine's list had left some out (Podman does). Podman's list does not tell the
    health either.
    """
    health = answer.State.Health if answer.State is not None else None
    if not container.health and health is not None:
        container = msgspec.structs.replace(container, health=_known_health(health.Status))
    exposed = exposed_ports((answer.Config and answer.Config.ExposedPorts) or ())
    lists_mode = bool(container.network_mode)
    if not lists_mode and answer.HostConfig is not None:
        mode = answer.HostConfig.NetworkMode
        container = msgspec.structs.replace(container, network_mode=mode, is_host_network_mode=mode == "host")
    if container.is_host_network_mode:
        public = dict(container.public_port_mapping)
        for port in exposed:  # TCP comes before UDP
            public.setdefault(port.PrivatePort, Port(port.PrivatePort, port.PrivatePort, port.Type))
        # Podman, whose list has no mode, forgets what an image exposes on the host's network (4.3; 5.4 does not).
        unknown = (
            "" if public or lists_mode else "the engine does not tell the ports of containers on the host's network"
        )
        return msgspec.structs.replace(container, public_port_mapping=public, ports_unknown=unknown)
    settings = answer.NetworkSettings
    bound = ports_from_inspect((settings and settings.Ports) or {})
    if not exposed and not bound:
        return container
    ports = map_ports([*exposed, *bound])
    return msgspec.structs.replace(container, public_port_mapping=ports.public, private_port_mapping=ports.private)


def needs_inspection(container: Container, *, podman: bool) -> bool:
    """Tell whether an engine's list leaves out what its routes need.

    Docker: the ports of a container on the host's network. Podman lists neither network modes nor exposed ports, and of
    published ones not all.
    """
    if container.errors or not container.container_id:
        return False
    return container.is_host_network_mode or (podman and container.running and not container.network_mode)


def with_network_of(container: Container, peer: Container) -> Container:
    """Return the container with hostnames and ports of the one whose network it shares (decision 21).

    Args:
        container: one with ``network_mode: container:<id>``.
        peer: the container with that id, of the same engine.

    """
    return msgspec.structs.replace(
        container,
        is_host_network_mode=peer.is_host_network_mode,
        network=peer.network,
        networks=peer.networks,
        private_hostname=peer.private_hostname if container.running else "",
        public_hostname=peer.public_hostname if container.running else "",
        public_port_mapping=peer.public_port_mapping,
        private_port_mapping=peer.private_port_mapping,
    )


def container_name(names: Sequence[str] | None) -> str:
    """Return a container's own name: of its names the one with a single slash, for links (``/a/b``) are named too."""
    if not names:
        return ""
    for name in names:
        if "/" not in name[1:]:
            return name.removeprefix("/")
    return names[0].removeprefix("/")


@lru_cache(maxsize=256)
def is_rootless(url: str) -> bool:
    """Tell whether a local socket is that of a rootless engine, whose container addresses the host cannot reach."""
    path = url.removeprefix("unix://")
    return path.startswith("/run/user/") or path.endswith("/.docker/run/docker.sock")


def _health(summary: Summary) -> Health:
    """Read the health from the list: the field of API 1.52, else the end of the engine's sentence."""
    if summary.Health is not None and summary.Health.Status:
        return _known_health(summary.Health.Status)
    status = summary.Status
    if not status.endswith(")"):
        return ""
    if status.endswith("(healthy)"):
        return "healthy"
    if status.endswith("(unhealthy)"):
        return "unhealthy"
    return "starting" if status.endswith("(health: starting)") else ""


def _known_health(status: str) -> Health:
    return cast("Health", status) if status in ("starting", "healthy", "unhealthy") else ""


def _excluded(text: str, problems: list[Problem]) -> bool:
    """Read ``proxy.exclude``: what is not a boolean hides the container all the same, and is reported (decision 8)."""
    if text in TRUE:
        return True
    if text in FALSE or not text:
        return False
    problems.append(
        Problem(
            message=f"{shorten(text)!r} is not a boolean; the container stays excluded",
            hint="write true or false",
            value=shorten(text),
            label="proxy.exclude",
        )
    )
    return True


def _address(endpoint: Endpoint | None) -> str:
    return (endpoint.IPAddress or endpoint.GlobalIPv6Address) if endpoint is not None else ""


def _automatic_network(networks: Mapping[str, Endpoint | None], project: str) -> tuple[str, str]:
    """Choose a network when none is named: the compose project's default one, then by name (decision 16)."""
    if len(networks) > 1:
        default = f"{project}_default"
        for name in sorted(networks, key=lambda name: (name != default, name)):
            if address := _address(networks[name]):
                return name, address
        return "", ""
    for name, endpoint in networks.items():
        if address := _address(endpoint):
            return name, address
    return "", ""


def _named_network(
    wanted: str, networks: Mapping[str, Endpoint | None], project: str, errors: list[Problem]
) -> tuple[str, str]:
    """Find the network that ``proxy.network`` names, by its own name or with the compose project's prefix."""
    names = (wanted, f"{project}_{wanted}") if project else (wanted,)
    for name in names:
        if address := _address(networks.get(name)):
            return name, address
    if any(name in networks for name in names):
        return wanted, ""
    prefix = f"{project}_"
    short = [name.removeprefix(prefix) for name in networks] if project else []
    hint = did_you_mean(wanted, [*networks, *short]) or f"the container is attached to {', '.join(sorted(networks))}"
    errors.append(
        Problem(
            message=f"network {shorten(wanted)!r} not found", hint=hint, label="proxy.network", value=shorten(wanted)
        )
    )
    return wanted, ""
