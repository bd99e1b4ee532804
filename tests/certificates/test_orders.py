from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

from pilotage.certificates.account import Account
from pilotage.certificates.challenges import Solver
from pilotage.certificates.errors import CertificateError
from pilotage.certificates.orders import Issued, obtain, renewal_window
from pilotage.certificates.records import RecordJournal
from tests.support.acme import ChallengeServer, entry_for
from tests.support.certificates import opened
from tests.support.pebble import SHORT_LIFETIME, Pebble

if TYPE_CHECKING:
    from pathlib import Path

    from pilotage.certificates.settings import KeyType, Method

pytestmark = [pytest.mark.process, pytest.mark.slow]


async def order(
    pebble: Pebble,
    folder: Path,
    server: ChallengeServer,
    *names: str,
    method: Method = "http-01",
    key_type: KeyType = "ec256",
    profile: str = "",
) -> Issued:
    storage = opened(folder)
    authority = msgspec.structs.replace(entry_for(pebble).authorities[0], profile=profile)
    solver = Solver(method, server, None, RecordJournal(storage))
    return await obtain(Account(authority, storage), names, method, solver, key_type)


async def test_tls_alpn_01(pebble: Pebble, tmp_path: Path) -> None:
    async with ChallengeServer(pebble) as server:
        issued = await order(pebble, tmp_path, server, "a.example.com", "b.example.com", method="tls-alpn-01")
        assert set(issued.leaf.names) == {"a.example.com", "b.example.com"} == set(server.asked)
        assert server.hosts == {}
        assert "PRIVATE" not in repr(issued)


async def test_keys_of_the_configured_type_and_a_new_one_each_time(pebble: Pebble, tmp_path: Path) -> None:
    async with ChallengeServer(pebble) as server:
        first, second = [await order(pebble, tmp_path, server, "a.example.com", key_type="rsa2048") for _ in range(2)]
        assert first.key != second.key
        (leaf, *_) = x509.load_pem_x509_certificates(first.chain)
        assert isinstance(leaf.public_key(), rsa.RSAPublicKey)


async def test_a_name_that_is_not_ours_is_blamed_alone(pebble: Pebble, tmp_path: Path) -> None:
    async with ChallengeServer(pebble) as server:
        pebble.dns_call("add-a", host="away.example.com.", addresses=["127.0.0.9"])
        with pytest.raises(CertificateError) as caught:
            await order(pebble, tmp_path, server, "a.example.com", "away.example.com")
        assert caught.value.names == {"away.example.com"}
        assert caught.value.validated
        assert "could not validate away.example.com" in caught.value.what
        assert "80" in caught.value.hint
        assert server.tokens == {}


async def test_a_name_that_the_ca_forbids(pebble: Pebble, tmp_path: Path) -> None:
    async with ChallengeServer(pebble) as server:
        with pytest.raises(CertificateError, match="rejectedIdentifier"):
            await order(pebble, tmp_path, server, "shop.blocked-domain.com")


async def test_a_wildcard_needs_dns(pebble: Pebble, tmp_path: Path) -> None:
    async with ChallengeServer(pebble) as server:
        with pytest.raises(CertificateError, match="the CA offers no http-01 challenge"):
            await order(pebble, tmp_path, server, "*.example.com")


async def test_short_lived_certificates_and_renewal_information(tmp_path: Path) -> None:
    with Pebble(tmp_path / "pebble", newer=True).running() as pebble:
        async with ChallengeServer(pebble) as server:
            issued = await order(pebble, tmp_path, server, "a.example.com", profile="shortlived")
            assert abs(issued.leaf.not_after - issued.leaf.not_before - SHORT_LIFETIME) < 60
            account = Account(entry_for(pebble).authorities[0], opened(tmp_path))
            at, again = await renewal_window(account, issued.chain)
            assert at is not None
            assert issued.leaf.not_before < at < issued.leaf.not_after
            assert 0 < again <= 86_400
            leaf = issued.chain[: issued.chain.index(b"-----END") + 27].decode()
            pebble.set_renewal_info(leaf, "2030-01-01T00:00:00Z", "2030-01-02T00:00:00Z")
            at, _ = await renewal_window(account, issued.chain)
            assert at is not None
            assert 1_893_456_000 <= at <= 1_893_456_000 + 86_400


async def test_an_old_ca_suggests_no_time(pebble: Pebble, tmp_path: Path) -> None:
    async with ChallengeServer(pebble) as server:
        issued = await order(pebble, tmp_path, server, "a.example.com")
        account = Account(entry_for(pebble).authorities[0], opened(tmp_path))
        assert (await renewal_window(account, issued.chain))[0] is None
