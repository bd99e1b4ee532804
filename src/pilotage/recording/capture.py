"""Records what engines answer, for bug reports and tests: only the fields that pilotage reads, without secrets.

The format is that of :mod:`pilotage.recording.replay`; from a recording comes the same document as from the engine.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from pilotage.containers.inspection import needs_inspection
from pilotage.containers.parse import ContainerParser
from pilotage.core.errors import EngineError, EngineRefused
from pilotage.engine import types as wire
from pilotage.engine.pool import new_client
from pilotage.recording.redact import redact_labels, without_passwords
from pilotage.recording.replay import RecordedProvider, Recording

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pilotage.engine.address import DockerProviderConfig
    from pilotage.engine.client import EngineClient
    from pilotage.engine.pool import Pool

__all__ = ["Captured", "capture_all", "capture_engine", "recording_json"]

_AT_ONCE: Final = 8  # inspections under way at one engine


class Captured(msgspec.Struct, frozen=True):
    """What was recorded.

    Attributes:
        recordings: one for each engine that answered.
        errors: name of the engine -> what failed, for the others.

    """

    recordings: tuple[Recording, ...]
    errors: Mapping[str, EngineError]


async def capture_all(
    configs: Sequence[DockerProviderConfig], *, pool: Pool | None = None, env: Mapping[str, str] | None = None
) -> Captured:
    """Record every engine, all at once; one that fails does not hold up the others."""
    errors: dict[str, EngineError] = {}

    async def one(config: DockerProviderConfig) -> Recording | None:
        try:
            return await capture_engine(config, pool=pool, env=env)
        except EngineError as error:
            errors[config.name or config.url] = error
            return None

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(config)) for config in configs]
    recordings = (task.result() for task in tasks)
    return Captured(tuple(recording for recording in recordings if recording is not None), errors)


async def capture_engine(
    config: DockerProviderConfig, *, pool: Pool | None = None, env: Mapping[str, str] | None = None
) -> Recording:
    """Record one engine: its list, and an inspection of each container that needs one.

    Args:
        config: the engine; ``context://`` must be resolved before.
        pool: where its connection is shared.
        env: the environment; ``DOCKER_HOST`` is recorded if it names this engine, for it matters then.

    Raises:
        EngineError: it could not be reached, or refused to list its containers.

    """
    host = (env or {}).get("DOCKER_HOST", "")
    reader = ContainerParser(config, env=env)
    containers: list[msgspec.Raw] = []
    wanted: list[str] = []
    async with await new_client(config, pool=pool) as client:
        podman = client.kind == "podman"
        for raw in await client.list_containers():
            try:
                summary = msgspec.json.decode(raw, type=wire.Summary)
            except msgspec.MsgspecError:
                containers.append(msgspec.Raw(b"{}"))  # what it holds is unknown, so it stays here
                continue
            containers.append(_trimmed(summary))
            if needs_inspection(reader.parse(summary), podman=podman):
                wanted.append(summary.Id)
        inspected = await _inspect(wanted, client)
    return Recording(
        RecordedProvider(config.name, without_passwords(config.url)),
        containers,
        env={"DOCKER_HOST": without_passwords(host)} if host and host == config.url else {},
        inspect=inspected,
    )


async def _inspect(ids: Sequence[str], client: EngineClient) -> dict[str, wire.Inspect]:
    """Inspect containers; those that the engine refuses are left out, as they would be live."""
    slots = asyncio.Semaphore(_AT_ONCE)
    found: dict[str, wire.Inspect] = {}

    async def one(container_id: str) -> None:
        async with slots:
            try:
                answer = await client.inspect(container_id)
            except EngineRefused:
                return
            found[container_id] = answer

    async with asyncio.TaskGroup() as group:
        for container_id in ids:
            group.create_task(one(container_id))
    return {container_id: found[container_id] for container_id in ids if container_id in found}


def _trimmed(summary: wire.Summary) -> msgspec.Raw:
    if summary.Labels:
        summary = msgspec.structs.replace(summary, Labels=redact_labels(summary.Labels))
    return msgspec.Raw(msgspec.json.encode(_filled(msgspec.to_builtins(summary))))


def recording_json(recording: Recording) -> bytes:
    """Return a recording as one line of JSON, without what is empty."""
    plain = {
        "provider": recording.provider,
        "env": recording.env,
        "agents": recording.agents,
        "inspect_exposed_ports": recording.inspect_exposed_ports,
        "inspect": {key: _filled(msgspec.to_builtins(answer)) for key, answer in recording.inspect.items()},
    }
    return msgspec.json.encode(
        {key: value for key, value in plain.items() if value} | {"containers": recording.containers}
    )


def _filled(value: Any) -> Any:
    """Leave out what a mapping holds for nothing: nulls, and texts and numbers that are the default."""
    if isinstance(value, dict):
        return {key: _filled(item) for key, item in value.items() if item not in (None, "", 0)}
    return [_filled(item) for item in value] if isinstance(value, list) else value
