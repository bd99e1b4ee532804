"""What clients and the provider may send. Whole visits are in ``tests/request_service/test_captcha_flow.py``."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest

from pilotage.request_service.asked import Asked
from pilotage.request_service.captcha import CaptchaCheck, Guarded
from pilotage.request_service.keys import SessionKeys
from pilotage.xds.captcha import CAPTCHA_HEADER, CAPTCHA_PATH, Captcha, CaptchaService
from tests.support.captcha_provider import captcha_provider

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.captcha_provider import CaptchaProvider

KEYS = SessionKeys(b"s" * 32)
SECRET = "canary-of-the-secret"
ROUTE = Guarded(captcha=Captcha("site", SECRET, 3600), valid_for="a" * 32, name="app")


class Place:
    def __init__(self, provider: CaptchaProvider, check: CaptchaCheck) -> None:
        self.provider, self.check = provider, check

    async def ask(self, path: str = "/", method: str = "GET", **headers: str) -> tuple[int, dict[str, str], str]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        asked = Asked(service="hcaptcha", route="route/app", method=method, host="app", path=path, headers=named)
        answer = await self.check.check(asked)
        if answer.HasField("ok_response"):
            return 0, {}, ""
        denied: Any = answer.denied_response
        return denied.status.code, {it.header.key: it.header.value for it in denied.headers}, denied.body

    async def solve(self, solution: str = "solution-of-site") -> tuple[int, dict[str, str], str]:
        return await self.ask(CAPTCHA_PATH, "POST", **{CAPTCHA_HEADER: solution})


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    with captcha_provider(SECRET) as provider:
        check = CaptchaCheck(KEYS, CaptchaService(verify_url=f"{provider.url}/verify"), lambda _: ROUTE)
        yield Place(provider, check)
        await check.close()


async def test_a_solution_gives_a_session_that_other_gateways_accept(place: Place) -> None:
    status, headers, _ = await place.solve()
    assert status == 200
    cookie, _, attributes = headers["set-cookie"].partition(";")
    assert attributes == " Path=/; Max-Age=3600; HttpOnly; SameSite=Lax"
    assert place.provider.seen == [{"secret": SECRET, "sitekey": "site", "response": "solution-of-site"}]
    assert await place.ask("/a", cookie=cookie) == (0, {}, "")
    assert (await place.ask(CAPTCHA_PATH, cookie=cookie))[1]["location"] == "http://app/"
    other = CaptchaCheck(SessionKeys(b"s" * 32), CaptchaService(), lambda _: ROUTE)
    asked = Asked(service="", route="", method="GET", host="app", path="/", headers={"cookie": cookie})
    assert other.has_solved(asked, ROUTE)
    assert not other.has_solved(asked, Guarded(captcha=ROUTE.captcha, valid_for="b" * 32, name="b"))
    assert not CaptchaCheck(SessionKeys(b"t" * 32), CaptchaService(), lambda _: ROUTE).has_solved(asked, ROUTE)


@pytest.mark.parametrize(
    ("method", "accept", "body"),
    [("GET", "text/html", "h-captcha"), ("GET", "*/*", "must solve"), ("POST", "text/html", "must solve")],
)
async def test_without_a_session_only_page_loads_get_the_captcha(
    place: Place, method: str, accept: str, body: str
) -> None:
    status, _, text = await place.ask("/", method, accept=accept)
    assert status == 403
    assert body in text
    assert ("h-captcha" in text) is (body == "h-captcha")


@pytest.mark.parametrize(
    ("solution", "status"), [("", 400), ("ü", 400), ("x" * 20_000, 400), ("guess", 403), ("solution-of-other", 403)]
)
async def test_other_solutions_give_no_session(place: Place, solution: str, status: int) -> None:
    found, headers, _ = await place.solve(solution)
    assert found == status
    assert "set-cookie" not in headers


@pytest.mark.parametrize(
    "answer",
    [
        (500, b"{}"),
        (200, b"<html>"),
        (200, b"[" * 100_000),
        (302, b'{"success": true}'),
        (200, b'{"success": "yes"}'),
        (200, b'{"success": true, "error-codes": ["invalid-input-secret"]}'),
    ],
)
async def test_odd_answers_of_the_provider_let_nobody_in(
    place: Place, answer: tuple[int, bytes], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    place.provider.answer = answer
    for _ in range(3):
        status, headers, text = await place.solve()
        assert (status, "set-cookie" in headers) == (503, False)
        assert "cannot be checked" in text
    (message,) = caplog.messages
    assert message.startswith("visitors of app cannot solve captchas: http://127.0.0.1:")
    assert SECRET not in message


async def test_a_provider_that_is_away_and_a_route_that_is_gone_let_nobody_in() -> None:
    check = CaptchaCheck(KEYS, CaptchaService(verify_url="http://127.0.0.1:1/verify"), lambda _: ROUTE)
    away = Place(None, check)  # type: ignore[arg-type]
    assert (await away.solve())[0] == 503
    await check.close()
    gone = Place(None, CaptchaCheck(KEYS, CaptchaService(), lambda _: None))  # type: ignore[arg-type]
    assert (await gone.ask())[0] == (await gone.solve())[0] == 503


async def test_settings_can_change(place: Place) -> None:
    cookie = (await place.solve())[1]["set-cookie"].partition(";")[0]
    assert place.check.with_settings(SessionKeys(b"t" * 32), CaptchaService()) is place.check
    assert (await place.ask(cookie=cookie))[0] == 403
