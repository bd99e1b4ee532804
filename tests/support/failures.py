"""Errors of engines that cannot be used."""

from __future__ import annotations

import pytest

from pilotage.core.errors import EngineError
from pilotage.engine.config import DockerProviderConfig
from pilotage.engine.connection import Timeouts
from pilotage.engine.pool import Pool, new_client
from tests.support.leaks import assert_no_leaks

__all__ = ["SHORT", "failure"]

SHORT = Timeouts(connect=0.5, request=0.5)


async def failure(url: str, timeouts: Timeouts = SHORT) -> EngineError:
    """Return the error of a failed connection, after checking for leaks."""
    async with assert_no_leaks(), Pool(timeouts) as pool:
        with pytest.raises(EngineError) as caught:
            await new_client(DockerProviderConfig(url, name="far"), pool=pool)
    return caught.value
