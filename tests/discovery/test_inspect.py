from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import pytest

from pilotage import (
    DockerProviderConfig,
    Pool,
    build_table,
    from_docker,
    scan_engine,
    update_ports,
)
from pilotage.discovery.inspect import inspect_all
from pilotage.engine.types import Inspect
from pilotage.testing import FakeEngine
from tests.support.images import WEB
from tests.support.scans import routes

if TYPE_CHECKING:
    from pilotage.containers.container import Container
    from pilotage.testing.dialect import Flavour
    from tests.support.engines import Engine


async def test_update_ports_returns_the_ports_of_one_container(engine: Engine, pool: Pool) -> None:
    engine.run("inspect-ports", WEB, None, "--network", "host", command=["sleep", "1000"])
    config = DockerProviderConfig(engine.host, name="here")
    listed = {
        "Id": engine.inspect("inspect-ports")["Id"],
        "Names": ["/inspect-ports"],
        "State": "running",
        "HostConfig": {"NetworkMode": "host"},
    }
    filled = await update_ports(from_docker(listed, config), pool=pool)
    assert list(filled.public_port_mapping) == [80]


async def test_only_containers_with_incomplete_list_elements_are_inspected(pool: Pool) -> None:
    async with FakeEngine() as engine:
        engine.add("web")
        host = engine.add("host", network_mode="host")
        snapshot = await scan_engine(DockerProviderConfig(engine.url, name="fake"), pool=pool)
        assert engine.calls["list"] == 1
        assert engine.calls["inspect"] == 1
        assert [path for method, path in engine.requests if host.id in path] != []
    assert len(snapshot.containers) == 2


async def test_a_refused_inspection_only_affects_a_host_network_container(pool: Pool) -> None:
    async with FakeEngine() as engine:
        engine.add("web")
        engine.add("host", network_mode="host")
        engine.spoil("inspect", status=403, message="not allowed")
        snapshot = await scan_engine(DockerProviderConfig(engine.url, name="fake"), pool=pool)
    assert list(routes(snapshot)) == ["web"]
    (problem,) = build_table([snapshot]).problems
    assert (problem.container, problem.severity) == ("host", "error")
    assert "inspecting it failed" in problem.message


async def test_a_refused_podman_inspection_only_affects_ports_and_is_reported(pool: Pool) -> None:
    async with FakeEngine(flavour="podman") as engine:
        engine.add("web", ports=["8080:80"])
        engine.spoil("inspect", status=403, message="not allowed")
        snapshot = await scan_engine(DockerProviderConfig(engine.url, name="fake"), pool=pool)
    assert not routes(snapshot)["web"].excluded
    (problem,) = build_table([snapshot]).problems
    assert (problem.container, problem.severity) == ("web", "warning")
    assert "some of its ports may be missing" in problem.message


async def test_a_container_removed_since_the_list_is_not_a_problem(pool: Pool) -> None:
    async with FakeEngine(flavour="podman") as engine:
        engine.add("web", ports=["8080:80"])
        engine.spoil("inspect", status=404, message="no such container")
        snapshot = await scan_engine(DockerProviderConfig(engine.url, name="fake"), pool=pool)
    assert build_table([snapshot]).problems == ()


@pytest.mark.parametrize("flavour", ["docker", "podman"])
async def test_a_container_whose_network_owner_was_restarted_is_not_served(flavour: Flavour, pool: Pool) -> None:
    async with FakeEngine(flavour=flavour) as engine:
        base = engine.add("base1")
        engine.add("side1", labels={"proxy.side1.port": "81"}, network_mode=f"container:{base.id}")
        config = DockerProviderConfig(engine.url, name="fake")
        before = routes(await scan_engine(config, pool=pool))
        engine.restart("base1")
        snapshot = await scan_engine(config, pool=pool)
        after = routes(snapshot)
        engine.restart("side1")
        again = routes(await scan_engine(config, pool=pool))
    assert before["side1"].endpoints == again["side1"].endpoints != ()
    assert after["base1"].endpoints
    assert (after["side1"].endpoints, after["side1"].excluded_reason) == ((), "Error")
    (problem,) = build_table([snapshot]).problems
    assert (problem.container, problem.hint) == ("side1", "restart side1: 'docker restart side1'")


async def test_where_inspections_are_refused_a_shared_network_counts_as_living(pool: Pool) -> None:
    async with FakeEngine() as engine:
        base = engine.add("base1")
        engine.add("side1", labels={"proxy.side1.port": "81"}, network_mode=f"container:{base.id}")
        engine.spoil("inspect", status=403, message="not allowed")
        snapshot = await scan_engine(DockerProviderConfig(engine.url, name="fake"), pool=pool)
    assert routes(snapshot)["side1"].endpoints
    assert build_table([snapshot]).problems == ()


async def test_of_containers_with_a_shared_network_those_that_run_and_have_an_id_are_inspected() -> None:
    class Client:
        kind = "docker"
        inspected: ClassVar[list[str]] = []

        async def inspect(self, container_id: str) -> Inspect:
            self.inspected.append(container_id)
            return Inspect()

    def listed(name: str, mode: str, *, number: str = "", state: str = "running") -> Container:
        summary = {"Id": number, "Names": [f"/{name}"], "State": state, "HostConfig": {"NetworkMode": mode}}
        return from_docker(summary, DockerProviderConfig("unix:///run/docker.sock"))

    containers = [
        listed("base", "bridge", number="1"),
        listed("named", "container:base", number="2"),
        listed("stopped", "container:1", number="3", state="exited"),
        listed("other", "bridge", number="4"),
        listed("base", "bridge"),
        listed("nameless", "container:base"),
        listed("asked", "bridge", number="5"),
    ]
    client = Client()
    found = await inspect_all(containers, client, network_owners=["asked"])  # type: ignore[arg-type]
    assert [container.container_name for container in found] == [it.container_name for it in containers]
    assert sorted(client.inspected) == ["1", "2", "5"]
