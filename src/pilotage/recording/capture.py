"""Records engine responses for bug reports and tests: only the fields that pilotage reads, without secrets.

:mod:`pilotage.recording.replay` describes the format. Replaying a recording gives the same routes as the engine.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from pilotage.containers.inspection import needs_inspection
from pilotage.containers.parse import ContainerParser
from pilotage.core.errors import EngineError, EngineRefused
from pilotage.engine.pool import new_client
from pilotage.engine.types import Inspect, Summary
from pilotage.recording.redact import redact_labels, without_passwords
from pilotage.recording.replay import RecordedProvider, Recording

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pilotage.engine.client import EngineClient
    from pilotage.engine.config import DockerProviderConfig
    from pilotage.engine.pool import Pool

__all__ = ["Captured", "capture_all", "capture_engine", "recording_json"]

_CONCURRENCY: Final = 8  # inspections in flight per engine


class Captured(msgspec.Struct, frozen=True):
    """The result of recording several engines.

    Attributes:
        recordings: the recording of each engine that responded.
        errors: name of each engine that failed -> its error.

    """

    recordings: tuple[Recording, ...]
    errors: Mapping[str, EngineError]


async def capture_all(
    configs: Sequence[DockerProviderConfig], *, pool: Pool | None = None, env: Mapping[str, str] | None = None
) -> Captured:
    """Record several engines concurrently. An engine that fails does not affect the others."""
    errors: dict[str, EngineError] = {}

    async def capture(config: DockerProviderConfig) -> Recording | None:
        try:
            return await capture_engine(config, pool=pool, env=env)
        except EngineError as error:
            errors[config.name or config.url] = error
            return None

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(capture(config)) for config in configs]
    recordings = (task.result() for task in tasks)
    return Captured(tuple(recording for recording in recordings if recording is not None), errors)


async def capture_engine(
    config: DockerProviderConfig, *, pool: Pool | None = None, env: Mapping[str, str] | None = None
) -> Recording:
    """Record an engine's list of containers, and the inspection of each container whose list entry is incomplete.

    Args:
        config: the engine; a ``context://`` address must already be resolved.
        pool: the pool from which to take connections; ``None`` for a new one.
        env: environment variables. ``DOCKER_HOST`` is recorded if it is this engine's address.

    Raises:
        EngineError: the engine cannot be reached, or refused to list its containers.

    """
    host = (env or {}).get("DOCKER_HOST", "")
    parser = ContainerParser(config, env=env)
    containers: list[msgspec.Raw] = []
    wanted: list[str] = []
    async with await new_client(config, pool=pool) as client:
        podman, rootless = client.kind == "podman", client.is_rootless
        parser.set_rootless(rootless)
        for raw in await client.list_containers():
            try:
                summary = msgspec.json.decode(raw, type=Summary)
            except msgspec.MsgspecError:
                containers.append(msgspec.Raw(b"{}"))  # its content is unknown, so it must not leave this machine
                continue
            containers.append(_redacted(summary))
            if needs_inspection(parser.parse(summary), podman=podman):
                wanted.append(summary.Id)
        inspected = await _inspect(wanted, client)
    return Recording(
        RecordedProvider(config.name, without_passwords(config.url)),
        containers,
        env={"DOCKER_HOST": without_passwords(host)} if host and host == config.url else {},
        inspect=inspected,
        rootless=rootless,
    )


async def _inspect(ids: Sequence[str], client: EngineClient) -> dict[str, Inspect]:
    """Inspect containers; return ID -> inspection, without the containers whose inspection the engine refused."""
    slots = asyncio.Semaphore(_CONCURRENCY)
    found: dict[str, Inspect] = {}

    async def inspect(container_id: str) -> None:
        async with slots:
            try:
                answer = await client.inspect(container_id)
            except EngineRefused:
                return
            found[container_id] = answer

    async with asyncio.TaskGroup() as group:
        for container_id in ids:
            group.create_task(inspect(container_id))
    return {container_id: found[container_id] for container_id in ids if container_id in found}


def _redacted(summary: Summary) -> msgspec.Raw:
    if summary.Labels:
        summary = msgspec.structs.replace(summary, Labels=redact_labels(summary.Labels))
    return msgspec.Raw(msgspec.json.encode(_without_defaults(msgspec.to_builtins(summary))))


def recording_json(recording: Recording) -> bytes:
    """Return a recording as one line of JSON without empty fields."""
    plain = {
        "provider": recording.provider,
        "env": recording.env,
        "agents": recording.agents,
        "inspect_exposed_ports": recording.inspect_exposed_ports,
        "rootless": recording.rootless,
        "inspect": {key: _without_defaults(msgspec.to_builtins(answer)) for key, answer in recording.inspect.items()},
    }
    return msgspec.json.encode(
        {key: value for key, value in plain.items() if value} | {"containers": recording.containers}
    )


def _without_defaults(value: Any) -> Any:
    """Return a value without the nulls, empty strings and zeros in its mappings."""
    if isinstance(value, dict):
        return {key: _without_defaults(item) for key, item in value.items() if item not in (None, "", 0)}
    return [_without_defaults(item) for item in value] if isinstance(value, list) else value
