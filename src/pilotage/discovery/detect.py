"""Which engines there are on and from this machine, and whether each answers: for ``pilotage engines``."""

from __future__ import annotations

import asyncio
import os
import stat
import time
from typing import TYPE_CHECKING

import msgspec

from pilotage.containers.engine_facts import is_rootless
from pilotage.core.errors import ConfigError, PilotageError
from pilotage.engine.address import DockerProviderConfig
from pilotage.engine.contexts import default_engine, list_contexts, local_sockets
from pilotage.engine.pool import Pool, new_client

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["Found", "Probe", "discover", "named", "probe_all"]


class Found(msgspec.Struct, frozen=True):
    """An engine that may be there.

    Attributes:
        config: the engine.
        sources: where it was found: ``context prod``, ``socket``, ``--engine`` ...
        chosen: commands use it when no engine is named.

    """

    config: DockerProviderConfig
    sources: tuple[str, ...]
    chosen: bool = False


class Probe(msgspec.Struct, frozen=True):
    """What an engine answered.

    Attributes:
        found: the engine.
        kind: ``Docker``, ``Podman``, ``rootless Docker`` or ``rootless Podman``; ``""`` if it did not answer.
        version: its own version.
        api: the API versions it speaks, e.g. ``1.44-1.51``.
        latency: seconds until it had answered ``/version`` on a new connection.
        error: why it did not answer, and what to do; ``""`` if it did.

    """

    found: Found
    kind: str = ""
    version: str = ""
    api: str = ""
    latency: float = 0.0
    error: str = ""


def discover(env: Mapping[str, str]) -> list[Found]:
    """Return all engines that can be found without a configuration, the one that commands would use first.

    These are the one of ``DOCKER_HOST``, those of Docker contexts, and the usual sockets as far as they exist.
    """
    found: dict[str, Found] = {}

    def add(config: DockerProviderConfig, source: str, *, chosen: bool = False) -> None:
        known = found.get(config.url)
        if known is None:
            found[config.url] = Found(config, (source,), chosen)
        elif source not in known.sources:
            found[config.url] = msgspec.structs.replace(known, sources=(*known.sources, source))

    try:
        config, why = default_engine(env)
    except ConfigError:
        pass  # then all that is left are contexts that are not in force
    else:
        add(config, "DOCKER_HOST" if why.startswith("DOCKER_HOST") else "current", chosen=True)
    contexts = list_contexts(env)[1:]  # the first is the default, which the lines above have found if it exists
    for context in contexts:
        add(DockerProviderConfig(context.url, context.tls, context.name), f"context {context.name}")
    for path in local_sockets(env):
        if _is_socket(path):
            add(DockerProviderConfig(f"unix://{path}", name="local"), "socket")
    return list(found.values())


def _is_socket(path: str) -> bool:
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)  # noqa: PTH116  # every OSError says that we cannot use it
    except OSError:
        return False


async def probe_all(engines: Sequence[Found]) -> list[Probe]:
    """Ask every engine for its version, all at once, each on a connection of its own."""
    async with Pool() as pool, asyncio.TaskGroup() as group:
        tasks = [group.create_task(_probe(found, pool)) for found in engines]
    return [task.result() for task in tasks]


async def _probe(found: Found, pool: Pool) -> Probe:
    begin = time.perf_counter()
    try:
        async with await new_client(found.config, pool=pool, unique=True) as client:
            latency = time.perf_counter() - begin
            version, kind = client.version, client.kind
    except PilotageError as error:
        return Probe(found, error=_in_short(error, found.config.name))
    name = kind.capitalize()
    if is_rootless(found.config.url):
        name = f"rootless {name}"
    return Probe(found, name, version.Version, _range(version.MinAPIVersion, version.ApiVersion), latency)


def _in_short(error: PilotageError, name: str) -> str:
    return " ".join(str(error).split()).removeprefix(f"{name}: ")


def _range(*versions: str) -> str:
    return "-".join(dict.fromkeys(version for version in versions if version))


def named(configs: Iterable[DockerProviderConfig], source: str) -> list[Found]:
    """Return engines that somebody named."""
    return [Found(config, (source,), chosen=True) for config in configs]
