from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec
import pytest
from immutables import Map

from pilotage.policy import FILE_REFUSED, read_below
from pilotage.routes.schema import LoadBalance, RouteSettings
from pilotage.table.table import Table
from pilotage.xds.backend import route_backend
from pilotage.xds.label_files import LabelFiles, data_source
from pilotage.xds.options import GatewayOptions
from pilotage.xds.resources import CLUSTER
from pilotage.xds.server import AdsServer
from pilotage.xds.snapshot import Snapshot
from tests.support.gateway import route
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import trustme

    from pilotage.routes.route import Route
    from tests.xds.conftest import Envoy


def labelled(ca: object, folder: Path) -> Route:
    """A route of a container whose label names a CA."""
    made = route("shop", 443, scheme="https", ssl_trusted_certificate=str(ca))
    return msgspec.structs.replace(made, folders=(str(folder),))


@pytest.fixture
def ca(tmp_path: Path) -> Path:
    folder = tmp_path / "allowed"
    folder.mkdir()
    (folder / "ca.pem").write_bytes(b"the CA")
    (tmp_path / "other.pem").write_bytes(b"secret")
    return folder / "ca.pem"


def test_the_file_of_a_label_is_sent_as_content_and_that_of_a_route_file_by_name(ca: Path) -> None:
    mine, files = labelled(ca, ca.parent), LabelFiles()
    assert files.read(mine) == ()
    backend = files.add_to(route_backend(mine))
    assert backend is not None
    assert data_source(backend, str(ca)).inline_bytes == b"the CA"
    free = route_backend(msgspec.structs.replace(mine, folders=None))
    assert data_source(free, "/any").filename == "/any"


def test_a_link_that_leaves_the_folder_is_refused_in_the_same_words_as_a_missing_file(ca: Path) -> None:
    mine, files = labelled(ca, ca.parent), LabelFiles()
    ca.unlink()
    (missing,) = files.read(mine)
    ca.symlink_to(ca.parent.parent / "other.pem")
    assert files.read(mine) == (missing,)
    ca.unlink()
    ca.mkdir()
    assert files.read(mine) == (missing,)
    assert missing.message == FILE_REFUSED
    assert files.refused == files.aliases == {"shop"}
    with pytest.raises(ValueError, match="a label may refer"):
        data_source(route_backend(mine), str(ca))


def test_a_route_whose_file_is_not_readable_is_not_served(ca: Path) -> None:
    snapshot = Snapshot(GatewayOptions())
    snapshot.replace(Table({"shop": labelled(ca, ca.parent)}))
    assert b"the CA" in snapshot.resources[CLUSTER, "route/shop"].body
    other = Snapshot(GatewayOptions())
    other.replace(Table({"shop": labelled(ca.parent.parent / "other.pem", ca.parent)}))
    assert (CLUSTER, "route/shop") not in other.resources
    assert other.files.refused == {"shop"}
    assert b"secret" not in b"".join(resource.body for resource in other.resources.values())


def test_each_file_is_read_once_for_a_route_with_two_clusters(ca: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def counted(path: str, folders: Iterable[str]) -> bytes | None:
        calls.append(path)
        return read_below(path, folders)

    monkeypatch.setattr("pilotage.xds.label_files.read_below", counted)
    Snapshot(GatewayOptions()).replace(Table({"shop": labelled(ca, ca.parent)}))
    assert calls == [str(ca)]


def test_a_file_that_vanishes_takes_down_no_pool_when_another_member_changes(ca: Path) -> None:
    one, two = (
        msgspec.structs.replace(
            labelled(ca, ca.parent),
            alias=alias,
            settings=RouteSettings(ssl_trusted_certificate=str(ca), load_balance=LoadBalance(link="all")),
        )
        for alias in ("one", "two")
    )
    snapshot = Snapshot(GatewayOptions())
    snapshot.replace(Table({"one": one, "two": two}, pool_members=Map({"all": ("one", "two")})))
    ca.unlink()
    snapshot.change(Table({"one": one}, pool_members=Map({"all": ("one",)})), ["two"])
    assert b"the CA" in snapshot.resources[CLUSTER, "pool/all"].body
    assert snapshot.problems == {}


def test_the_content_stays_while_requests_wait_for_a_successor_even_across_a_reload(ca: Path) -> None:
    mine = labelled(ca, ca.parent)
    mine = msgspec.structs.replace(mine, settings=msgspec.structs.replace(mine.settings, hold=60.0))
    snapshot = Snapshot(GatewayOptions())
    snapshot.replace(Table({"shop": mine}))
    ca.unlink()
    snapshot.replace(Table())
    assert b"the CA" in snapshot.resources[CLUSTER, "route/shop"].body
    snapshot.configure(GatewayOptions(max_target_connections=7))
    assert b"the CA" in snapshot.resources[CLUSTER, "route/shop"].body
    snapshot.remove("shop", snapshot.lingering["shop"])
    assert snapshot.files.aliases == set()
    assert snapshot.problems == {}


async def test_a_file_that_becomes_readable_is_used(ca: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pilotage.xds.target_watch.FILE_RETRY", 0.001)
    ca.rename(ca.with_suffix(".new"))
    async with AdsServer(GatewayOptions()) as ads:
        ads.publish(Table({"shop": labelled(ca, ca.parent)}))
        await asyncio.sleep(0.01)
        assert [problem.message for problem in ads.problems] == [FILE_REFUSED]
        ca.with_suffix(".new").rename(ca)
        async with asyncio.timeout(10):
            while ads.problems:  # noqa: ASYNC110  nothing tells when it has been read
                await asyncio.sleep(0.001)
        assert (CLUSTER, "route/shop") in ads.snapshot.resources


async def test_a_reload_reads_files_again_although_no_setting_has_changed(ca: Path) -> None:
    async with AdsServer(GatewayOptions()) as ads:
        ads.publish(Table({"shop": labelled(ca, ca.parent)}))
        ca.write_bytes(b"the next CA")
        assert ads.configure(ads.snapshot.options) == {(CLUSTER, "route/shop"), (CLUSTER, "route/shop/h2")}
        assert b"the next CA" in ads.snapshot.resources[CLUSTER, "route/shop"].body
        assert ads.configure(ads.snapshot.options) == frozenset()
        ca.unlink()
        ads.configure(ads.snapshot.options)
        assert (CLUSTER, "route/shop") not in ads.snapshot.resources
        assert [problem.message for problem in ads.problems] == [FILE_REFUSED]


@pytest.mark.parametrize("link", ["", "all"])
async def test_what_envoy_rejected_is_offered_again_with_the_files_as_they_are_then(
    ca: Path, envoy: Envoy, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch, link: str
) -> None:
    monkeypatch.setattr("pilotage.xds.nacks._FIRST_DELAY", 0.2)
    ca.write_bytes(b"half a CA")
    mine = labelled(ca, ca.parent)
    balance = LoadBalance(link=link)
    mine = msgspec.structs.replace(mine, settings=msgspec.structs.replace(mine.settings, load_balance=balance))
    async with envoy() as gw:
        gw.ads.publish(Table({"shop": mine}, pool_members=Map({link: ("shop",)} if link else {})))
        await until(lambda: [it for it in gw.ads.problems if "rejected this route" in it.message])
        ca.write_bytes(authority.cert_pem.bytes())
        await until(lambda: not gw.ads.problems)
        async with asyncio.timeout(20):
            await gw.ads.wait_for_acks()
    assert not gw.ads.problems
