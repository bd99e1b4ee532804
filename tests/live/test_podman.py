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
from tests.support.podman import Podman
from tests.support.truth import chronicle, settled
from tests.support.waiting import until

if TYPE_CHECKING:
    from tests.support.engines import Engine


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
    async with assert_no_leaks(), discover([config(engine)]) as discovery:
        await discovery.ready()
        async with chronicle(discovery) as told:
            await asyncio.to_thread(engine.run, "mover")
            await until(lambda: "mover" in discovery.table.routes and discovery.table.routes["mover"].endpoints)
            await settled(discovery, config(engine))
            started = next(it for it in told.changes if it.alias == "mover" and it.route and it.route.endpoints)
            assert started.cause == "start of mover"
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


async def test_a_user_of_a_network_whose_owner_was_restarted_is_not_served_until_it_restarts(
    podman_engine: Engine,
) -> None:
    engine = podman_engine
    engine.run("base1")
    engine.run("side1", WEB, {"proxy.side1.port": "81"}, "--network", "container:base1", command=("sleep", "1000"))
    async with assert_no_leaks(), discover([config(engine)]) as discovery:
        await discovery.ready()
        assert discovery.table.routes["side1"].endpoints
        await asyncio.to_thread(engine.docker, "restart", "-t", "0", "base1")
        await until(lambda: discovery.table.routes["side1"].excluded)
        await settled(discovery, config(engine))
        assert [problem.container for problem in discovery.table.problems] == ["side1"]
        await asyncio.to_thread(engine.docker, "restart", "-t", "0", "side1")
        await until(lambda: discovery.table.routes["side1"].endpoints)
        await settled(discovery, config(engine))
        await asyncio.to_thread(engine.rm, "side1")  # Podman refuses to remove the owner before it


async def test_in_a_pod_only_members_that_say_their_port_are_served(podman_engine: Engine) -> None:
    engine = podman_engine
    assert isinstance(engine.daemon, Podman)
    podman = engine.daemon
    podman.run("pod", "create", "--name", "pod1", "--publish", "21000:80")
    try:
        podman.run("run", "--detach", "--pod", "pod1", "--name", "server", "--label", "proxy.server.port=80", WEB)
        podman.run("run", "--detach", "--pod", "pod1", "--name", "helper", WEB, "sleep", "1000")
        async with discover([config(engine)]) as discovery:
            await discovery.ready()
            routes = discovery.table.routes
        assert [endpoint.port for endpoint in routes["server"].endpoints] == [80]
        assert (routes["helper"].excluded, routes["helper"].endpoints) == (True, ())
        (infra,) = [route for alias, route in routes.items() if alias.endswith("-infra")]
        assert infra.excluded
    finally:
        podman.run("pod", "rm", "--force", "--time", "0", "pod1")
