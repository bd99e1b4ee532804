from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pilotage.certificates.account import Account
from pilotage.certificates.challenges import Solver
from pilotage.certificates.manager import CertificateManager
from pilotage.certificates.orders import obtain
from pilotage.certificates.records import RecordJournal
from pilotage.certificates.storage import Storage
from tests.support.acme import ChallengeServer, running, settings_for
from tests.support.acme_proxy import ORDER, AcmeProxy
from tests.support.certificates import opened
from tests.support.pebble import Pebble
from tests.support.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

HOST = "shop.example.com"


@pytest.mark.process
@pytest.mark.slow
async def test_a_renewal_names_the_certificate_that_it_replaces(tmp_path: Path) -> None:
    with Pebble(tmp_path / "pebble", newer=True, bad_nonces=0).running() as pebble:
        async with ChallengeServer(pebble) as server, AcmeProxy(pebble, tmp_path) as proxy:
            settings = settings_for(proxy, HOST)
            storage = Storage(tmp_path / "certificates")
            manager = CertificateManager(settings, storage.folder, server, settle=0)
            async with running(manager):
                await until(lambda: server.served)
                first = storage.read(HOST).chain
                manager.renew()
                await until(lambda: manager.totals.renewed)
            orders = [payload for kind, payload in proxy.seen if kind == ORDER and payload]
            assert "replaces" not in orders[0]
            assert "replaces" in orders[-1]
            assert pebble.log.count("is a replacement of") == 1
            # The first certificate has been replaced already, which the CA accepts once.
            (entry,) = settings.entries
            solver = Solver("http-01", server, None, RecordJournal(storage))
            account = Account(entry.authorities[0], storage)
            issued = await obtain(account, [HOST], "http-01", solver, "ec256", replaced=first)
            assert issued.leaf.names == (HOST,)
            assert pebble.log.count("is a replacement of") == 1


@pytest.mark.process
@pytest.mark.slow
async def test_rejected_nonces_place_no_second_order(tmp_path: Path) -> None:
    with Pebble(tmp_path / "pebble", bad_nonces=60).running() as pebble:
        async with ChallengeServer(pebble) as server:
            (authority,) = settings_for(pebble, HOST).entries[0].authorities
            storage = opened(tmp_path)
            solver = Solver("http-01", server, None, RecordJournal(storage))
            names = [HOST, "blog.example.com", "wiki.example.com"]  # each authorization is another request
            await obtain(Account(authority, storage), names, "http-01", solver, "ec256")
        assert pebble.log.count("Added order ") == 1


@pytest.mark.process
@pytest.mark.slow
async def test_a_ca_without_ari_gets_no_predecessor(pebble: Pebble, tmp_path: Path) -> None:
    async with ChallengeServer(pebble) as server, AcmeProxy(pebble, tmp_path) as proxy:
        manager = CertificateManager(settings_for(proxy, HOST), tmp_path / "certificates", server, settle=0)
        async with running(manager):
            await until(lambda: server.served)
            manager.renew()
            await until(lambda: manager.totals.renewed)
        assert not any("replaces" in payload for kind, payload in proxy.seen if kind == ORDER and payload)
