from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from pilotage import EngineUnreachable, Pool, close_default_pool, new_client
from pilotage.testing import FakeEngine

if TYPE_CHECKING:
    from pathlib import Path


async def test_a_client_is_closed_by_its_own_context_or_by_whoever_awaited_it() -> None:
    async with FakeEngine() as engine, Pool() as pool:
        async with new_client(engine.url, pool=pool, unique=True) as client:
            await client.ping()
        assert client._connection.closed
        async with await new_client(engine.url, pool=pool, unique=True) as client:
            await client.ping()
        assert client._connection.closed
        client = await asyncio.create_task(new_client(engine.url, pool=pool))
        await client.close()


async def test_a_context_that_cannot_connect_is_not_entered(tmp_path: Path) -> None:
    with pytest.raises(EngineUnreachable, match="no socket at"):
        async with new_client(f"unix://{tmp_path}/none.sock"):
            pytest.fail("entered")
    await close_default_pool()


async def test_a_request_that_is_abandoned_opens_nothing() -> None:
    async with FakeEngine() as engine, Pool() as pool:
        new_client(engine.url, pool=pool).close()
        assert repr(pool) == "<Pool of 0 engines>"
