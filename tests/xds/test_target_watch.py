from __future__ import annotations

from typing import TYPE_CHECKING

from pilotage.policy import Claimant, Policy
from pilotage.policy.target_addresses import Reach
from pilotage.routes.route import Endpoint
from pilotage.table.table import Table
from pilotage.xds import target_watch as module
from pilotage.xds.options import GatewayOptions
from pilotage.xds.snapshot import Snapshot
from pilotage.xds.target_guard import TargetGuard
from pilotage.xds.target_watch import TargetWatcher
from tests.support.gateway import route
from tests.support.waiting import until

if TYPE_CHECKING:
    import pytest

    from pilotage.routes.route import Route
    from pilotage.xds.resources import Key


def named(host: str) -> Route:
    return route("app", endpoints=(Endpoint(host, 80, "app", "id", reach=Reach(Claimant(engine="local"))),))


def table(*routes: Route) -> Table:
    return Table({it.alias: it for it in routes})


async def test_the_first_table_waits_for_the_addresses_of_its_names() -> None:
    snapshot = Snapshot(GatewayOptions())
    watcher = TargetWatcher(snapshot, lambda _: None, lookup=lambda _: ("10.0.0.1", "10.0.0.2"))
    await watcher.prepare(table(named("nas.lan")), 20)
    backend = snapshot.backend("route/app")
    assert backend is not None
    assert [member.host for member in backend.members] == ["10.0.0.1", "10.0.0.2"]
    snapshot.change(Table(), ["app"])
    watcher.follow()
    await watcher.close()
    assert snapshot.targets.resolved == {}


async def test_an_address_that_is_found_later_is_published_with_its_table() -> None:
    snapshot = Snapshot(GatewayOptions())
    watcher = TargetWatcher(snapshot, lambda _: None, lookup=lambda _: ("10.0.0.1",))
    told: list[tuple[Table, set[str], int]] = []

    def note(table: Table, aliases: set[str]) -> None:
        backend = snapshot.backend("route/app")
        assert backend is not None
        told.append((table, aliases, len(backend.members)))

    watcher.on_touched.append(note)
    published = table(named("nas.lan"))
    snapshot.replace(published)
    watcher.follow()
    await until(lambda: len(told) == 2)
    assert told == [(published, {"app"}, 0), (published, {"app"}, 1)]
    await watcher.close()


async def test_a_change_of_this_machines_addresses_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_RECHECK", 0.001)
    local: set[str] = set()
    news: list[frozenset[Key]] = []
    guard = TargetGuard(Policy(), frozenset({8080}), lambda: frozenset(local))
    snapshot = Snapshot(GatewayOptions(), guard)
    watcher = TargetWatcher(snapshot, news.append)
    snapshot.replace(table(route("app", endpoints=(Endpoint("10.9.9.1", 8080),))))
    watcher.follow()
    before = snapshot.backend("route/app")
    assert before is not None
    assert before.members
    local.add("10.9.9.1")  # a network of containers was made
    await until(lambda: news)
    after = snapshot.backend("route/app")
    assert after is not None
    assert after.members == ()
    assert "a port of pilotage itself" in str(snapshot.problems["route/app"])
    await watcher.close()
