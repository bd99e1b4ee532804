"""A CA that limits rates, through a proxy that refuses requests as public CAs do."""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from typing import TYPE_CHECKING

import msgspec
import pytest

from pilotage.certificates.account import Account
from pilotage.certificates.errors import CertificateError
from pilotage.certificates.manager import CertificateManager
from pilotage.certificates.settings import AutocertSettings
from tests.support.acme import ChallengeServer, entry_for, running, settings_for, status_of
from tests.support.acme_proxy import ACCOUNT, DIRECTORY, FINALIZE, ORDER, AcmeProxy
from tests.support.certificates import opened
from tests.support.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.pebble import Pebble

pytestmark = [pytest.mark.process, pytest.mark.slow]

HOST = "shop.example.com"
WORDS = "too many certificates already issued for example.com"
LIMITED = {"type": "rateLimited", "detail": WORDS}


class Clock:
    """A clock that tests set ahead."""

    ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


async def test_a_rate_limited_order_waits_for_as_long_as_the_ca_asks(pebble: Pebble, tmp_path: Path) -> None:
    clock = Clock()
    async with ChallengeServer(pebble) as server, AcmeProxy(pebble, tmp_path) as proxy:
        proxy.refuse(ORDER, 429, LIMITED, Retry_After="7200")
        manager = CertificateManager(settings_for(proxy, HOST), tmp_path / "c", server, settle=0, clock=clock)
        async with running(manager):
            await until(lambda: manager.totals.failed)
            status = status_of(manager, HOST)
            assert 7100 < status.next_attempt - time.time() <= 7200
            (problem,) = manager.problems()
            assert WORDS in problem.message
            assert "when the CA allows it" in problem.hint
        asked = proxy.count(ORDER)
        clock.ahead = 7000
        again = CertificateManager(settings_for(proxy, HOST), tmp_path / "c", server, settle=0, clock=clock)
        async with running(again):  # a restart does not shorten the wait
            await until(lambda: status_of(again, HOST).state == "failed")
            assert proxy.count(ORDER) == asked
            clock.ahead = 7300
            again.wake()
            await until(lambda: server.served)
            assert again.problems() == ()


async def test_a_ca_is_not_asked_again_early_because_another_one_allows_it(pebble: Pebble, tmp_path: Path) -> None:
    clock = Clock()
    async with ChallengeServer(pebble) as server, AcmeProxy(pebble, tmp_path) as proxy:
        (tmp_path / "second").mkdir()
        async with AcmeProxy(pebble, tmp_path / "second") as second:
            proxy.refuse(ORDER, 429, LIMITED, Retry_After="7200")
            second.refuse(ORDER, 503, {"type": "serverInternal", "detail": "down for maintenance"}, Retry_After="600")
            authorities = (*entry_for(proxy).authorities, *entry_for(second).authorities)
            settings = AutocertSettings((entry_for(proxy, HOST, authorities=authorities),))
            manager = CertificateManager(settings, tmp_path / "c", server, settle=0, clock=clock)
            async with running(manager):
                await until(lambda: manager.totals.failed)
                assert "; then " in status_of(manager, HOST).error
                asked = proxy.count(ORDER)
                clock.ahead = 700
                manager.wake()
                await until(lambda: server.served)
            assert proxy.count(ORDER) == asked
            assert second.count(ORDER) > 1


async def test_a_ca_that_wants_no_requests_gets_none(pebble: Pebble, tmp_path: Path) -> None:
    async with AcmeProxy(pebble, tmp_path) as proxy:
        (authority,) = entry_for(proxy).authorities
        for number, kind in enumerate((DIRECTORY, ACCOUNT)):
            proxy.seen.clear()
            proxy.refuse(kind, 429, None, Retry_After="3000")
            account = Account(msgspec.structs.replace(authority), opened(tmp_path / str(number)))
            for _ in range(2):
                with pytest.raises(CertificateError, match="responded with the status 429 Too Many Requests") as caught:
                    await asyncio.to_thread(account.connect)
                assert 2900 < caught.value.retry_after <= 3000
            assert proxy.count(kind) == 1
            account.forget_refusal()
            await asyncio.to_thread(account.connect)


async def test_a_certificate_of_the_ca_that_seems_expired_points_to_the_clock(pebble: Pebble, tmp_path: Path) -> None:
    then = dt.datetime(2001, 1, 1, tzinfo=dt.UTC)
    async with AcmeProxy(pebble, tmp_path, not_before=then, not_after=then + dt.timedelta(days=90)) as proxy:
        account = Account(entry_for(proxy).authorities[0], opened(tmp_path))
        with pytest.raises(CertificateError, match=r"certificate has expired.*check this machine's clock, which shows"):
            await asyncio.to_thread(account.connect)


async def test_a_refused_finalization_is_repeated_later(pebble: Pebble, tmp_path: Path) -> None:
    clock = Clock()
    async with ChallengeServer(pebble) as server, AcmeProxy(pebble, tmp_path) as proxy:
        proxy.refuse(FINALIZE, 503)
        manager = CertificateManager(settings_for(proxy, HOST), tmp_path / "c", server, settle=0, clock=clock)
        async with running(manager):
            await until(lambda: manager.totals.failed)
            assert "responded with the status 503 Service Unavailable" in status_of(manager, HOST).error
            assert server.tokens == {}
            clock.ahead = 120
            manager.wake()
            await until(lambda: server.served)
