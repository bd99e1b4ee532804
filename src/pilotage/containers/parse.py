"""Parses one entry of an engine's list into a :class:`Container`. Pure.

Parsing never raises and never changes its input. A container with an error gets no routes; a container with only lesser
problems keeps its routes. Rules: LABELS II.3, decisions 13 to 16, 19, 21, 22, 26.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from pilotage.containers.compose import COMPOSE_DEPENDS_ON, COMPOSE_ONEOFF, COMPOSE_PROJECT, COMPOSE_SERVICE
from pilotage.containers.container import Container
from pilotage.containers.engine_facts import EngineFacts, engine_facts
from pilotage.containers.health import listed_health
from pilotage.containers.networks import ChosenNetwork, choose_network, default_network, not_attached
from pilotage.containers.swarm import (
    SERVICE_ID,
    SERVICE_NAME,
    SwarmServices,
    is_task,
    labels_not_read,
    not_a_task,
    reachable,
    unreachable,
)
from pilotage.core.problems import Problem
from pilotage.core.text import shorten
from pilotage.engine.types import Summary
from pilotage.labels.container_options import MAX_NAMES, decode_options, split_names, too_many
from pilotage.labels.keys import NO_OWN_LABELS, filter_labels

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pilotage.engine.config import DockerProviderConfig
    from pilotage.labels.container_options import ContainerOptions
    from pilotage.labels.keys import OwnLabels

__all__ = ["ContainerParser", "from_docker", "parse", "unreadable"]

_TRUE: Final = ("True", "true")  # Compose 1 and 2 both write True
_SUMMARY: Final = msgspec.json.Decoder(Summary)
# The data has another structure, is not JSON or UTF-8, or is nested a thousand levels deep.
_UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


def parse(summary: Summary, facts: EngineFacts, own: OwnLabels, options: ContainerOptions) -> Container:
    """Build a container from one list entry.

    Args:
        summary: an entry from ``GET /containers/json``.
        facts: the facts about the engine.
        own: the container's pilotage labels.
        options: the options decoded from these labels.

    """
    labels = summary.Labels or {}
    name = container_name(summary.Names)
    running = summary.State == "running" or summary.Status == "running"
    project = labels.get(COMPOSE_PROJECT, "")
    errors = [*facts.errors, *options.errors] if facts.errors or options.errors else []
    network, address = options.network, ""
    networks = (summary.NetworkSettings and summary.NetworkSettings.Networks) or {}
    unreached: Problem | None = None
    if facts.reaches_containers and networks and (network or running):
        usable = reachable(networks, facts.routes_to)
        lost = len(networks) - len(usable)
        if lost and running and (not usable or (network and network not in usable)):
            unreached = unreachable(networks.keys() - usable.keys())
        if network and network in networks and network not in usable:
            chosen = ChosenNetwork(network)
        else:
            chosen = choose_network(network, usable, project) if network else default_network(usable, project)
        network, address = chosen.name, (chosen.address if running else "")
        if chosen.error is not None:
            errors.append(chosen.error)
    elif facts.reaches_containers and network and running:
        errors.append(not_attached(network))
    public_host = facts.host if running else ""
    if running and not address and not public_host:
        errors.append(_NO_ADDRESS)
    problems = options.problems
    provider = facts.config.name
    if errors or problems:
        errors = [problem.at(provider=provider, container=name) for problem in errors]
        problems = tuple(problem.at(provider=provider, container=name) for problem in problems)
    if unreached is not None:
        unreached = unreached.at(provider=provider, container=name)
    host_config = summary.HostConfig
    mode = host_config.NetworkMode if host_config is not None else ""
    depends_on, idle = options.depends_on, options.idle
    if not depends_on and (text := labels.get(COMPOSE_DEPENDS_ON)):
        depends_on = split_names(text)
        if text.count(",") >= MAX_NAMES:
            problem = too_many("dependencies", COMPOSE_DEPENDS_ON)
            problems = (*problems, problem.at(provider=provider, container=name))
        if idle is not None:
            idle = msgspec.structs.replace(idle, depends_on=depends_on)
    return Container(  # by position, because keywords would double the time for this many fields
        facts.config,
        summary.Id,
        name,
        summary.Image,
        summary.ImageID,
        summary.Created,
        0.0,
        summary.State,
        summary.Status,
        running,
        listed_health(summary),
        options.aliases or ((labels.get(SERVICE_NAME, name).lower(),) if name else ()),
        labels,
        own,
        options.exclude is True,
        labels.get(COMPOSE_ONEOFF) in _TRUE and options.exclude is not False,
        project,
        labels.get(COMPOSE_SERVICE, ""),
        depends_on,
        mode,
        mode == "host" or (host_config is None and "host" in networks),
        network,
        tuple(sorted(networks)) if len(networks) > 1 else tuple(networks),
        address,
        public_host,
        summary.Ports or (),
        (),
        "",
        unreached,
        summary.Mounts or (),
        facts.agent,
        idle,
        tuple(errors),
        problems,
    )


_NO_ADDRESS: Final = Problem(
    message="no network found: neither the container nor its host has a reachable address",
    hint="check the engine's address in the configuration",
)


def container_name(names: Sequence[str] | None) -> str:
    """Return a container's own name, without its slash. Listed names with two slashes (``/a/b``) belong to links."""
    if not names:
        return ""
    for name in names:
        if "/" not in name[1:]:
            return name.removeprefix("/")
    return names[0].removeprefix("/")


class ContainerParser:
    """Parses the containers of one engine. Determines the engine's facts once, and remembers keys that are not ours.

    Args:
        config: the engine.
        agents: address (``host:port``) -> name of every known agent; if omitted, an agent has the provider's name.
        env: environment variables. Only ``DOCKER_HOST`` matters: it makes an engine with that URL local.
        routes_to: returns whether this host has a route to an address, other than its default route; if omitted, no
            address has such a route. The function is called only for addresses on overlay networks.

    Attributes:
        services: the services of the engine's swarm; ``None`` until they have been read.

    """

    def __init__(
        self,
        config: DockerProviderConfig,
        *,
        agents: Mapping[str, str] | None = None,
        env: Mapping[str, str] | None = None,
        routes_to: Callable[[str], bool] | None = None,
    ) -> None:
        self.facts = engine_facts(config, agents=agents, env=env, routes_to=routes_to)
        self._facts_of_url = self.facts
        self.services: SwarmServices | None = None
        self._foreign: set[str] = set()

    @property
    def config(self) -> DockerProviderConfig:
        """The engine."""
        return self.facts.config

    def set_rootless(self, rootless: bool) -> None:  # noqa: FBT001
        """Record whether the engine runs as an ordinary user, which is known only once pilotage is connected."""
        facts = self._facts_of_url
        self.facts = msgspec.structs.replace(facts, reaches_containers=False) if rootless else facts

    def take_name(self, name: str, agent: str) -> None:
        """Set the engine's name to ``name``. ``agent`` is the name that the agent in front of the engine reports."""
        config = msgspec.structs.replace(self.config, name=name)
        self.facts = msgspec.structs.replace(self.facts, config=config, agent=agent)
        self._facts_of_url = msgspec.structs.replace(self._facts_of_url, config=config, agent=agent)

    def decode(self, raw: bytes | bytearray | memoryview | msgspec.Raw) -> Container:
        """Build a container from one undecoded list entry. An unreadable entry becomes a container with an error."""
        try:
            return self.parse(_SUMMARY.decode(raw))
        except _UNREADABLE as error:
            try:
                known = msgspec.json.decode(raw, type=_Identity)
            except _UNREADABLE:
                known = _Identity()
            return unreadable(self.config, error, *_identity(known.Id, known.Names))

    def parse(self, summary: Summary) -> Container:
        """Build a container from one list entry. Never raises: an exception becomes an error of the container."""
        try:
            return self._parse(summary)
        except Exception as error:  # noqa: BLE001  # one container must not stop all routes of its engine
            return unreadable(self.config, error, *_identity(summary.Id, summary.Names))

    def _parse(self, summary: Summary) -> Container:
        written = summary.Labels or {}
        services = self.services if SERVICE_ID in written or SERVICE_NAME in written else None
        if services is not None:
            summary = services.complete(summary)
        own = filter_labels(summary.Labels, self._foreign) if summary.Labels else NO_OWN_LABELS
        container = parse(summary, self.facts, own, decode_options(own))
        problem: Problem | None = None
        if services is not None and services.error:
            problem = labels_not_read(written.get(SERVICE_NAME, ""), services.error) if own.is_empty else None
        elif services is not None and services.is_forged(summary.Id) and container.running:
            problem = not_a_task(written.get(SERVICE_NAME) or written.get(SERVICE_ID, ""))
        if problem is not None:
            problem = problem.at(provider=self.config.name, container=container.container_name)
            container = msgspec.structs.replace(container, problems=(*container.problems, problem))
        return container

    def is_forged(self, container: Container) -> bool:
        """Return whether a container has a task's labels, but the engine has not reported it as a task."""
        return self.services is not None and is_task(container) and self.services.is_forged(container.container_id)


def from_docker(
    summary: Summary | Mapping[str, Any] | bytes,
    config: DockerProviderConfig,
    *,
    agents: Mapping[str, str] | None = None,
    env: Mapping[str, str] | None = None,
) -> Container:
    """Build a :class:`Container` from one entry in the response to ``GET /containers/json``.

    Args:
        summary: the entry as a :class:`Summary`, a plain mapping or JSON bytes.
        config: the engine.
        agents: address (``host:port``) -> name of every known agent; if omitted, an agent has the provider's name.
        env: environment variables. Only ``DOCKER_HOST`` matters: it makes an engine with that URL local.

    Returns:
        The container, with its errors and problems. An unreadable entry becomes a container with an error.

    """
    parser = ContainerParser(config, agents=agents, env=env)
    if isinstance(summary, Summary):
        return parser.parse(summary)
    if isinstance(summary, bytes | bytearray | memoryview | msgspec.Raw):
        return parser.decode(summary)
    plain: object = summary
    try:
        return parser.parse(msgspec.convert(plain, Summary))
    except msgspec.ValidationError as error:
        known = plain if isinstance(plain, Mapping) else {}
        return unreadable(config, error, *_identity(known.get("Id"), known.get("Names")))


def unreadable(config: DockerProviderConfig, error: Exception, container_id: str = "", name: str = "") -> Container:
    """Return a placeholder for a malformed list entry: a container with an error and, if known, a name."""
    problem = Problem(
        message=f"the engine's list entry for a container cannot be read: {shorten(error, 160)}",
        provider=config.name,
        container=name or container_id[:12],
    )
    return Container(config, container_id, name, errors=(problem,))


class _Identity(msgspec.Struct, gc=False):
    """The ID and names in a list entry that cannot be read otherwise. Their values may have any type."""

    Id: Any = None
    Names: Any = None


def _identity(container_id: object, names: object) -> tuple[str, str]:
    """Return a container's ID and own name, each ``""`` if the value is not text."""
    texts = [name for name in names if isinstance(name, str)] if isinstance(names, list) else []
    return (container_id if isinstance(container_id, str) else "", container_name(texts))
