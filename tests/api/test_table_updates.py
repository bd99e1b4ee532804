from __future__ import annotations

from msgspec.structs import replace

from pilotage.api.table_updates import LENGTH, TableCopy, frame, pack_update
from pilotage.discovery.update import Update
from pilotage.routes.route import EndpointHealth
from pilotage.table.diff import diff
from pilotage.table.store import build_table
from pilotage.table.table import EngineStatus, Table
from pilotage.table.wakefulness import Wakefulness
from tests.support.example_engine import engine_snapshot, one

WEB = one("web", {"proxy.web.port": "80"})
FIRST = build_table([engine_snapshot([WEB, one("old")])])


def follow(copy: TableCopy, old: Table, new: Table) -> Update:
    """Bring a copy of the daemon's table from one version to another."""
    return copy.apply(pack_update(Update(old, new, diff(old, new))))


def assert_same(copy: TableCopy, table: Table) -> None:
    assert dict(copy.table.routes) == dict(table.routes)
    assert dict(copy.table.health) == dict(table.health)
    assert dict(copy.table.wakefulness) == dict(table.wakefulness)
    assert set(copy.table.problems) == set(table.problems)
    assert dict(copy.table.engines) == dict(table.engines)
    assert dict(copy.table.pool_members) == dict(table.pool_members)
    assert (copy.table.version, copy.table.engine_order) == (table.version, table.engine_order)


def test_a_copy_begins_with_everything() -> None:
    first = TableCopy(FIRST).first()
    assert {change.alias for change in first.changes} == {"", "web", "old"}
    assert not first.old.routes


def test_a_copy_follows_routes_problems_and_engines() -> None:
    copy = TableCopy(FIRST)
    labels = {"proxy.web.port": "81", "proxy.web.sheme": "http"}
    second = replace(build_table([engine_snapshot([one("web", labels), one("new")])]), version=7)
    update = follow(copy, FIRST, second)
    assert {(change.kind, change.alias) for change in update.changes} == {
        ("updated", "web"),
        ("removed", "old"),
        ("added", "new"),
        ("problem", "web"),
    }
    assert_same(copy, second)
    away = replace(second, version=8, engines={"local": EngineStatus("stale", 5.0, "gone")})
    assert [change.kind for change in follow(copy, second, away).changes] == ["stale"]
    assert_same(copy, away)
    back = replace(FIRST, version=9)
    follow(copy, away, back)
    assert_same(copy, back)


def test_a_copy_follows_probes_and_sleep() -> None:
    copy = TableCopy(FIRST)
    (endpoint,) = FIRST.routes["web"].endpoints
    health = {"web": {endpoint.address: EndpointHealth("unhealthy", 1.0)}}
    sick = replace(FIRST, version=5, health=health, wakefulness={"old": Wakefulness("waking", 1.0)})
    follow(copy, FIRST, sick)
    assert_same(copy, sick)
    well = replace(
        FIRST,
        version=6,
        wakefulness={"old": Wakefulness("ready", 2.0)},
        health={"web": {endpoint.address: EndpointHealth("healthy", 2.0)}},
    )
    follow(copy, sick, well)
    assert_same(copy, well)


def test_a_frame_begins_with_the_length_of_its_body() -> None:
    assert frame(b"abc") == b"\0\0\0\3abc"
    assert frame(b"") == bytes(LENGTH)
