"""Services of a real swarm, and a container that only claims to be one of their tasks."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.command import pilotage_serve
from tests.support.engines import CommandFailed
from tests.support.images import WEB
from tests.support.install import EngineUnavailable
from tests.support.required import missing

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from tests.support.engines import Engine

pytestmark = pytest.mark.engine

LABELS = ("--label", "proxy.aliases=svc", "--label", "proxy.svc.middlewares.request.set_headers.X-Key=canary")
TASK_LABELS = ("service.id", "service.name", "task.id", "task.name", "node.id")


def start_service(engine: Engine) -> None:
    try:
        engine.docker("swarm", "init", "--advertise-addr", "127.0.0.1")
    except CommandFailed as error:
        missing(EngineUnavailable(f"this machine cannot run a swarm: {error}"))
    engine.docker("service", "create", "--detach", "--name", "rep", "--replicas", "2", *LABELS, WEB, timeout=120)


def labels_of_a_task(engine: Engine) -> list[str]:
    """Return the options that give a container all the labels of a task of the service."""
    task = engine.docker("ps", "--quiet", "--filter", "name=rep").split()[0]
    labels = json.loads(engine.docker("inspect", "--format", "{{json .Config.Labels}}", task))
    return [
        word
        for key in TASK_LABELS
        for word in ("--label", f"com.docker.swarm.{key}={labels[f'com.docker.swarm.{key}']}")
    ]


async def becomes(ask: Callable[[], Awaitable[Any]], condition: Callable[[Any], object]) -> Any:
    """Wait until an answer is as expected, and return it."""
    async with asyncio.timeout(60):
        while not condition(found := await ask()):  # noqa: ASYNC110  # it happens in other processes
            await asyncio.sleep(0.05)
    return found


async def test_only_tasks_of_a_service_get_its_labels(own_engine: Engine, tmp_path: Path) -> None:
    start_service(own_engine)
    async with pilotage_serve(tmp_path, SimpleNamespace(url=own_engine.host)) as served:

        async def svc() -> dict[str, Any]:
            return await served.route("svc") or {"endpoints": []}

        await becomes(svc, lambda it: len(it["endpoints"]) == 2)
        own_engine.docker("run", "--detach", "--name", "thief", *labels_of_a_task(own_engine), WEB)
        thief = await becomes(lambda: served.route("thief"), lambda it: it and it["endpoints"])
        await becomes(
            lambda: served.problems("thief"), lambda it: any("is not a task of the swarm" in text for text in it)
        )
        own_engine.docker("service", "scale", "--detach", "rep=4")
        found = await becomes(svc, lambda it: len(it["endpoints"]) == 4)
        assert "X-Key" in json.dumps(found)
        assert "X-Key" not in json.dumps(thief)
        assert "thief" not in {endpoint["container"] for endpoint in found["endpoints"]}
