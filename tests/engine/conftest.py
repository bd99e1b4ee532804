"""A pool whose connections only count: ``CountingConnection.made`` has them all."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from pilotage.engine.pool import Pool
from tests.support.counting import CountingConnection

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
def counting() -> None:
    CountingConnection.made = []
    CountingConnection.delay = 1.0
    CountingConnection.failures = 0
    CountingConnection.failed = asyncio.Event()


@pytest.fixture
async def pool(counting: None) -> AsyncIterator[Pool]:
    async with Pool(connect=CountingConnection) as pool:
        yield pool
