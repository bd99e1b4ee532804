"""Services of a real swarm, and a container that only claims to be one of their tasks."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from pilotage import DockerProviderConfig, Pool, build_table, discover, scan_engine
from tests.support.engines import CommandFailed
from tests.support.images import WEB
from tests.support.waiting import until

if TYPE_CHECKING:
    from tests.support.engines import Engine

pytestmark = pytest.mark.engine

LABELS = ("--label", "proxy.aliases=svc", "--label", "proxy.svc.middlewares.request.set_headers.X-Key=canary")
TASK_LABELS = ("service.id", "service.name", "task.id", "task.name", "node.id")


def start_service(engine: Engine) -> None:
    try:
        engine.docker("swarm", "init", "--advertise-addr", "127.0.0.1")
    except CommandFailed as error:
        pytest.skip(f"this machine cannot run a swarm: {error}")
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


async def test_only_tasks_of_a_service_are_handed_its_labels(own_engine: Engine) -> None:
    start_service(own_engine)
    config = DockerProviderConfig(own_engine.host, name="local")
    async with Pool() as pool:
        async with discover([config], pool=pool) as discovery:
            await discovery.ready()

            def tasks() -> set[str]:
                found = (it for snapshot in discovery.snapshots() for it in snapshot.containers)
                return {it.container_name for it in found if it.running and it.aliases == ("svc",)}

            await until(lambda: len(tasks()) == 2)
            own_engine.docker("run", "--detach", "--name", "thief", *labels_of_a_task(own_engine), WEB)
            await until(lambda: "thief" in discovery.table.routes)
            await until(lambda: any("is not a task of the swarm" in str(it) for it in discovery.table.problems))
            own_engine.docker("service", "scale", "--detach", "rep=4")
            await until(lambda: len(tasks()) == 4)
            assert "thief" not in tasks()
            assert "canary" not in repr(discovery.table.routes["thief"])
        table = build_table([await scan_engine(config, pool=pool)])
    assert "canary" in repr(table.routes["svc"].settings)
    assert "canary" not in repr(table.routes["thief"])
    assert table.routes["thief"].service == ()
