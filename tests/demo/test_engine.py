"""The demonstration shows what it is meant to show, seen through the library itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pilotage import DockerProviderConfig, Pool, Table, build_table, scan_engine
from pilotage.core.errors import EngineUnreachable
from pilotage.demo.engine import demo_containers, demo_engine
from pilotage.demo.site import demo_site
from pilotage.testing import container

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from pilotage.testing import FakeEngine


@pytest.fixture
async def table() -> Table:
    async with demo_engine() as engine, Pool() as pool:
        return build_table([await scan_engine(DockerProviderConfig(engine.url, name="demo"), pool=pool)])


def test_every_alias_has_its_route(table: Table) -> None:
    assert set(table.routes) == {
        "api", "blog", "git", "git-ssh", "postgres", "shop", "shop-admin", "status", "wiki",
    }  # fmt: skip


def test_the_database_alone_is_excluded(table: Table) -> None:
    excluded = {alias: route.excluded_reason for alias, route in table.routes.items() if route.excluded}
    assert excluded == {"postgres": "Blacklisted (backend service or database)"}


def test_the_two_replicas_share_a_route(table: Table) -> None:
    assert [endpoint.host for endpoint in table.routes["api"].endpoints] == ["172.20.0.2", "172.20.0.3"]


def test_the_stopped_wiki_waits_to_be_woken(table: Table) -> None:
    assert table.routes["wiki"].idle_watcher


def test_the_second_alias_of_the_forge_has_a_port_of_its_own(table: Table) -> None:
    assert (table.routes["git-ssh"].listen, table.routes["git-ssh"].port.proxy) == ("tcp4://0.0.0.0:2222", 2200)


def test_the_mistyped_label_is_the_only_problem_and_comes_with_a_suggestion(table: Table) -> None:
    (problem,) = table.problems
    assert (problem.container, problem.label) == ("status", "proxy.status.sheme")
    assert "'scheme'" in problem.hint


def test_the_demonstration_is_the_same_every_time() -> None:
    assert demo_containers() == demo_containers()


async def test_its_containers_can_be_replaced() -> None:
    async with demo_engine([container("web")]) as engine:
        assert [each.name for each in engine.containers.values()] == ["web"]


@pytest.mark.parametrize("demonstration", [demo_engine, demo_site])
async def test_the_demonstration_reports_that_no_directory_is_available(
    demonstration: Callable[[], AbstractAsyncContextManager[FakeEngine]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/nonexistent")
    said = "demo: the demonstration cannot make its socket: No such file or directory; make /tmp writable"
    with pytest.raises(EngineUnreachable, match=said):
        async with demonstration():
            pass
