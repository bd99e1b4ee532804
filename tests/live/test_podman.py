"""A real Podman, whose events and lists differ from Docker's."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from pilotage import discover
from pilotage.discovery.timing import Timing
from pilotage.engine.config import DockerProviderConfig
from tests.support.daemon import speak
from tests.support.engines import CommandFailed
from tests.support.images import HEALTH, WEB
from tests.support.leaks import assert_no_leaks
from tests.support.truth import chronicle, settled
from tests.support.waiting import until

if TYPE_CHECKING:
    from tests.support.engines import Engine


# Podman 4.3 sometimes loses events of exiting containers, because their clean-up runs outside the service.
LISTED_OFTEN = Timing(reconcile=2)


def config(engine: Engine) -> DockerProviderConfig:
    return DockerProviderConfig(engine.host, name="podman")


def remove(engine: Engine, name: str) -> None:
    """Remove a container that keeps restarting. Podman often refuses because the container has just exited."""
    for attempt in range(30):
        try:
            engine.rm(name)
        except CommandFailed:
            if attempt == 29:
                raise
        else:
            return


async def test_a_container_in_a_restart_loop_does_not_affect_others(podman_engine: Engine) -> None:
    engine = podman_engine
    engine.run("bystander")
    async with assert_no_leaks(), discover([config(engine)]) as discovery:
        await discovery.ready()
        async with chronicle(discovery) as told:
            await asyncio.to_thread(engine.run, "looping", WEB, None, "--restart", "always", command=("true",))
            watcher = discovery.watcher("podman")
            starts = watcher.events + 60  # about twelve restarts of several events each
            await until(lambda: watcher.events > starts, patience=25)
            assert watcher.refreshes <= watcher.events
            assert watcher.sessions == 1
            assert discovery.table.engines["podman"].state == "live"
            await asyncio.to_thread(remove, engine, "looping")
            await until(lambda: "looping" not in discovery.table.routes, patience=10)
            await settled(discovery, config(engine))
            assert told.untouched(["bystander"])
            assert told.kinds("stale") == []


async def test_changes_of_containers_are_followed(podman_engine: Engine) -> None:
    engine = podman_engine
    engine.run("bystander")
    async with assert_no_leaks(), discover([config(engine)], timing=LISTED_OFTEN) as discovery:
        await discovery.ready()
        async with chronicle(discovery) as told:
            await asyncio.to_thread(engine.run, "mover")
            await until(lambda: "mover" in discovery.table.routes and discovery.table.routes["mover"].endpoints)
            await settled(discovery, config(engine))
            for command in (["pause"], ["unpause"], ["stop", "-t", "0"], ["start"], ["restart", "-t", "0"]):
                await asyncio.to_thread(engine.docker, *command, "mover")
                await settled(discovery, config(engine))
            await asyncio.to_thread(engine.docker, "rename", "mover", "moved")
            await until(lambda: "moved" in discovery.table.routes)
            await asyncio.to_thread(engine.docker, "rm", "-f", "moved")
            await until(lambda: "moved" not in discovery.table.routes)
            await settled(discovery, config(engine))
            assert told.untouched(["bystander"])


async def test_health_is_followed_although_the_list_lacks_it(podman_engine: Engine) -> None:
    engine = podman_engine
    async with assert_no_leaks(), discover([config(engine)]) as discovery:
        await discovery.ready()
        await asyncio.to_thread(engine.run, "patient", HEALTH)

        def state() -> list[str]:
            route = discovery.table.routes.get("patient")
            return [endpoint.state for endpoint in route.endpoints] if route is not None else []

        await until(lambda: state() == ["waiting"])
        await asyncio.to_thread(engine.docker, "exec", "patient", "touch", "/tmp/ok")

        async def probe() -> None:
            """Run the health check as systemd would; this version reports each outcome only with the next one."""
            for _ in range(2):
                await asyncio.to_thread(speak, engine.socket, "GET", "/v4.0.0/libpod/containers/patient/healthcheck")

        await probe()
        await until(lambda: state() == ["ready"])
        await settled(discovery, config(engine))


async def test_killing_the_podman_service_leaves_containers_running(podman_engine: Engine) -> None:
    engine = podman_engine
    assert engine.daemon is not None
    engine.run("survivor")
    engine.run("victim")
    async with assert_no_leaks(processes=False):
        async with discover([config(engine)], timing=Timing(pause_after_session=0.1)) as discovery:
            await discovery.ready()
            async with chronicle(discovery) as told:
                await asyncio.to_thread(engine.daemon.kill)
                await until(lambda: discovery.table.engines["podman"].state == "stale")
                engine.daemon.start()  # in this thread, because the process ends with the thread that started it
                await asyncio.to_thread(engine.docker, "kill", "victim")
                await until(lambda: discovery.table.engines["podman"].state == "live")
                await until(lambda: discovery.table.routes["victim"].excluded)
                await settled(discovery, config(engine))
                assert told.untouched(["survivor"])
