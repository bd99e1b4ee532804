from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from acme import challenges, messages
from josepy.jwk import JWKEC

from pilotage.certificates.challenges import Solver, challenge_for
from pilotage.certificates.errors import CertificateError
from pilotage.certificates.records import RecordJournal
from pilotage.certificates.x509 import make_key, read_leaf
from pilotage.core.errors import GatewayError
from tests.support.certificates import opened

if TYPE_CHECKING:
    from pathlib import Path

    from pilotage.xds.served_certificates import CertificatePair

TOKEN = "A" * 43
KEY = JWKEC(key=make_key("ec256"))


def authorization(*kinds: str) -> Any:
    bodies = [
        messages.ChallengeBody.from_json({"type": kind, "url": "https://ca/1", "token": TOKEN, "status": "pending"})
        for kind in kinds
    ]
    return SimpleNamespace(body=SimpleNamespace(challenges=bodies, identifier=SimpleNamespace(value="a.example.com")))


class Envoys:
    """Records challenges; can refuse them."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.http: dict[str, str] = {}
        self.tls: dict[str, CertificatePair] = {}

    async def set_http_challenge(self, token: str, key_authorization: str) -> None:
        self.http[token] = key_authorization
        if self.error is not None:
            raise self.error

    def remove_http_challenge(self, token: str) -> None:
        del self.http[token]

    async def set_tls_alpn_challenge(self, host: str, certificate: CertificatePair) -> None:
        self.tls[host] = certificate

    def remove_tls_alpn_challenge(self, host: str) -> None:
        del self.tls[host]


def test_the_challenge_of_the_method_is_chosen() -> None:
    found = authorization("dns-01", "http-01", "tls-alpn-01", "unheard-of-01")
    assert isinstance(challenge_for(found, "http-01").chall, challenges.HTTP01)
    assert challenge_for(found, "tls-alpn-01").chall.typ == "tls-alpn-01"
    assert isinstance(challenge_for(found, "dns-01").chall, challenges.DNS01)
    with pytest.raises(CertificateError, match=r"offers no http-01 challenge for a\.example\.com, only: dns-01"):
        challenge_for(authorization("dns-01"), "http-01")


async def test_answers_are_removed_even_after_an_error(tmp_path: Path) -> None:
    envoys, journal = Envoys(), RecordJournal(opened(tmp_path))
    body = challenge_for(authorization("http-01"), "http-01")

    async def fail() -> None:
        async with Solver("http-01", envoys, None, journal).answering([("a.example.com", body)], KEY):
            assert envoys.http == {TOKEN: body.chall.key_authorization(KEY)}
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert envoys.http == {}


async def test_the_certificate_for_tls_alpn_01_is_for_the_host(tmp_path: Path) -> None:
    envoys, journal = Envoys(), RecordJournal(opened(tmp_path))
    body = challenge_for(authorization("tls-alpn-01"), "tls-alpn-01")
    async with Solver("tls-alpn-01", envoys, None, journal).answering([("a.example.com", body)], KEY):
        assert read_leaf(envoys.tls["a.example.com"].chain_pem).names == ("a.example.com",)
    assert envoys.tls == {}


@pytest.mark.parametrize("error", [TimeoutError(), GatewayError("there is no plain HTTP listener")])
async def test_envoys_that_do_not_answer_are_an_error(tmp_path: Path, error: Exception) -> None:
    envoys, journal = Envoys(error), RecordJournal(opened(tmp_path))
    body = challenge_for(authorization("http-01"), "http-01")
    with pytest.raises(CertificateError, match="Envoy"):
        async with Solver("http-01", envoys, None, journal).answering([("a.example.com", body)], KEY):
            pass
    assert envoys.http == {}
