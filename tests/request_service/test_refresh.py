from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pilotage.request_service.keys import SessionKeys
from pilotage.request_service.providers import ProviderError, Tokens
from pilotage.request_service.refresh import Renewals, open_renewal, seal_renewal
from pilotage.routes.oidc import OidcOptions

KEYS = SessionKeys(b"s" * 32)
OPTIONS = OidcOptions(client_id="gate")


def test_a_renewal_is_for_one_audience_and_cannot_be_read_by_the_browser() -> None:
    sealed = seal_renewal(KEYS, "here", Tokens({"sub": "1"}, refresh_token="canary"))
    assert "canary" not in sealed
    assert open_renewal(KEYS, sealed, "here") == ("1", "canary")
    for other in (sealed[:-3] + "AAA", "", KEYS.seal("renewal", "[1]"), KEYS.seal("login", "x")):
        assert open_renewal(KEYS, other, "here") is None
    assert open_renewal(KEYS, sealed, "there") is None
    assert open_renewal(SessionKeys(b"t" * 32), sealed, "here") is None


def test_without_a_token_that_fits_into_a_cookie_there_is_no_renewal() -> None:
    assert seal_renewal(KEYS, "here", Tokens({"sub": "1"})) == ""
    assert seal_renewal(KEYS, "here", Tokens({"sub": "1"}, refresh_token="x" * 4000)) == ""


class Once:
    """A provider that accepts each refresh token once."""

    def __init__(self, subject: str = "1", new: str = "new") -> None:
        self.used: list[str] = []
        self.subject, self.new = subject, new

    async def refresh(self, _: OidcOptions, token: str) -> Tokens:
        await asyncio.sleep(0)
        if token in self.used:
            raise ProviderError("used")
        self.used.append(token)
        return Tokens({"sub": self.subject}, refresh_token=self.new)


async def renew(renewals: Renewals, provider: Any, token: str = "old") -> Tokens:
    return await renewals.renew(provider, OPTIONS, "1", token)


async def test_requests_at_the_same_time_and_shortly_after_share_a_renewal() -> None:
    renewals, provider = Renewals(), Once()
    found = await asyncio.gather(*(renew(renewals, provider) for _ in range(5)))
    assert {it.refresh_token for it in [*found, await renew(renewals, provider)]} == {"new"}
    assert provider.used == ["old"]


async def test_a_request_that_ends_early_does_not_end_the_renewal() -> None:
    renewals, provider = Renewals(), Once()
    first = asyncio.create_task(renew(renewals, provider))
    await asyncio.sleep(0)
    first.cancel()
    assert (await renew(renewals, provider)).refresh_token == "new"


async def test_a_provider_may_keep_the_token_but_not_change_the_user() -> None:
    assert (await renew(Renewals(), Once(new=""))).refresh_token == "old"
    with pytest.raises(ProviderError, match="different user"):
        await renew(Renewals(), Once(subject="2"))


async def test_only_so_many_renewals_are_remembered() -> None:
    renewals, provider = Renewals(), Once()
    for number in range(1100):
        await renew(renewals, provider, str(number))
    assert len(renewals._known) == 1000
