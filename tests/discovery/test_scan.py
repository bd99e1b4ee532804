from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pilotage import (
    ConfigError,
    DockerProviderConfig,
    EngineError,
    EngineRefused,
    EngineUnreachable,
    Pool,
    build_table,
    discover,
    scan_all,
    scan_engine,
)
from pilotage.discovery.host_addresses import HostAddresses
from pilotage.testing import FakeEngine, container
from tests.support.images import HEALTH, WEB
from tests.support.scans import address, routes, scan

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.engines import Engine


# ---- a real engine --------------------------------------------------------------------------------------------------


async def test_running_containers_get_routes_and_stopped_ones_a_reason(engine: Engine, pool: Pool) -> None:
    engine.run("scan-web", WEB, {"proxy.scan-web.scheme": "https", "proxy.other.port": "81"}, "-p", "127.0.0.1::80")
    engine.run("scan-gone")
    engine.docker("kill", "scan-gone")
    engine.create("scan-new")
    engine.run("scan-paused")
    engine.docker("pause", "scan-paused")
    snapshot = await scan(engine, pool)
    found = routes(snapshot)
    here = address(engine, "scan-web")
    assert found["scan-web"].target == f"https://{here}:80"
    assert found["other"].target == f"http://{here}:81"
    for name in ("scan-gone", "scan-new", "scan-paused"):
        assert found[name].excluded_reason == "Container not running"
    assert build_table([snapshot]).problems == ()


async def test_a_container_on_the_hosts_network_is_reached_at_the_ports_its_image_exposes(
    engine: Engine, pool: Pool
) -> None:
    engine.run("scan-host", WEB, None, "--network", "host", "--expose", "8096", command=["sleep", "1000"])
    snapshot = await scan_engine(
        DockerProviderConfig(engine.host, name="here"), pool=pool, reserved_ports=frozenset({443})
    )
    (container,) = (each for each in snapshot.containers if each.container_name == "scan-host")
    assert container.is_host_network_mode
    assert sorted(container.public_port_mapping) == [80, 8096]
    assert routes(snapshot)["scan-host"].target == "http://127.0.0.1:80"


async def test_a_container_in_a_shared_network_is_reached_at_its_owner(engine: Engine, pool: Pool) -> None:
    owner = engine.run("scan-owner")
    engine.run("scan-guest", WEB, None, "--network", "container:scan-owner", command=["sleep", "1000"])
    engine.run("scan-guests", WEB, None, "--network", f"container:{owner}", command=["sleep", "1000"])
    found = routes(await scan(engine, pool))
    target = f"http://{address(engine, 'scan-owner')}:80"
    assert {found[name].target for name in ("scan-owner", "scan-guest", "scan-guests")} == {target}


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
    snapshot = await scan(engine, pool)
    assert {each.network for each in snapshot.containers if each.container_name.startswith("shop-")} == {"shop_default"}
    table = build_table([snapshot])
    assert [endpoint.host for endpoint in table.routes["shop"].endpoints] == [
        address(engine, f"shop-web-{number}", "shop_default") for number in ("1", "2")
    ]
    reasons = {route.container: route.excluded_reason for built in snapshot.built for route in built.routes}
    assert reasons["shop-web-run-1"] == "Compose one-off"
    assert table.problems == ()


async def test_a_named_network_is_used_and_a_misspelt_one_is_reported(engine: Engine, pool: Pool) -> None:
    engine.network("scan_front")
    for name, wanted in (("scan-net", "scan_front"), ("scan-typo", "scan_frnot")):
        engine.run(name, WEB, {"proxy.network": wanted})
        engine.docker("network", "connect", "scan_front", name)
    snapshot = await scan(engine, pool)
    found = routes(snapshot)
    assert found["scan-net"].host == address(engine, "scan-net", "scan_front")
    assert "scan-typo" not in found
    (problem,) = build_table([snapshot]).problems
    assert problem.hint == "did you mean 'scan_front'?"


async def test_health_comes_from_the_engine(engine: Engine, pool: Pool) -> None:
    engine.run("scan-health", HEALTH)
    (endpoint,) = routes(await scan(engine, pool))["scan-health"].endpoints
    assert endpoint.state in {"waiting", "unhealthy"}


async def test_podman_gives_the_same_route_as_docker(podman_engine: Engine, pool: Pool) -> None:
    podman_engine.run("scan-podman", WEB, {"proxy.scan-podman.healthcheck.path": "/"})
    config = DockerProviderConfig(podman_engine.host, name="podman")
    found = routes(await scan_engine(config, pool=pool))["scan-podman"]
    assert found.target == f"http://{address(podman_engine, 'scan-podman', 'podman')}:80"
    assert found.problems == ()


# ---- errors ---------------------------------------------------------------------------------------------------------


async def test_a_failing_engine_does_not_affect_the_others(engine: Engine, pool: Pool, tmp_path: Path) -> None:
    engine.run("scan-there")
    missing = DockerProviderConfig(f"unix://{tmp_path}/none.sock", name="missing")
    result = await scan_all([missing, DockerProviderConfig(engine.host, name="here")], pool=pool)
    (snapshot,) = result.snapshots
    assert snapshot.config.name == "here"
    assert "scan-there" in routes(snapshot)
    assert isinstance(result.errors["missing"], EngineUnreachable)


async def test_engines_and_errors_come_in_the_order_of_the_configuration(pool: Pool, tmp_path: Path) -> None:
    async with FakeEngine() as one, FakeEngine() as two:
        configs = [DockerProviderConfig(url, name=name) for name, url in (("b", one.url), ("a", two.url))]
        bad = [DockerProviderConfig(f"unix://{tmp_path}/{name}.sock", name=name) for name in ("d", "c")]
        result = await scan_all([bad[0], configs[0], bad[1], configs[1]], pool=pool)
    assert [snapshot.config.name for snapshot in result.snapshots] == ["b", "a"]
    assert list(result.errors) == ["d", "c"]


async def test_engines_without_a_name_are_named_after_their_urls(pool: Pool, tmp_path: Path) -> None:
    gone = f"unix://{tmp_path}/none.sock"
    async with FakeEngine([container("web", ports=(80,))]) as one, FakeEngine([container("web", ports=(81,))]) as two:
        result = await scan_all([DockerProviderConfig(url) for url in (one.url, two.url, gone)], pool=pool)
        alone = await scan_engine(DockerProviderConfig(one.url), pool=pool)
        async with discover([DockerProviderConfig(one.url), DockerProviderConfig(two.url)], pool=pool) as discovery:
            await discovery.ready()
            live = discovery.table
    assert [snapshot.config.name for snapshot in result.snapshots] == [one.url, two.url]
    assert list(result.errors) == [gone]
    table = build_table(result.snapshots)
    assert set(table.engines) == set(live.engines) == {one.url, two.url}
    assert table.routes == live.routes
    assert table.problems  # both containers claim the alias
    assert (alone.config.name, alone.containers[0].provider) == (one.url, one.url)


async def test_two_engines_of_one_name_are_refused_before_any_is_asked(pool: Pool) -> None:
    same = [DockerProviderConfig("unix:///a.sock", name="x"), DockerProviderConfig("unix:///b.sock", name="x")]
    with pytest.raises(ConfigError, match="two engines are called 'x'; give each engine its own name"):
        await scan_all(same, pool=pool)
    with pytest.raises(ConfigError, match=r"two engines are called 'unix:.*a.sock'"):
        await scan_all([DockerProviderConfig("unix:///a.sock")] * 2, pool=pool)


@pytest.mark.parametrize("fault", [{"reset": True}, {"body": b"<html>"}, {"cut_after": 10}])
async def test_an_engine_that_disappears_during_a_scan_is_a_single_error(pool: Pool, fault: dict[str, object]) -> None:
    async with FakeEngine() as engine:
        for name in ("one", "two", "three"):
            engine.add(name, network_mode="host")
        engine.spoil("inspect", **fault)
        config = DockerProviderConfig(engine.url, name="fake")
        with pytest.raises(EngineError):
            await scan_engine(config, pool=pool)
        result = await scan_all([config], pool=pool)
        assert list(result.errors) == ["fake"]


async def test_an_engine_that_refuses_to_list_is_an_error(pool: Pool) -> None:
    async with FakeEngine() as engine:
        engine.spoil("list", status=403, message="not allowed")
        with pytest.raises(EngineRefused):
            await scan_engine(DockerProviderConfig(engine.url, name="fake"), pool=pool)


async def test_an_address_of_this_machine_leads_to_the_proxy_itself_in_scans_in_the_live_table_and_in_files(
    pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(HostAddresses, "__call__", lambda _: frozenset({"192.0.2.77"}))
    labels = {"proxy.far.host": "192.0.2.78", "proxy.loop.host": "192.0.2.77", "proxy.*.port": "8889"}
    file = tmp_path / "routes.yml"
    file.write_text("filed: {host: 192.0.2.77, port: 8889}\nfiled-far: {host: 192.0.2.78, port: 8889}\n")
    reserved = frozenset({8889})
    async with FakeEngine([container("web", labels={"proxy.aliases": "far,loop"} | labels)]) as engine:
        config = DockerProviderConfig(engine.url, name="fake")
        scanned = build_table([await scan_engine(config, pool=pool, reserved_ports=reserved)])
        async with discover([config], pool=pool, files=[str(file)], reserved_ports=reserved) as discovery:
            await discovery.ready()
            live = discovery.table
    assert {alias for alias, route in scanned.routes.items() if not route.excluded} == {"far"}
    assert {alias for alias, route in live.routes.items() if not route.excluded} == {"far", "filed-far"}
