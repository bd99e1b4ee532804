from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec
import pytest

from pilotage.policy import FILE_REFUSED
from pilotage.table.table import Table
from pilotage.xds.options import GatewayOptions
from pilotage.xds.resources import CLUSTER
from pilotage.xds.server import AdsServer
from pilotage.xds.snapshot import Snapshot
from pilotage.xds.target_files import data_source, refused_aliases, unreadable_files
from tests.support.gateway import route

if TYPE_CHECKING:
    from pathlib import Path

    from pilotage.routes.route import Route


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
    mine = labelled(ca, ca.parent)
    assert unreadable_files(mine) == ()
    assert data_source(mine, str(ca)).inline_bytes == b"the CA"
    assert data_source(msgspec.structs.replace(mine, folders=None), "/any").filename == "/any"


def test_a_link_that_leaves_the_folder_is_refused_in_the_same_words_as_a_missing_file(ca: Path) -> None:
    ca.unlink()
    (missing,) = unreadable_files(labelled(ca, ca.parent))
    ca.symlink_to(ca.parent.parent / "other.pem")
    assert unreadable_files(labelled(ca, ca.parent)) == (missing,)
    ca.unlink()
    ca.mkdir()
    assert unreadable_files(labelled(ca, ca.parent)) == (missing,)
    assert missing.message == FILE_REFUSED
    with pytest.raises(ValueError, match="a label may name"):
        data_source(labelled(ca, ca.parent), str(ca))


def test_a_route_whose_file_is_not_readable_is_not_served(ca: Path) -> None:
    snapshot = Snapshot(GatewayOptions())
    snapshot.replace(Table({"shop": labelled(ca, ca.parent)}))
    assert b"the CA" in snapshot.resources[CLUSTER, "route/shop"].body
    other = Snapshot(GatewayOptions())
    other.replace(Table({"shop": labelled(ca.parent.parent / "other.pem", ca.parent)}))
    assert (CLUSTER, "route/shop") not in other.resources
    assert refused_aliases(other.problems) == {"shop"}
    assert b"secret" not in b"".join(resource.body for resource in other.resources.values())


async def test_a_file_that_becomes_readable_is_used(ca: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pilotage.xds.server.FILE_RETRY", 0.001)
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
