from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pilotage import (
    DockerProviderConfig,
    EngineError,
    EngineRefused,
    EngineUnreachable,
    Pool,
    Roster,
    Route,
    build_table,
    from_docker,
    survey_all,
    survey_engine,
    update_ports,
)
from pilotage.testing import FakeEngine
from tests.support.images import HEALTH, WEB

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.engines import Engine


@pytest.fixture
async def pool() -> AsyncIterator[Pool]:
    async with Pool() as pool:
        yield pool


def routes(roster: Roster) -> dict[str, Route]:
    return {route.alias: route for built in roster.built for route in built.routes}


def address(engine: Engine, name: str, network: str = "bridge") -> str:
    found: str = engine.inspect(name)["NetworkSettings"]["Networks"][network]["IPAddress"]
    return found


async def look(engine: Engine, pool: Pool) -> Roster:
    return await survey_engine(DockerProviderConfig(engine.host, name="here"), pool=pool)


# ---- a real engine --------------------------------------------------------------------------------------------------


async def test_running_containers_become_routes_and_stopped_ones_say_why_not(engine: Engine, pool: Pool) -> None:
    engine.run("survey-web", WEB, {"proxy.survey-web.scheme": "https", "proxy.other.port": "81"}, "-p", "127.0.0.1::80")
    engine.run("survey-gone")
    engine.docker("kill", "survey-gone")
    engine.create("survey-new")
    engine.run("survey-paused")
    engine.docker("pause", "survey-paused")
    roster = await look(engine, pool)
    found = routes(roster)
    here = address(engine, "survey-web")
    assert found["survey-web"].target == f"https://{here}:80"
    assert found["other"].target == f"http://{here}:81"
    for name in ("survey-gone", "survey-new", "survey-paused"):
        assert found[name].excluded_reason == "Container not running"
    assert build_table([roster]).problems == ()


async def test_a_container_on_the_hosts_network_is_reached_at_the_ports_its_image_exposes(
    engine: Engine, pool: Pool
) -> None:
    engine.run("survey-host", WEB, None, "--network", "host", "--expose", "8096", command=["sleep", "1000"])
    roster = await survey_engine(
        DockerProviderConfig(engine.host, name="here"), pool=pool, reserved_ports=frozenset({443})
    )
    (container,) = (each for each in roster.containers if each.container_name == "survey-host")
    assert container.is_host_network_mode
    assert sorted(container.public_port_mapping) == [80, 8096]
    assert routes(roster)["survey-host"].target == "http://127.0.0.1:80"


async def test_who_shares_anothers_network_is_reached_there(engine: Engine, pool: Pool) -> None:
    owner = engine.run("survey-owner")
    engine.run("survey-guest", WEB, None, "--network", "container:survey-owner", command=["sleep", "1000"])
    engine.run("survey-guests", WEB, None, "--network", f"container:{owner}", command=["sleep", "1000"])
    found = routes(await look(engine, pool))
    target = f"http://{address(engine, 'survey-owner')}:80"
    assert {found[name].target for name in ("survey-owner", "survey-guest", "survey-guests")} == {target}


async def test_containers_of_compose_are_replicas_and_prefer_their_projects_network(engine: Engine, pool: Pool) -> None:
    engine.network("aaa_first")
    engine.network("shop_default")
    labels = {
        "com.docker.compose.project": "shop",
        "com.docker.compose.service": "web",
        "com.docker.compose.oneoff": "False",
        "proxy.aliases": "shop",
    }
    for number in ("1", "2"):
        engine.run(f"shop-web-{number}", WEB, labels, "--network", "shop_default")
        engine.docker("network", "connect", "aaa_first", f"shop-web-{number}")
    engine.run("shop-web-run-1", WEB, labels | {"com.docker.compose.oneoff": "True"}, "--network", "shop_default")
    roster = await look(engine, pool)
    assert {each.network for each in roster.containers if each.container_name.startswith("shop-")} == {"shop_default"}
    table = build_table([roster])
    assert [endpoint.host for endpoint in table.routes["shop"].endpoints] == [
        address(engine, f"shop-web-{number}", "shop_default") for number in ("1", "2")
    ]
    reasons = {route.container: route.excluded_reason for built in roster.built for route in built.routes}
    assert reasons["shop-web-run-1"] == "Compose one-off"
    assert table.problems == ()


async def test_a_named_network_is_used_and_a_mistyped_one_is_told(engine: Engine, pool: Pool) -> None:
    engine.network("survey_front")
    for name, wanted in (("survey-net", "survey_front"), ("survey-typo", "survey_frnot")):
        engine.run(name, WEB, {"proxy.network": wanted})
        engine.docker("network", "connect", "survey_front", name)
    roster = await look(engine, pool)
    found = routes(roster)
    assert found["survey-net"].host == address(engine, "survey-net", "survey_front")
    assert "survey-typo" not in found
    (problem,) = build_table([roster]).problems
    assert problem.hint == "did you mean 'survey_front'?"


async def test_health_is_what_the_engine_says(engine: Engine, pool: Pool) -> None:
    engine.run("survey-health", HEALTH)
    (endpoint,) = routes(await look(engine, pool))["survey-health"].endpoints
    assert endpoint.state in {"waiting", "unhealthy"}


async def test_the_ports_of_one_container_can_be_asked_for(engine: Engine, pool: Pool) -> None:
    engine.run("survey-ports", WEB, None, "--network", "host", command=["sleep", "1000"])
    config = DockerProviderConfig(engine.host, name="here")
    listed = {
        "Id": engine.inspect("survey-ports")["Id"],
        "Names": ["/survey-ports"],
        "State": "running",
        "HostConfig": {"NetworkMode": "host"},
    }
    filled = await update_ports(from_docker(listed, config), pool=pool)
    assert list(filled.public_port_mapping) == [80]


async def test_podman_gives_the_same_route_as_docker(podman_engine: Engine, pool: Pool) -> None:
    podman_engine.run("survey-podman", WEB, {"proxy.survey-podman.healthcheck.path": "/"})
    config = DockerProviderConfig(podman_engine.host, name="podman")
    found = routes(await survey_engine(config, pool=pool))["survey-podman"]
    assert found.target == f"http://{address(podman_engine, 'survey-podman', 'podman')}:80"
    assert found.problems == ()


# ---- faults ---------------------------------------------------------------------------------------------------------


async def test_an_engine_that_fails_does_not_hold_up_the_others(engine: Engine, pool: Pool, tmp_path: Path) -> None:
    engine.run("survey-there")
    missing = DockerProviderConfig(f"unix://{tmp_path}/none.sock", name="missing")
    survey = await survey_all([missing, DockerProviderConfig(engine.host, name="here")], pool=pool)
    (roster,) = survey.rosters
    assert roster.config.name == "here"
    assert "survey-there" in routes(roster)
    assert isinstance(survey.errors["missing"], EngineUnreachable)


async def test_engines_and_errors_come_in_the_order_of_the_configuration(pool: Pool, tmp_path: Path) -> None:
    async with FakeEngine() as one, FakeEngine() as two:
        configs = [DockerProviderConfig(url, name=name) for name, url in (("b", one.url), ("a", two.url))]
        bad = [DockerProviderConfig(f"unix://{tmp_path}/{name}.sock", name=name) for name in ("d", "c")]
        survey = await survey_all([bad[0], configs[0], bad[1], configs[1]], pool=pool)
    assert [roster.config.name for roster in survey.rosters] == ["b", "a"]
    assert list(survey.errors) == ["d", "c"]


async def test_only_what_the_list_cannot_tell_is_inspected(pool: Pool) -> None:
    async with FakeEngine() as engine:
        engine.add("web")
        host = engine.add("host", network_mode="host")
        roster = await survey_engine(DockerProviderConfig(engine.url, name="fake"), pool=pool)
        assert engine.calls["list"] == 1
        assert engine.calls["inspect"] == 1
        assert [path for method, path in engine.requests if host.id in path] != []
    assert len(roster.containers) == 2


async def test_a_refused_inspection_costs_the_route_of_the_hosts_network_only(pool: Pool) -> None:
    async with FakeEngine() as engine:
        engine.add("web")
        engine.add("host", network_mode="host")
        engine.spoil("inspect", status=403, message="not allowed")
        roster = await survey_engine(DockerProviderConfig(engine.url, name="fake"), pool=pool)
    assert list(routes(roster)) == ["web"]
    (problem,) = build_table([roster]).problems
    assert (problem.container, problem.severity) == ("host", "error")
    assert "inspecting it failed" in problem.message


async def test_a_refused_inspection_of_podman_costs_only_ports_and_is_told(pool: Pool) -> None:
    async with FakeEngine(flavour="podman") as engine:
        engine.add("web", ports=["8080:80"])
        engine.spoil("inspect", status=403, message="not allowed")
        roster = await survey_engine(DockerProviderConfig(engine.url, name="fake"), pool=pool)
    assert not routes(roster)["web"].excluded
    (problem,) = build_table([roster]).problems
    assert (problem.container, problem.severity) == ("web", "warning")
    assert "its ports may be incomplete" in problem.message


async def test_a_container_that_went_since_the_list_is_no_problem(pool: Pool) -> None:
    async with FakeEngine(flavour="podman") as engine:
        engine.add("web", ports=["8080:80"])
        engine.spoil("inspect", status=404, message="no such container")
        roster = await survey_engine(DockerProviderConfig(engine.url, name="fake"), pool=pool)
    assert build_table([roster]).problems == ()


@pytest.mark.parametrize("fault", [{"reset": True}, {"body": b"<html>"}, {"cut_after": 10}])
async def test_an_engine_that_goes_away_while_it_is_asked_is_one_plain_error(
    pool: Pool, fault: dict[str, object]
) -> None:
    async with FakeEngine() as engine:
        for name in ("one", "two", "three"):
            engine.add(name, network_mode="host")
        engine.spoil("inspect", **fault)
        config = DockerProviderConfig(engine.url, name="fake")
        with pytest.raises(EngineError):
            await survey_engine(config, pool=pool)
        survey = await survey_all([config], pool=pool)
        assert list(survey.errors) == ["fake"]


async def test_an_engine_that_refuses_to_list_is_an_error(pool: Pool) -> None:
    async with FakeEngine() as engine:
        engine.spoil("list", status=403, message="not allowed")
        with pytest.raises(EngineRefused):
            await survey_engine(DockerProviderConfig(engine.url, name="fake"), pool=pool)
