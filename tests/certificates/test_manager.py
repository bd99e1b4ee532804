from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from pilotage.certificates.manager import CertificateManager
from pilotage.certificates.settings import AutocertSettings
from tests.support.acme import ChallengeServer, running, settings_for, status_of
from tests.support.certificates import opened, stored
from tests.support.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

    from pilotage.certificates.status import CertificateEvent
    from tests.support.pebble import Pebble


pytestmark = [pytest.mark.process, pytest.mark.slow]


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


async def test_stored_certificates_are_served_before_the_routes_are_known(pebble: Pebble, tmp_path: Path) -> None:
    settings = settings_for(pebble, "shop.example.com")
    async with ChallengeServer(pebble) as server:
        async with running(CertificateManager(settings, tmp_path / "certificates", server, settle=0)):
            await until(lambda: server.served)
    async with ChallengeServer(pebble) as again:
        manager = CertificateManager(settings_for(pebble), tmp_path / "certificates", again, settle=0)
        await manager.prepare()
        assert again.served == {"shop.example.com"}
        assert not again.missed


async def test_a_certificate_is_renewed_before_it_expires(pebble: Pebble, tmp_path: Path) -> None:
    ahead, looks = 0.0, 0

    def hosts() -> dict[str, list[str]]:
        nonlocal looks
        looks += 1
        return {}

    async def look(manager: CertificateManager) -> None:
        goal = looks + 2  # the manager finishes the first of these looks before it begins the second

        def has_looked() -> bool:
            manager.wake()
            return looks >= goal

        await until(has_looked)

    async with ChallengeServer(pebble) as server:
        settings = settings_for(pebble, "shop.example.com")
        manager = CertificateManager(
            settings, tmp_path / "certificates", server, hosts, settle=0, clock=lambda: time.time() + ahead
        )
        async with running(manager):
            await until(lambda: server.served)
            before = status_of(manager, "shop.example.com")
            lifetime = before.not_after - before.not_before
            ahead = lifetime * 0.6
            await look(manager)
            assert not status_of(manager, "shop.example.com").renewing
            assert manager.totals.renewed == 0
            ahead = before.renew_at - time.time() + 60
            manager.wake()
            await until(lambda: manager.totals.renewed)
            after = status_of(manager, "shop.example.com")
            assert after.serial != before.serial
            assert after.file == before.file
            assert [event.kind for event in manager.events] == ["issued", "renewed"]


async def test_a_ca_that_is_away_at_the_start_is_asked_again(pebble: Pebble, tmp_path: Path) -> None:
    import time

    pebble.stop()
    ahead = 0.0
    async with ChallengeServer(pebble) as server:
        settings = settings_for(pebble, "shop.example.com")
        manager = CertificateManager(
            settings, tmp_path / "certificates", server, settle=0, clock=lambda: time.time() + ahead
        )
        async with running(manager):
            await until(lambda: manager.totals.failed)
            status = status_of(manager, "shop.example.com")
            assert (status.state, status.failures) == ("failed", 1)
            (problem,) = manager.problems()
            assert "cannot reach 127.0.0.1" in problem.message
            pebble.start()
            ahead = 120.0
            manager.wake()
            await until(lambda: server.served)
            assert manager.problems() == ()


async def test_one_bad_name_does_not_keep_the_others_from_having_certificates(pebble: Pebble, tmp_path: Path) -> None:
    pebble.dns_call("add-a", host="away.example.com.", addresses=["127.0.0.9"])
    hosts = {"main": ["away.example.com", "shop.example.com"]}
    async with ChallengeServer(pebble) as server:
        settings = settings_for(pebble)
        manager = CertificateManager(settings, tmp_path / "certificates", server, lambda: hosts, settle=0)
        async with running(manager):
            await until(lambda: server.served)
            assert server.served == {"shop.example.com"}
            assert status_of(manager, "away.example.com").state == "failed"
            assert status_of(manager, "shop.example.com").state == "valid"


async def test_dns_01_with_a_wildcard(tmp_path: Path) -> None:
    from pilotage.certificates.providers import read_dns_options
    from tests.support.dns_server import DnsServer
    from tests.support.pebble import Pebble

    with DnsServer().running() as dns, Pebble(tmp_path / "pebble", dns=f"{dns.address}:53").running() as pebble:
        options = read_dns_options("rfc2136", dns.options, (f"{dns.address}:53",))
        settings = settings_for(pebble, "*.example.com", "example.com", method="dns-01", dns=options)
        async with ChallengeServer(pebble) as server:
            manager = CertificateManager(settings, tmp_path / "certificates", server, settle=0)
            async with running(manager):
                await until(lambda: server.served or manager.totals.failed)
                assert manager.problems() == ()
                assert server.served == {"*.example.com", "example.com"}
                assert dns.records["_acme-challenge.example.com"] == []
                assert dns.updates == 4


async def test_records_that_a_crash_left_behind_are_removed(pebble: Pebble, tmp_path: Path) -> None:
    from pilotage.certificates.providers import read_dns_options
    from pilotage.certificates.records import Record, RecordJournal
    from tests.support.certificates import opened
    from tests.support.dns_server import DnsServer

    storage = opened(tmp_path)
    with DnsServer().running() as dns:
        RecordJournal(storage).add(Record("rfc2136", "_acme-challenge.a.example.com", "old"))
        dns.records["_acme-challenge.a.example.com"] = ["old"]
        options = read_dns_options("rfc2136", dns.options, (f"{dns.address}:53",))
        async with ChallengeServer(pebble) as server:
            settings = settings_for(pebble, method="dns-01", dns=options)
            async with running(CertificateManager(settings, storage.folder, server, settle=0)):
                await until(lambda: not RecordJournal(storage).records)
        assert dns.records["_acme-challenge.a.example.com"] == []


async def test_a_certificate_that_expires_without_successor_is_an_event(pebble: Pebble, tmp_path: Path) -> None:
    one, now = stored(tmp_path, "old.example.com"), [time.time()]
    opened(tmp_path).save(one)
    heard: list[CertificateEvent] = []
    async with ChallengeServer(pebble) as server:
        manager = CertificateManager(
            AutocertSettings(), tmp_path / "certificates", server, clock=lambda: now[0], settle=0
        )
        manager.on_event.append(heard.append)
        async with running(manager):
            await until(lambda: manager.leads and server.served)
            now[0] = one.leaf.not_after + 1
            manager.wake()
            await until(lambda: heard)
            assert server.served  # no CA has confirmed that the clock is right
    assert [(event.kind, event.names) for event in heard] == [("expired", ("old.example.com",))]


async def test_there_is_never_a_second_order_for_names_in_an_order(pebble: Pebble, tmp_path: Path) -> None:
    looks, held = 0, asyncio.Event()

    class SlowServer(ChallengeServer):
        async def set_http_challenge(self, token: str, key_authorization: str) -> None:
            await super().set_http_challenge(token, key_authorization)
            await held.wait()

    def hosts() -> dict[str, list[str]]:
        nonlocal looks
        looks += 1
        return {"main": ["shop.example.com"]}

    async with SlowServer(pebble) as server:
        manager = CertificateManager(settings_for(pebble), tmp_path / "certificates", server, hosts, settle=0)
        async with running(manager):
            await until(lambda: server.asked)
            seen = looks

            def has_looked_again() -> bool:
                manager.wake()
                return looks > seen + 5

            await until(has_looked_again)
            held.set()
            await until(lambda: server.served)
            manager.renew()  # steps of orders run one after the other, so another order would be done before this one
            await until(lambda: manager.totals.renewed)
            assert manager.totals.issued == 1
            assert len(server.asked) == 2
