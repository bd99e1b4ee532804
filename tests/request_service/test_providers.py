"""What a provider may do wrong. A real one is in ``tests/daemon/test_sign_in_flow.py``."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from typing import TYPE_CHECKING, Any

import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec

from pilotage.request_service.providers import Provider, ProviderError, Providers
from pilotage.routes.oidc import OidcOptions
from tests.support.envoy import web_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

OPTIONS = OidcOptions(client_id="gate", client_secret="s c")
KEY, OTHER = (ec.derive_private_key(number, ec.SECP256R1()) for number in (7, 8))


class Site:
    """An OpenID provider that answers as it is told to."""

    def __init__(self) -> None:
        self.url = ""
        self.calls: list[str] = []
        self.metadata: dict[str, Any] = {}
        self.tokens: dict[str, Any] = {}
        self.user: Any = {}
        self.key: Any = KEY
        self.key_id = "k"
        self.authorization = ""
        self.raw: dict[str, web.Response] = {}

    def token(self, key: Any = KEY, algorithm: str = "ES256", **changed: Any) -> str:
        now = int(time.time())
        claims = {"iss": self.url, "aud": "gate", "sub": "1", "iat": now, "exp": now + 60, "nonce": "n"}
        given = {name: value for name, value in (claims | changed).items() if value is not None}
        return jwt.encode(given, key, algorithm=algorithm, headers={"kid": self.key_id})

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        self.calls.append(request.path)
        if request.path in self.raw:
            return self.raw[request.path]
        if request.path.endswith("/openid-configuration"):
            places = {"authorization_endpoint": "/auth", "token_endpoint": "/token", "jwks_uri": "/keys"}
            found = {name: self.url + path for name, path in places.items()}
            return web.json_response({"issuer": self.url, **found, **self.metadata})
        if request.path == "/keys":
            key = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(self.key.public_key()))
            return web.json_response({"keys": [{**key, "kid": self.key_id}]})
        if request.path == "/token":
            self.authorization = request.headers.get("Authorization", "")
            return web.json_response(self.tokens)
        return web.json_response(self.user)


@contextlib.asynccontextmanager
async def provider() -> AsyncIterator[tuple[Site, Provider]]:
    site, providers = Site(), Providers()
    async with web_server(site.answer) as port:
        site.url = f"http://127.0.0.1:{port}"
        site.tokens = {"id_token": site.token(preferred_username="ann", groups=[])}
        try:
            yield site, providers.find(site.url, trusted=True)
        finally:
            await providers.close()


async def exchange(provider: Provider) -> Any:
    return (await provider.exchange(OPTIONS, "code", "verifier", "http://app/auth/callback", "n")).claims


async def test_a_code_becomes_the_claims_of_a_verified_token() -> None:
    async with provider() as (site, it):
        assert (await exchange(it))["preferred_username"] == "ann"
        assert site.authorization == "Basic Z2F0ZTpzJTIwYw=="  # gate:s%20c
        assert site.calls == ["/.well-known/openid-configuration", "/token", "/keys"]
        await exchange(it)
        assert site.calls[3:] == ["/token"]


@pytest.mark.parametrize(
    "changed",
    [
        {"nonce": "other"},
        {"nonce": None},
        {"aud": "other"},
        {"aud": ["gate", "other"]},
        {"azp": "other"},
        {"iss": "https://evil.example"},
        {"exp": 1},
        {"exp": None},
        {"sub": None},
        {"iat": None},
        {"key": OTHER},
        {"key": "k" * 64, "algorithm": "HS256"},
        {"key": None, "algorithm": "none"},
    ],
)
async def test_a_token_for_another_client_is_refused(changed: dict[str, Any]) -> None:
    async with provider() as (site, it):
        site.tokens = {"id_token": site.token(**changed)}
        with pytest.raises(ProviderError):
            await exchange(it)


@pytest.mark.parametrize("tokens", [{}, {"id_token": 1}, {"id_token": "x"}, {"id_token": "a.b.c"}, []])
async def test_an_answer_without_a_token_is_refused(tokens: Any) -> None:
    async with provider() as (site, it):
        site.tokens = tokens
        with pytest.raises(ProviderError):
            await exchange(it)


async def test_what_a_provider_does_not_have_may_be_null() -> None:
    async with provider() as (site, it):
        site.metadata |= {"userinfo_endpoint": None, "end_session_endpoint": None}
        site.tokens |= {"refresh_token": None, "access_token": None}
        assert (await exchange(it))["preferred_username"] == "ann"


async def test_a_renewal_without_an_id_token_needs_the_user_info() -> None:
    async with provider() as (site, it):
        site.tokens = {"access_token": "a"}
        assert (await it.refresh(OPTIONS, "r")).claims == {}
        site.metadata["userinfo_endpoint"] = f"{site.url}/me"
        it._read_at -= 3601
        site.user = {"sub": "1", "groups": ["staff"]}
        assert (await it.refresh(OPTIONS, "r")).claims == site.user


async def test_claims_that_are_not_in_the_token_come_from_the_user_info() -> None:
    async with provider() as (site, it):
        site.metadata["userinfo_endpoint"] = f"{site.url}/me"
        site.tokens = {"id_token": site.token(), "access_token": "a"}
        site.user = {"sub": "1", "groups": ["staff"]}
        assert (await exchange(it))["groups"] == ["staff"]
        site.user = {"sub": "2", "groups": ["staff"]}
        with pytest.raises(ProviderError, match="different user"):
            await exchange(it)


async def test_a_changed_key_is_read_once_more_and_not_for_every_wrong_token() -> None:
    async with provider() as (site, it):
        await exchange(it)
        site.key, site.key_id = OTHER, "other"
        site.tokens = {"id_token": site.token(OTHER)}
        for _ in range(3):
            with pytest.raises(ProviderError, match="a key that the provider does not have"):
                await exchange(it)
        assert site.calls.count("/keys") == 1
        it._keys_at -= 31
        assert (await exchange(it))["sub"] == "1"
        assert site.calls.count("/keys") == 2


async def test_the_keys_are_read_once_for_users_who_sign_in_at_the_same_time() -> None:
    async with provider() as (site, it):
        await asyncio.gather(*(exchange(it) for _ in range(5)))
        assert site.calls.count("/keys") == 1


@pytest.mark.parametrize(
    ("metadata", "why"),
    [
        ({"issuer": "https://evil.example"}, "different issuer"),
        ({"issuer": None}, "is not the metadata"),
        ({"token_endpoint": "file:///etc/passwd"}, "not a URL"),
        ({"jwks_uri": ""}, "not a URL"),
        ({"end_session_endpoint": "javascript:alert(1)"}, "not a URL"),
        ({"authorization_endpoint": "https://x/\r\nSet-Cookie: a"}, "not a URL"),
    ],
)
async def test_unusable_metadata_is_refused(metadata: dict[str, Any], why: str) -> None:
    async with provider() as (site, it):
        site.metadata = metadata
        with pytest.raises(ProviderError, match=why):
            await it.metadata()


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (lambda: web.Response(status=404), "answers 404"),
        (lambda: web.Response(status=302, headers={"Location": "http://127.0.0.1:1/"}), "answers 302"),
        (lambda: web.Response(body=b"x" * 300_000), "too long"),
        (lambda: web.json_response({"error": "invalid_client", "x": "canary"}, status=401), r"401 \(invalid_client\)"),
        (lambda: web.Response(text="[" * 100_000), "is not the metadata"),
    ],
)
async def test_odd_answers_are_errors(answer: Any, why: str) -> None:
    async with provider() as (site, it):
        site.raw["/.well-known/openid-configuration"] = answer()
        with pytest.raises(ProviderError, match=why) as caught:
            await it.metadata()
        assert "canary" not in str(caught.value)
        with pytest.raises(ProviderError, match=why):
            await it.metadata()
        assert len(site.calls) == 1  # a failure is remembered for a moment


async def test_a_provider_that_containers_name_is_not_asked_on_this_machine() -> None:
    providers = Providers()
    async with provider() as (site, _):
        for issuer in (site.url, site.url.replace("127.0.0.1", "localhost")):
            with pytest.raises(ProviderError, match="only the configuration may name"):
                await providers.find(issuer, trusted=False).metadata()
        assert site.calls == []
    await providers.close()


async def test_the_response_must_come_from_the_same_issuer() -> None:
    async with provider() as (site, it):
        await it.check_issuer("")
        await it.check_issuer(site.url)
        with pytest.raises(ProviderError):
            await it.check_issuer("https://evil.example")
    async with provider() as (site, it):
        site.metadata["authorization_response_iss_parameter_supported"] = True
        with pytest.raises(ProviderError):
            await it.check_issuer("")


async def test_only_so_many_providers_are_remembered() -> None:
    providers = Providers()
    first = providers.find("https://0", trusted=True)
    assert providers.find("https://0", trusted=True) is first
    assert providers.find("https://0", trusted=False) is not first
    for number in range(300):
        providers.find(f"https://{number + 1}", trusted=True)
    assert providers.find("https://0", trusted=True) is not first
    await providers.close()
