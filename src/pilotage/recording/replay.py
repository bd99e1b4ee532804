"""Replays recorded engine responses, for bug reports, tests and what-if questions. Pure.

A recording is a JSON object:

``provider``
    the engine's ``name`` and ``url``.
``containers``
    the response to ``GET /containers/json?all=1``.
``env``, ``agents``
    ``DOCKER_HOST`` and the known agents (address -> name), if the routes depend on them.
``inspect_exposed_ports``
    container ID -> keys of ``Config.ExposedPorts`` of a container on the host network. If such a container's ID is
    missing, the container could not be inspected.
``inspect``
    container ID -> further fields of the inspection, for engines with an incomplete list.
``rootless``
    whether the engine runs as an ordinary user. If this is missing, as in recordings made by pilotage 0.1, the URL
    decides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from pilotage.containers.inspection import inspection_failed, with_inspection
from pilotage.containers.parse import ContainerParser
from pilotage.core.errors import ConfigError
from pilotage.core.problems import Problem
from pilotage.core.text import shorten
from pilotage.engine.config import DockerProviderConfig
from pilotage.engine.types import Inspect, InspectConfig
from pilotage.policy import NO_POLICY
from pilotage.routes.build import RESERVED_PORTS
from pilotage.table.snapshot import EngineSnapshot, build_snapshot

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pilotage.containers.container import Container
    from pilotage.policy import Policy

__all__ = ["Recording", "read_recordings", "replay_recording"]


class RecordedProvider(msgspec.Struct, frozen=True):
    """The recorded engine."""

    name: str
    url: str = ""


class Recording(msgspec.Struct, frozen=True):
    """The recorded responses of one engine. The module docstring describes the fields."""

    provider: RecordedProvider
    containers: list[msgspec.Raw]
    env: dict[str, str] = {}
    agents: dict[str, str] = {}
    inspect_exposed_ports: dict[str, list[str]] = {}
    inspect: dict[str, Inspect] = {}
    rootless: bool = False


def read_recordings(body: bytes, file: str = "") -> list[Recording]:
    """Parse a file of recordings: one JSON object, or one per line.

    Raises:
        ConfigError: the file is not a recording; the problem names the file and the error.

    """
    try:
        return [msgspec.json.decode(part, type=Recording) for part in _documents(body)]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        message = f"not a recording of an engine: {shorten(error, 120)}"
        raise ConfigError([Problem(message=message, hint="create one with 'pilotage capture'", file=file)]) from error


def _documents(body: bytes) -> Iterator[bytes]:
    try:
        msgspec.json.decode(body, type=msgspec.Raw)
    except msgspec.DecodeError:
        lines = [line for line in body.splitlines() if line.strip()]
        if len(lines) < 2 or not all(line.startswith(b"{") for line in lines):
            raise
        yield from lines
    else:
        yield body


def replay_recording(
    recording: Recording, *, reserved_ports: frozenset[int] = RESERVED_PORTS, policy: Policy = NO_POLICY
) -> EngineSnapshot:
    """Return the snapshot, with containers and routes, that the recorded engine would give.

    Args:
        recording: the recorded responses of one engine.
        reserved_ports: ports on this host that the proxy itself uses.
        policy: what containers may claim.

    """
    provider = recording.provider
    config = DockerProviderConfig(url=provider.url, name=provider.name or provider.url)
    parser = ContainerParser(config, agents=recording.agents, env=recording.env)
    parser.set_rootless(recording.rootless)
    containers = [_read(raw, parser, recording) for raw in recording.containers]
    return build_snapshot(config, containers, reserved_ports=reserved_ports, policy=policy)


def _read(raw: msgspec.Raw, parser: ContainerParser, recording: Recording) -> Container:
    container = parser.decode(raw)
    answer = recording.inspect.get(container.container_id)
    if answer is None and container.is_host_network_mode:
        exposed = recording.inspect_exposed_ports.get(container.container_id)
        if exposed is None:
            return inspection_failed(container, "no such container in the recording")
        answer = Inspect(Config=InspectConfig(ExposedPorts=dict.fromkeys(exposed)))
    return container if answer is None else with_inspection(container, answer)
