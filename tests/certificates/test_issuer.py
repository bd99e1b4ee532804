from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from pilotage.certificates.errors import CertificateError
from pilotage.certificates.issuer import Issuer
from pilotage.certificates.keeper import Keeper
from pilotage.certificates.plan import Job
from pilotage.certificates.settings import Authority, AutocertSettings, Entry
from tests.support.acme import ChallengeServer, entry_for
from tests.support.ports import free_port

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.pebble import Pebble


async def opened(folder: Path) -> Keeper:
    keeper = Keeper(folder / "certificates")
    assert await keeper.ready(())
    return keeper


@pytest.mark.process
@pytest.mark.slow
async def test_a_second_ca_helps_if_the_first_is_away(pebble: Pebble, tmp_path: Path) -> None:
    (good,) = entry_for(pebble).authorities
    away = Authority(directory=f"https://127.0.0.1:{free_port()}/dir")
    entry = Entry(domains=("a.example.com",), authorities=(away, good))
    async with ChallengeServer(pebble) as server:
        issuer = Issuer(keeper := await opened(tmp_path), server)
        issuer.configure(AutocertSettings((entry,)))
        issued, directory = await issuer.issue(Job(entry, entry.domains, "a.example.com"), time.time())
        assert directory == good.directory
        assert "Pebble" in issued.leaf.issuer
        assert [order.issued for order in keeper.state.limits.dump()] == [False, True]
    keeper.close()


@pytest.mark.process
@pytest.mark.slow
async def test_a_second_ca_is_not_asked_if_the_name_cannot_be_validated(pebble: Pebble, tmp_path: Path) -> None:
    (good,) = entry_for(pebble).authorities
    other = Authority(directory=f"https://127.0.0.1:{free_port()}/dir")
    entry = Entry(domains=("away.example.com",), authorities=(good, other))
    pebble.dns_call("add-a", host="away.example.com.", addresses=["127.0.0.9"])
    async with ChallengeServer(pebble) as server:
        issuer = Issuer(keeper := await opened(tmp_path), server)
        with pytest.raises(CertificateError) as caught:
            await issuer.issue(Job(entry, entry.domains, "a"), time.time())
        assert caught.value.validated
        assert "cannot reach" not in caught.value.what
    keeper.close()


async def test_our_own_limit_stops_orders_before_a_ca_does(tmp_path: Path) -> None:
    keeper, now = await opened(tmp_path), time.time()
    authority = Authority(directory=f"https://127.0.0.1:{free_port()}/dir")
    entry = Entry(domains=("a.example.com",), authorities=(authority,))
    for _ in range(4):
        keeper.state.limits.begin(now, authority.directory, entry.domains, renewal=True)()
    issuer = Issuer(keeper, ChallengeServer(None))  # type: ignore[arg-type]  # nothing is validated
    with pytest.raises(CertificateError, match="its own limit of 4 certificates for the same names") as caught:
        await issuer.issue(Job(entry, entry.domains, "a", renewal=True), now)
    assert caught.value.retry_after > 6 * 86_400
    keeper.close()


async def test_our_own_ca_needs_nobody(tmp_path: Path) -> None:
    keeper = await opened(tmp_path)
    entry = Entry(method="internal", domains=("nas.lan",))
    issuer = Issuer(keeper, ChallengeServer(None))  # type: ignore[arg-type]
    issued, directory = await issuer.issue(Job(entry, entry.domains, "nas.lan"), time.time())
    assert (issued.leaf.names, directory) == (("nas.lan",), "")
    keeper.close()
