"""Finds the engines that this machine can use and checks whether they respond, for ``pilotage engines``."""

from __future__ import annotations

import asyncio
import os
import stat
import time
from typing import TYPE_CHECKING, Final

import msgspec

from pilotage.core.errors import ConfigError, PilotageError
from pilotage.core.text import shorten
from pilotage.engine.agents import AgentInfo
from pilotage.engine.config import DockerProviderConfig
from pilotage.engine.contexts import default_engine, list_contexts, local_sockets, unverified_warning
from pilotage.engine.pool import Pool, new_client

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pilotage.engine.config import TLSFiles

__all__ = ["Candidate", "Probe", "candidates", "detect_engines", "probe_all"]


_VARIABLES: Final = ("DOCKER_HOST", "CONTAINER_HOST")


class Candidate(msgspec.Struct, frozen=True):
    """An engine that may exist.

    Attributes:
        config: the engine.
        sources: where the engine was found, such as ``context prod``, ``socket`` or ``--engine``.
        chosen: whether commands use this engine if the user names no engine.

    """

    config: DockerProviderConfig
    sources: tuple[str, ...]
    chosen: bool = False


class Probe(msgspec.Struct, frozen=True):
    """The response of a candidate.

    Attributes:
        found: the engine.
        kind: ``Docker``, ``Podman``, ``rootless Docker`` or ``rootless Podman``; ``""`` if it did not respond.
        version: the engine's version.
        api: supported API versions, e.g. ``1.44-1.51``.
        latency: seconds from connecting to the response to ``/version``.
        error: why it did not respond and what to do; ``""`` if it did.
        warning: why the connection is dangerous; ``""`` if it is not.
        agent: what the agent in front of the engine reports about itself; ``None`` if there is no agent.

    """

    found: Candidate
    kind: str = ""
    version: str = ""
    api: str = ""
    latency: float = 0.0
    error: str = ""
    warning: str = ""
    agent: AgentInfo | None = None


def detect_engines(env: Mapping[str, str]) -> list[Candidate]:
    """Return the engines that can be found without configuration. Commands use the first one.

    The sources are ``DOCKER_HOST``, Docker contexts, ``CONTAINER_HOST``, and the usual socket paths. Contexts that
    share an address but not their certificates are different engines.
    """
    found: dict[tuple[str, TLSFiles | None], Candidate] = {}

    def add(config: DockerProviderConfig, source: str, *, chosen: bool = False) -> None:
        key = (config.url, config.tls)
        known = found.get(key)
        if known is None:
            found[key] = Candidate(config, (source,), chosen)
        elif source not in known.sources:
            found[key] = msgspec.structs.replace(known, sources=(*known.sources, source))

    try:
        config, why = default_engine(env)
    except ConfigError:
        pass  # no engine is chosen; list the contexts and sockets
    else:
        variable = why.partition(" ")[0]
        add(config, variable if variable in _VARIABLES else "current", chosen=True)
    contexts = list_contexts(env)[1:]  # the first one is the default, added above
    for context in contexts:
        add(DockerProviderConfig(context.url, context.tls, context.name), f"context {context.name}")
    if podman := env.get("CONTAINER_HOST"):
        add(DockerProviderConfig(podman, name="podman"), "CONTAINER_HOST")
    for path in local_sockets(env):
        if _is_socket(path):
            add(DockerProviderConfig(f"unix://{path}", name="local"), "socket")
    return list(found.values())


def _is_socket(path: str) -> bool:
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)  # noqa: PTH116  # any OSError means that it is unusable
    except OSError:
        return False


async def probe_all(engines: Sequence[Candidate]) -> list[Probe]:
    """Ask every engine for its version concurrently, each on its own connection."""
    async with Pool() as pool, asyncio.TaskGroup() as group:
        tasks = [group.create_task(_probe(found, pool)) for found in engines]
    return [task.result() for task in tasks]


async def _probe(found: Candidate, pool: Pool) -> Probe:
    begin = time.perf_counter()
    try:
        async with await new_client(found.config, pool=pool, unique=True) as client:
            latency = time.perf_counter() - begin
            version, kind, rootless, agent = client.version, client.kind, client.is_rootless, client.agent
    except PilotageError as error:
        return Probe(found, error=_one_line(error, found.config.name))
    name = kind.capitalize()
    if rootless:
        name = f"rootless {name}"
    warning = unverified_warning(found.config)
    return Probe(
        found,
        name,
        shorten(version.Version, 40),
        _range(shorten(version.MinAPIVersion, 20), version.ApiVersion),
        latency,
        warning="" if warning is None else warning.message,
        agent=agent,
    )


def _one_line(error: PilotageError, name: str) -> str:
    return " ".join(str(error).split()).removeprefix(f"{name}: ")


def _range(*versions: str) -> str:
    return "-".join(dict.fromkeys(version for version in versions if version))


def candidates(configs: Iterable[DockerProviderConfig], source: str) -> list[Candidate]:
    """Return a chosen candidate for each engine that the user named in ``source``, e.g. ``--engine``."""
    return [Candidate(config, (source,), chosen=True) for config in configs]
