"""Lists the facts about a container: aliases, network, ports and idling, each with its reason or source. Pure.

:mod:`pilotage.containers` makes the decisions; this module puts them into sentences.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from pilotage.containers.compose import dependencies
from pilotage.containers.networks import shared_network_id
from pilotage.core.secrets import clean, clean_value
from pilotage.core.text import format_duration, shorten_value
from pilotage.labels.container_options import ALIASES, DEPENDS_ON, IDLE_LABELS, IDLE_TIMEOUT, NETWORK

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pilotage.containers.container import Container
    from pilotage.engine.types import Port
    from pilotage.labels.container_options import IdleConfig
    from pilotage.routes.build import Built
    from pilotage.routes.route import Route
    from pilotage.table.snapshot import FoundAgent

__all__ = [
    "Fact",
    "Source",
    "agent_facts",
    "container_facts",
    "deciding_rule",
    "has_alias",
]


class Source(msgspec.Struct, frozen=True):
    """A value and the label or file that sets it.

    Attributes:
        value: the value as written, shortened.
        label: key of the label; ``""`` if a file sets the value.
        line, column: 1-based position in the YAML of the label or file; 0 if the whole label is the value.
        file: name of the file; ``""`` if a label sets the value.

    """

    value: str
    label: str
    line: int = 0
    column: int = 0
    file: str = ""


class Fact(msgspec.Struct, frozen=True):
    """One property of a container or route, and the reason for it.

    Attributes:
        name: the property, e.g. ``port`` or ``healthcheck.path``.
        value: its value, as readable text.
        why: why the property has this value; ``""`` if ``source`` is explanation enough.
        source: the label or file that sets the value; ``None`` if neither does. Called ``written`` in JSON.
        instead_of: the values of other labels that this value overrides, the strongest first.

    """

    name: str
    value: str
    why: str = ""
    source: Source | None = msgspec.field(default=None, name="written")
    instead_of: tuple[Source, ...] = ()


def container_facts(container: Container, others: Mapping[str, str]) -> tuple[Fact, ...]:
    """Return the facts about a container as a whole.

    Args:
        container: the container.
        others: ID -> name of all containers on the same engine.

    """
    return tuple(_facts(container, others))


def _facts(container: Container, others: Mapping[str, str]) -> Iterator[Fact]:
    labels = container.actual_labels
    listed = labels.get(ALIASES, "")
    aliases = ", ".join(container.aliases) or "-"
    if listed.strip(", \t\n"):
        yield Fact("aliases", aliases, source=Source(shorten_value(listed), ALIASES))
    else:
        yield Fact("aliases", aliases, "the container's name, because proxy.aliases is not set")
    yield _network(container, others)
    if container.private_port_mapping or container.public_port_mapping:
        yield Fact("ports", _ports(container))
    if container.health:
        yield Fact("health", container.health, "the container's own health check")
    if container.compose_service:
        project = container.compose_project
        yield Fact("service", container.compose_service, f"in Compose project {project}" if project else "from Compose")
    depends = dependencies(container)
    if depends:
        own = labels.get(DEPENDS_ON)
        key = DEPENDS_ON if own else "com.docker.compose.depends_on"
        yield Fact(
            "depends_on", clean_value(", ".join(depends)), source=Source(shorten_value(labels.get(key, "")), key)
        )
    yield from _idle(container)


def agent_facts(container: Container, found: FoundAgent | None) -> Iterator[Fact]:
    """Yield facts about the agent of a container, and about the path of its requests.

    Args:
        container: the container.
        found: the known facts about the agent; ``None`` if it has not been found.

    """
    address = container.docker_cfg.agent
    if not address:
        return
    name = clean_value(container.agent) or "an agent"
    version = found.info.version if found is not None else ""
    until = f"certificate valid until {found.expires}" if found is not None and found.expires else ""
    yield Fact("agent", f"{name} at {clean_value(address)}{f', {version}' if version else ''}", until)
    target = container.private_hostname or "the agent's machine"
    yield Fact("path", f"gateway → agent {clean_value(address)} → {target}", "over mutual TLS to the agent")


def _network(container: Container, others: Mapping[str, str]) -> Fact:
    mode, name = container.network_mode, clean_value(container.network) or "-"
    if container.is_host_network_mode:
        return Fact(
            "network",
            "host",
            f"the container uses the host network; reached at {container.public_hostname or 'the host'}",
        )
    if peer := shared_network_id(container):
        return Fact("network", name, f"shared with container {others.get(peer, peer[:12])}")
    if mode == "none":
        return Fact("network", "none", "the container has no network and cannot be reached")
    if not container.running:
        return Fact("network", name, "the container has no address until it runs")
    asked = container.actual_labels.get(NETWORK, "")
    if any(problem.label == NETWORK for problem in container.errors):
        attached = ", ".join(container.networks) or "no network"
        return Fact("network", "-", f"no such network; attached to {attached}", Source(shorten_value(asked), NETWORK))
    if not container.private_hostname:
        if not container.public_hostname:
            return Fact("network", name, "the container has no address")
        why = f"container addresses are unreachable from here; using ports published on {container.public_hostname}"
        return Fact("network", name, why, Source(shorten_value(asked), NETWORK) if asked else None)
    if asked:
        why = "" if asked == container.network else f"{clean_value(asked)}, prefixed with the Compose project"
        return Fact("network", name, why, Source(shorten_value(asked), NETWORK))
    if len(container.networks) == 1:
        return Fact("network", name, "the container's only network")
    among = ", ".join(container.networks)
    if name == f"{container.compose_project}_default":
        return Fact("network", name, f"the Compose project's default network, preferred among {among}")
    return Fact(
        "network", name, f"the first by name with an address, among {among}; set proxy.network to choose another"
    )


def _ports(container: Container) -> str:
    if container.is_host_network_mode:
        return ", ".join(f"{number}/{port.Type}" for number, port in sorted(container.public_port_mapping.items()))
    return ", ".join(_port(number, port) for number, port in sorted(container.private_port_mapping.items())) or "none"


def _port(number: int, port: Port) -> str:
    published = f" published as {port.PublicPort}" if port.PublicPort else ""
    return f"{number}/{port.Type}{published}"


def _idle(container: Container) -> Iterator[Fact]:
    labels, config = container.actual_labels, container.idlewatcher_config
    given = [key for key in IDLE_LABELS if labels.get(key) and key != DEPENDS_ON]
    if config is None:
        if given and IDLE_TIMEOUT not in given:
            yield Fact(
                "idling",
                "off",
                f"{', '.join(given)} {'has' if len(given) == 1 else 'have'} no effect without proxy.idle_timeout",
            )
        return
    if not config.active:
        why = (
            "0 disables idling" if not config.idle_timeout else "the container sleeps only together with its dependents"
        )
        written = Source(shorten_value(labels[IDLE_TIMEOUT]), IDLE_TIMEOUT)
        yield Fact("idle_timeout", format_duration(config.idle_timeout), why, written)
        return
    for name, value in _idle_values(config):
        text = labels.get(f"proxy.{name}", "")
        if text:
            yield Fact(name, value, source=Source(shorten_value(text), f"proxy.{name}"))
        elif value:
            yield Fact(name, value, "default")


def _idle_values(config: IdleConfig) -> Iterator[tuple[str, str]]:
    yield "idle_timeout", format_duration(config.idle_timeout)
    yield "wake_timeout", format_duration(config.wake_timeout)
    yield "stop_method", config.stop_method
    yield "stop_timeout", format_duration(config.stop_timeout)
    yield "stop_signal", config.stop_signal
    yield "start_endpoint", clean(config.start_endpoint)
    yield "no_loading_page", "true" if config.no_loading_page else ""


def has_alias(route: Route, winner: Route) -> bool:
    """Return whether a route serves its alias, either alone or as one of several replicas.

    Args:
        route: the route of one container or file.
        winner: the table's route for the alias.

    """
    members = {winner.container_id, *(endpoint.container_id for endpoint in winner.endpoints)}
    return route.provider == winner.provider and route.container_id in members


def deciding_rule(built: Built) -> Iterator[Fact]:
    """Yield which rule, or the default, decides what a container may claim; nothing if there are no rules."""
    for route in built.routes:
        if route.claimant is not None:
            yield Fact("policy", route.claimant.decider)
            return
