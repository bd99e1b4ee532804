"""Determines the facts about an engine that decide how its containers are reached. Pure.

Rules: LABELS II.3.5, II.3.6.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import msgspec

from pilotage.core.problems import Problem
from pilotage.engine.address import is_local, url_hostname
from pilotage.engine.config import DockerProviderConfig

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["EngineFacts", "engine_facts", "is_rootless"]

_AGENT: Final = "agent://"


def _routes_nowhere(_address: str) -> bool:
    return False


class EngineFacts(msgspec.Struct, frozen=True):
    """Facts about one engine.

    Attributes:
        config: the engine.
        host: the host on which the ports of the engine's containers are published.
        agent: name of the agent that relays to the engine; ``""`` if there is none.
        reaches_containers: whether container addresses can be reached from here.
        errors: errors that leave all containers of the engine without routes.
        routes_to: returns whether this host has a route to an address, other than its default route.

    """

    config: DockerProviderConfig
    host: str = ""
    agent: str = ""
    reaches_containers: bool = False
    errors: tuple[Problem, ...] = ()
    routes_to: Callable[[str], bool] = _routes_nowhere


def engine_facts(
    config: DockerProviderConfig,
    *,
    agents: Mapping[str, str] | None = None,
    env: Mapping[str, str] | None = None,
    routes_to: Callable[[str], bool] | None = None,
) -> EngineFacts:
    """Return the facts about one engine.

    Args:
        config: the engine.
        agents: address (``host:port``) -> name of every known agent; if omitted, the agent has the name in ``config``.
        env: environment variables. Only ``DOCKER_HOST`` matters: the engine with that URL counts as local.
        routes_to: returns whether this host has a route to an address, other than its default route; if omitted, no
            address has such a route. The function is called only for addresses on overlay networks.

    """
    url, agent = config.url, ""
    errors: tuple[Problem, ...] = ()
    if url.startswith(_AGENT):
        address = url.removeprefix(_AGENT)
        agent = (config.name or address) if agents is None else agents.get(address, "")
        if not agent:
            known = ", ".join(sorted(agents or ())) or "none"
            problem = Problem(message=f"agent {url!r} not found", hint=f"known agents: {known}", provider=config.name)
            errors = (problem,)
    local = is_local(url, env or {})
    return EngineFacts(
        config,
        host="127.0.0.1" if local else url_hostname(url),
        agent=agent,
        reaches_containers=bool(agent) or (local and not errors and not is_rootless(url)),
        errors=errors,
        routes_to=routes_to or _routes_nowhere,
    )


def is_rootless(url: str) -> bool:
    """Return whether a URL is the usual socket of a rootless engine, whose containers the host cannot reach."""
    path = url.removeprefix("unix://")
    return path.startswith("/run/user/") or path.endswith("/.docker/run/docker.sock")
