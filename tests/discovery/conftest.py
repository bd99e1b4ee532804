from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pilotage import Pool

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def pool() -> AsyncIterator[Pool]:
    async with Pool() as pool:
        yield pool
