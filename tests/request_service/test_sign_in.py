"""What clients may send. Whole sign-ins are in ``tests/daemon/test_sign_in_flow.py``."""

from __future__ import annotations

import asyncio
import time
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotage.request_service.asked import Asked
from pilotage.request_service.keys import SessionKeys
from pilotage.request_service.providers import Metadata, ProviderError, Tokens
from pilotage.request_service.refresh import seal_renewal
from pilotage.request_service.sign_in import Protected, SignIn
from pilotage.routes.oidc import OidcOptions

KEYS = SessionKeys(b"s" * 32)
ROUTE = Protected(
    options=OidcOptions(issuer_url="https://id", client_id="gate", client_secret="canary", scopes=("openid",)),
    valid_for="a" * 32,
    name="app",
)


class Offline:
    """A provider that has been read, and refuses every code."""

    def find(self, _issuer: str, *, trusted: bool) -> Offline:
        assert not trusted
        return self

    async def metadata(self) -> Metadata:
        return Metadata("https://id", "https://id/auth?a=b", "https://id/token", "https://id/keys")

    async def check_issuer(self, _issuer: str) -> None:
        pass

    async def exchange(self, *_: Any) -> Any:
        raise ProviderError("refused")


def ask(path: str, method: str = "GET", *, find: Any = lambda _: ROUTE, **headers: str) -> Any:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    asked = Asked(service="oidc", route="route/app", method=method, host="app", path=path, headers=given)
    return asyncio.run(SignIn(KEYS, Offline(), find).check(asked))  # type: ignore[arg-type]


def test_a_route_that_is_not_known_is_closed() -> None:
    assert ask("/", find=lambda _: None).denied_response.status.code == 503


def test_a_provider_without_logout_ends_only_the_session_here() -> None:
    answer = ask("/auth/logout", accept="text/html").denied_response
    assert (answer.status.code, "You have signed out." in answer.body) == (200, True)


def test_parameters_are_added_to_those_of_the_provider() -> None:
    answer = ask("/", accept="text/html").denied_response
    (location,) = [it.header.value for it in answer.headers if it.header.key == "location"]
    assert location.startswith("https://id/auth?a=b&client_id=gate&")
    assert len(location) < 2000
    state = parse_qs(urlsplit(location).query)["state"][0]
    assert "canary" not in str(KEYS.open("login", state))


def test_a_sign_in_must_not_take_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    begun = ask("/", accept="text/html").denied_response
    headers = {it.header.key: it.header.value for it in begun.headers}
    state = parse_qs(urlsplit(headers["location"]).query)["state"][0]
    path = f"/auth/callback?{urlencode({'code': 'x', 'state': state})}"
    later = time.time() + 601
    monkeypatch.setattr("pilotage.request_service.sign_in.time.time", lambda: later)
    answer = ask(path, accept="text/html", cookie=headers["set-cookie"].partition(";")[0]).denied_response
    assert (answer.status.code, "took too long" in answer.body) == (400, True)


@pytest.mark.parametrize(("name", "status"), [("ann", 0), ("bob", 7)])
def test_a_renewal_asks_again_whether_the_user_has_access(name: str, status: int) -> None:
    class Renewing(Offline):
        async def refresh(self, *_: Any) -> Tokens:
            return Tokens({"sub": "1", "preferred_username": name}, refresh_token="new")

    route = msgspec.structs.replace(ROUTE, options=msgspec.structs.replace(ROUTE.options, allowed_users=("ann",)))
    renewal = seal_renewal(KEYS, route.valid_for, Tokens({"sub": "1"}, refresh_token="old"))
    asked = Asked(
        service="oidc",
        route="route/app",
        method="POST",
        host="app",
        path="/",
        headers={"cookie": f"pilotage_renewal={renewal}"},
    )
    answer = asyncio.run(SignIn(KEYS, Renewing(), lambda _: route).check(asked))  # type: ignore[arg-type]
    assert answer.status.code == status
    assert len(answer.ok_response.response_headers_to_add) == (2 if status == 0 else 0)


def test_a_failed_exchange_is_no_session() -> None:
    begun = ask("/", accept="text/html").denied_response
    headers = {it.header.key: it.header.value for it in begun.headers}
    state = parse_qs(urlsplit(headers["location"]).query)["state"][0]
    cookie = headers["set-cookie"].partition(";")[0]
    path = f"/auth/callback?{urlencode({'code': 'x', 'state': state})}"
    assert ask(path, accept="text/html", cookie=cookie).denied_response.status.code == 503
    assert ask(f"{path}&state={state}", accept="text/html", cookie=cookie).denied_response.status.code == 302


@given(
    path=st.sampled_from(
        ["/", "/auth/callback", "/auth/logout", "/auth/callback?state=", "/auth/callback?code=1&state="]
    ),
    more=st.text(max_size=300),
    cookie=st.text(max_size=300),
    name=st.sampled_from(["pilotage_session=", "pilotage_login=", "pilotage_hint=", ""]),
    method=st.sampled_from(["GET", "POST", "HEAD"]),
    accept=st.sampled_from(["text/html", "*/*"]),
)
def test_nothing_that_a_client_makes_up_lets_it_pass(
    path: str, more: str, cookie: str, name: str, method: str, accept: str
) -> None:
    answer = ask(path + more, method, cookie=name + cookie, accept=accept)
    assert answer.status.code != 0
    assert answer.denied_response.status.code in {200, 302, 400, 401, 403}
    for it in answer.denied_response.headers:
        assert it.header.value.isprintable()
        assert not (it.header.key == "location" and not it.header.value.startswith(("http://app/", "https://id/")))
        assert not it.header.value.startswith("pilotage_session=e")


@pytest.mark.parametrize("other", [False, True])
def test_an_id_token_goes_only_to_the_provider_of_the_route_where_the_user_signed_in(other: bool) -> None:
    class Provider(Offline):
        async def metadata(self) -> Metadata:
            return msgspec.structs.replace(await super().metadata(), end_session_endpoint="https://id/end")

        async def exchange(self, *_: Any) -> Tokens:
            return Tokens({"sub": "1", "preferred_username": "ann"}, id_token="canary")

    route = msgspec.structs.replace(ROUTE, options=msgspec.structs.replace(ROUTE.options, allowed_users=("ann",)))
    asked = Asked(
        service="oidc", route="route/app", method="GET", host="app", path="/", headers={"accept": "text/html"}
    )

    def answers(path: str, cookie: str, of: Protected) -> dict[str, list[str]]:
        request = msgspec.structs.replace(asked, path=path, headers={**asked.headers, "cookie": cookie})
        sign_in = SignIn(KEYS, Provider(), lambda _: of)  # type: ignore[arg-type]
        found: dict[str, list[str]] = {}
        for it in asyncio.run(sign_in.check(request)).denied_response.headers:
            found.setdefault(it.header.key, []).append(it.header.value)
        return found

    begun = answers("/", "", route)
    state = parse_qs(urlsplit(begun["location"][0]).query)["state"][0]
    binding = begun["set-cookie"][0].partition(";")[0]
    done = answers(f"/auth/callback?{urlencode({'code': 'x', 'state': state})}", binding, route)
    cookies = "; ".join(it.partition(";")[0] for it in done["set-cookie"])
    assert "pilotage_hint=" in cookies
    (url,) = answers("/auth/logout", cookies, msgspec.structs.replace(route, valid_for="b" * 32) if other else route)[
        "location"
    ]
    assert parse_qs(urlsplit(url).query).get("id_token_hint", []) == ([] if other else ["canary"])
