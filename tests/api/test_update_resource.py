from __future__ import annotations

from typing import TYPE_CHECKING

import aiohttp

from pilotage.api import update_resource
from pilotage.api.listen import Listen
from pilotage.api.snapshot import unpack
from pilotage.api.table_updates import LENGTH, UPDATES_PATH, TableCopy
from pilotage.core.problems import Problem
from tests.support.api_server import serving

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


async def body_of(stream: aiohttp.StreamReader) -> bytes:
    return await stream.readexactly(int.from_bytes(await stream.readexactly(LENGTH), "big"))


async def test_the_table_and_its_updates_are_streamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(update_resource, "HEARTBEAT", 0.2)
    async with serving(Listen(path=str(tmp_path / "api.sock"))) as caller:
        connector = aiohttp.UnixConnector(str(tmp_path / "api.sock"))
        async with (
            aiohttp.ClientSession("http://pilotage", connector=connector) as session,
            session.get(UPDATES_PATH) as response,
        ):
            snapshot = unpack(await body_of(response.content))
            assert snapshot is not None
            copy = TableCopy(snapshot.table)
            assert set(copy.table.routes) == {"db", "web"}
            assert [problem.message for problem in copy.table.problems if problem.file] == ["of the configuration"]
            assert await body_of(response.content) == b""  # nothing has changed for a while
            caller.source.found = (Problem(message="rejected by Envoy", route="web"),)
            while not (body := await body_of(response.content)):
                pass
            assert copy.apply(body).changes == ()
            assert {it.message for it in copy.table.problems if not it.label} == {"rejected by Envoy"}
            caller.engine.add("new", labels={"proxy.new.port": "81"})
            while not (body := await body_of(response.content)):
                pass
            update = copy.apply(body)
    assert [(change.kind, change.alias) for change in update.changes] == [("added", "new")]
    assert update.new.routes["new"].port.proxy == 81


async def test_updates_are_served_on_the_unix_socket_only() -> None:
    async with serving() as caller:
        await caller.json(UPDATES_PATH, 403)
