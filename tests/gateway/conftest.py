from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.tunnels import Site, tunnel_site

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """A relay of tunnels with one route, ``app``, to an echo server behind an agent."""
    async with tunnel_site(tmp_path) as made:
        yield made
