from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest

from pilotage.certificates.manager import CertificateManager
from tests.support.acme import ChallengeServer, settings_for, status_of
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.pebble import Pebble


pytestmark = [pytest.mark.process, pytest.mark.slow]


@contextlib.asynccontextmanager
async def running(manager: CertificateManager) -> AsyncIterator[CertificateManager]:
    task = asyncio.create_task(manager.run())
    try:
        yield manager
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_a_certificate_for_listed_domains_is_obtained_by_http_01(pebble: Pebble, tmp_path: Path) -> None:
    settings = settings_for(pebble, "shop.example.com", "www.example.com")
    async with ChallengeServer(pebble) as server:
        manager = CertificateManager(settings, tmp_path / "certificates", server, settle=0)
        async with running(manager):
            await until(lambda: server.served)
            assert server.served == {"shop.example.com", "www.example.com"} == server.names
            status = status_of(manager, "shop.example.com")
            assert status.state == "valid"
            assert "Pebble" in status.issuer
            assert manager.problems() == ()
            assert server.tokens == {}
