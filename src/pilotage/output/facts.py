"""Facts about containers with the reasons for them, and what would change a decision. Pure.

They are put together in `output.explain`. Each sentence states what a rule decided; the rules are those of the
modules that decide: :mod:`pilotage.containers` for networks and idling, :mod:`pilotage.routes.build` for exclusion.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from pilotage.containers.backends import blacklist_reason
from pilotage.containers.compose import PROJECT, SERVICE, dependencies
from pilotage.containers.idle import IDLE_LABELS
from pilotage.core.suggest import nearest
from pilotage.core.text import format_duration, shorten
from pilotage.routes.route import Excluded
from pilotage.routes.schema import PROTECTIVE, ROUTE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pilotage.containers.container import Container
    from pilotage.containers.idle import IdleConfig
    from pilotage.core.problems import Problem
    from pilotage.engine.types import Port
    from pilotage.routes.route import Route

__all__ = ["Fact", "Source", "container_facts", "has_alias", "label_for", "remedy"]


class Source(msgspec.Struct, frozen=True):
    """A value and where somebody wrote it.

    Attributes:
        value: as written, shortened.
        label: the label's key; ``""`` for what is written in a file.
        line, column: 1-based place inside a label in YAML, or the file; 0 when the whole label is the value.
        file: name of the file; ``""`` for labels.

    """

    value: str
    label: str
    line: int = 0
    column: int = 0
    file: str = ""


class Fact(msgspec.Struct, frozen=True):
    """One thing that is so, and why.

    Attributes:
        name: what it is about, e.g. ``port``, ``healthcheck.path``.
        value: what it is, for people.
        why: the reason in words; ``""`` when the label is reason enough.
        written: the label that says so; ``None`` when none does.
        instead_of: what other labels say and this one overrides, the strongest first.

    """

    name: str
    value: str
    why: str = ""
    source: Source | None = msgspec.field(default=None, name="written")
    instead_of: tuple[Source, ...] = ()


def label_for(container: Container, alias: str, field: str) -> str:
    """Return the key of the label that sets a field of an alias; by number where the alias has dots (LABELS II.1.3)."""
    if "." in alias and alias in container.aliases:
        return f"proxy.#{container.aliases.index(alias) + 1}.{field}"
    return f"proxy.{'*' if '.' in alias else alias}.{field}"


# ---- the container -------------------------------------------------------------------------------------------------


def container_facts(container: Container, others: Mapping[str, str]) -> tuple[Fact, ...]:
    """Return what is known about a container as a whole.

    Args:
        container: any container.
        others: id -> name of the engine's containers.

    """
    return tuple(_facts(container, others))


def _facts(container: Container, others: Mapping[str, str]) -> Iterator[Fact]:
    labels = container.actual_labels
    listed = labels.get("proxy.aliases", "")
    aliases = ", ".join(container.aliases) or "-"
    if listed.strip(", \t\n"):
        yield Fact("aliases", aliases, source=Source(shorten(listed), "proxy.aliases"))
    else:
        yield Fact("aliases", aliases, "the container's name, for there is no label proxy.aliases")
    yield _network(container, others)
    if container.private_port_mapping or container.public_port_mapping:
        yield Fact("ports", _ports(container))
    if container.health:
        yield Fact("health", container.health, "by the engine's own health check")
    if labels.get(SERVICE):
        project = labels.get(PROJECT, "")
        yield Fact("service", labels[SERVICE], f"of the compose project {project}" if project else "of compose")
    depends = dependencies(container)
    if depends:
        own = labels.get("proxy.depends_on")
        key = "proxy.depends_on" if own else "com.docker.compose.depends_on"
        yield Fact("depends_on", ", ".join(depends), source=Source(shorten(labels.get(key, "")), key))
    yield from _idle(container)


def _network(container: Container, others: Mapping[str, str]) -> Fact:
    mode, name = container.network_mode, container.network or "-"
    if container.is_host_network_mode:
        return Fact(
            "network",
            "host",
            f"it uses the host's network, so it is reached at {container.public_hostname or 'the host'}",
        )
    if mode.startswith("container:"):
        peer = mode.removeprefix("container:")
        return Fact("network", name, f"it shares the network of container {others.get(peer, peer[:12])}")
    if mode == "none":
        return Fact("network", "none", "it has no network, so nothing can reach it")
    if not container.running:
        return Fact("network", name, "addresses count only while a container runs")
    asked = container.actual_labels.get("proxy.network", "")
    if any(problem.label == "proxy.network" for problem in container.errors):
        attached = ", ".join(container.networks) or "no network"
        return Fact("network", "-", f"it is attached to {attached}", Source(shorten(asked), "proxy.network"))
    if not container.private_hostname:
        if not container.public_hostname:
            return Fact("network", name, "it has no address")
        why = f"its addresses cannot be reached from here, so its published ports at {container.public_hostname} are"
        return Fact("network", name, why, Source(shorten(asked), "proxy.network") if asked else None)
    if asked:
        why = "" if asked == name else f"the name {asked} with the compose project before it"
        return Fact("network", name, why, Source(shorten(asked), "proxy.network"))
    if len(container.networks) == 1:
        return Fact("network", name, "the only one it is attached to")
    among = ", ".join(container.networks)
    if name == f"{container.actual_labels.get(PROJECT, '')}_default":
        return Fact("network", name, f"the compose project's own, preferred among {among}")
    return Fact("network", name, f"the first by name that gives it an address, of {among}; proxy.network names another")


def _ports(container: Container) -> str:
    if container.is_host_network_mode:
        return ", ".join(f"{number}/{port.Type}" for number, port in sorted(container.public_port_mapping.items()))
    return ", ".join(_port(number, port) for number, port in sorted(container.private_port_mapping.items())) or "none"


def _port(number: int, port: Port) -> str:
    published = f" published as {port.PublicPort}" if port.PublicPort else ""
    return f"{number}/{port.Type}{published}"


def _idle(container: Container) -> Iterator[Fact]:
    labels, config = container.actual_labels, container.idlewatcher_config
    given = [key for key in IDLE_LABELS if labels.get(key) and key != "proxy.depends_on"]
    if config is None:
        if given and "proxy.idle_timeout" not in given:
            yield Fact(
                "idling",
                "off",
                f"{', '.join(given)} {'has' if len(given) == 1 else 'have'} no effect without proxy.idle_timeout",
            )
        return
    if not config.active:
        why = "0 switches it off" if not config.idle_timeout else "it sleeps only with what depends on it"
        written = Source(shorten(labels["proxy.idle_timeout"]), "proxy.idle_timeout")
        yield Fact("idle_timeout", format_duration(config.idle_timeout), why, written)
        return
    for name, value in _idle_values(config):
        text = labels.get(f"proxy.{name}", "")
        if text:
            yield Fact(name, value, source=Source(shorten(text), f"proxy.{name}"))
        elif value:
            yield Fact(name, value, "default")


def _idle_values(config: IdleConfig) -> Iterator[tuple[str, str]]:
    yield "idle_timeout", format_duration(config.idle_timeout)
    yield "wake_timeout", format_duration(config.wake_timeout)
    yield "stop_method", config.stop_method
    yield "stop_timeout", format_duration(config.stop_timeout)
    yield "stop_signal", config.stop_signal
    yield "start_endpoint", config.start_endpoint
    yield "no_loading_page", "true" if config.no_loading_page else ""


# ---- who has an alias ----------------------------------------------------------------------------------------------


def has_alias(route: Route, winner: Route) -> bool:
    """Tell whether a container's route is the one that its alias stands for, or a replica of it.

    Args:
        route: what one container wants.
        winner: what the table has for the alias.

    """
    members = {winner.container_id, *(endpoint.container_id for endpoint in winner.endpoints)}
    return route.provider == winner.provider and route.container_id in members


# ---- exclusion -----------------------------------------------------------------------------------------------------

_WAKE: Final[Mapping[str, str]] = {
    "created": "start it with 'docker start {name}'",
    "exited": "start it with 'docker start {name}'",
    "paused": "let it go on with 'docker unpause {name}'",
    "restarting": "it fails again and again; 'docker logs {name}' may say why",
    "removing": "it is on its way out",
    "dead": "the engine could not remove it; 'docker rm -f {name}' tries again",
}


def remedy(container: Container, route: Route, port_why: str) -> str:
    """Return what makes a route excluded, more closely than its reason does, and what would change that.

    Args:
        container: where the route comes from.
        route: the route; a served one gives ``""``.
        port_why: why its port is what it is.

    """
    name, alias = container.container_name, route.alias
    match route.excluded_reason:
        case Excluded.ERROR:
            if any(map(_may_protect, route.problems)):
                return "a setting that may keep people out cannot be read; mend the problems below"
            return "mend the problems below"
        case Excluded.MANUAL:
            said = shorten(container.actual_labels.get("proxy.exclude", ""))
            return f"its label proxy.exclude is {said!r}; set it to false, or remove it, to serve the container"
        case Excluded.ONEOFF:
            return "it was made by 'docker compose run'; proxy.exclude: false serves such a container all the same"
        case Excluded.NOT_RUNNING:
            hint = _WAKE.get(container.state, "start it").format(name=name)
            asleep = (
                "; with proxy.idle_timeout the first request wakes it"
                if container.state in ("exited", "created", "paused")
                else ""
            )
            return f"its state is {container.state or 'unknown'}; {hint}{asleep}"
        case Excluded.NO_PORT:
            return _no_port(container, alias, port_why)
        case Excluded.BLACKLISTED:
            why = blacklist_reason(container)
            return f"known by its {why}; any label of ours serves it all the same, e.g. proxy.aliases: {alias}"
        case Excluded.BUILDX:
            return "its name begins with buildx_, so it builds images; call it something else to serve it"
        case Excluded.ANCHOR:
            return "its alias begins with x-, as compose files call parts that are no services; give it another alias"
        case Excluded.RENAMING:
            return "its alias ends in -old, as containers do while they are replaced; give it another alias"
    return ""


def _may_protect(problem: Problem) -> bool:
    """Tell whether a problem is about a protective field, or one that may have been meant for it (decision 10)."""
    top = problem.path.partition(".")[0]
    return top in PROTECTIVE or nearest(top, ROUTE.fields) in PROTECTIVE


def _no_port(container: Container, alias: str, port_why: str) -> str:
    label = label_for(container, alias, "port")
    if "is not published" in port_why:
        return f"{port_why}, and only published ports can be reached here; publish it, e.g. with docker run -p"
    if container.is_host_network_mode:
        return f"it uses the host's network and its image exposes no port; name the port, e.g. {label}: 8080"
    return f"neither the image nor the container exposes a port; name it, e.g. {label}: 8080"
