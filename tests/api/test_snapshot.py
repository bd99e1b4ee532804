from __future__ import annotations

from pathlib import Path

import msgspec

from pilotage.api.snapshot import Snapshot, pack, socket_candidates, unpack
from pilotage.cli.sources import demonstration
from pilotage.core.problems import Problem
from pilotage.routes.file import read_route_file
from pilotage.routes.route import EndpointHealth

VIEW = demonstration()
HEALTH = {"shop": {"10.0.0.1:80": EndpointHealth("unhealthy", 12.5)}}
POOLS = {"shop": ("b", "a")}
PACKED = pack(VIEW.snapshots, msgspec.structs.replace(VIEW.table, health=HEALTH, pool_members=POOLS))


def test_a_packed_snapshot_unpacks_to_the_same() -> None:
    snapshot = unpack(PACKED)
    assert snapshot is not None
    assert snapshot.snapshots == VIEW.snapshots
    table = snapshot.table
    assert dict(table.routes) == dict(VIEW.table.routes)
    assert table.problems == VIEW.table.problems
    assert dict(table.engines) == dict(VIEW.table.engines)
    assert table.version == VIEW.table.version
    assert table.health == HEALTH
    assert table.pool_members == POOLS
    assert table.engine_order == VIEW.table.engine_order != ()


def test_problems_beside_the_table_are_in_it() -> None:
    snapshot = unpack(pack(VIEW.snapshots, VIEW.table, [Problem(message="of the configuration")]))
    assert snapshot is not None
    assert len(snapshot.table.problems) == len(VIEW.table.problems) + 1


def test_files_of_routes_come_out_with_every_place_in_them() -> None:
    text = "nas:\n  host: 10.0.0.9\n  port: 80\n  healthcheck: {path: /up}\n  middlewares: {set_headers: {x: [a]}}\n"
    file = read_route_file(text, "routes.yml")
    snapshot = unpack(pack((), VIEW.table, files=[file]))
    assert snapshot is not None
    assert snapshot.files == (file,)
    assert snapshot.files[0].fields["nas"]


def test_another_version_is_not_understood() -> None:
    other = msgspec.msgpack.decode(PACKED, type=Snapshot)
    assert unpack(msgspec.msgpack.encode(msgspec.structs.replace(other, version="99"))) is None


def test_sockets_of_the_user_and_the_system_are_candidates() -> None:
    assert [str(path) for path in socket_candidates({"XDG_RUNTIME_DIR": "/run/user/7"})] == [
        "/run/user/7/pilotage.sock",
        "/run/pilotage/pilotage.sock",
    ]
    assert socket_candidates({}) == [Path("/run/pilotage/pilotage.sock")]
    assert socket_candidates({"PILOTAGE_SOCKET": "/x", "XDG_RUNTIME_DIR": "/run/user/7"}) == [Path("/x")]
