"""Visitors solve a captcha, through a real daemon, Envoy and browser, at a stand-in for hCaptcha."""

from __future__ import annotations

import contextlib
import http.client
import signal
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.browser import chromium, open_tab
from tests.support.captcha_provider import captcha_provider
from tests.support.front_door import front_door, raw_target
from tests.support.gateway import becomes
from tests.support.openid_provider import Person, openid_provider
from tests.support.ports import free_port
from tests.support.required import required

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.captcha_provider import CaptchaProvider
    from tests.support.front_door import Answer, FrontDoor, RawTarget

pytestmark = [pytest.mark.process, pytest.mark.slow]

SECRET = "canary-of-the-secret"
PAGE = {"Accept": "text/html"}
KEYS = {"site_key": "site", "secret_key": SECRET}


class Place:
    def __init__(self, door: FrontDoor, target: RawTarget, provider: CaptchaProvider, issuer: str) -> None:
        self.door, self.target, self.provider, self.issuer = door, target, provider, issuer

    def solve(self, host: str, solution: str = "solution-of-site") -> Answer:
        lines = [f"Host: {host}", f"X-Pilotage-Captcha: {solution}", "Content-Length: 0", "Connection: close"]
        return self.door.say("\n".join(["POST /auth/captcha HTTP/1.1", *lines, "", ""]))

    def session(self, host: str) -> dict[str, str]:
        """Solve the captcha of a route; return the cookie as a browser sends it."""
        answer = self.solve(host)
        assert answer.status == 200, answer.body
        return {"Cookie": answer.headers["set-cookie"].partition(";")[0]}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("captcha")
    port = free_port()
    issuer = f"http://127.0.0.1:{port}"
    client = {
        "client_id": "gate",
        "client_secret": "x" * 20,
        "redirect_uris": ["http://both.example.com/auth/callback"],
    }
    oidc = {
        "issuer_url": issuer,
        "client_id": "gate",
        "client_secret": "x" * 20,
        "scopes": "openid,email,profile",
        "allowed_users": "ann",
    }
    with raw_target() as target, captcha_provider(SECRET) as provider:
        where = {"host": "127.0.0.1", "port": target.port}
        routes = {
            "app": {**where, "middlewares": {"hcaptcha": {**KEYS, "session_expiry": "2h"}}},
            "other": {**where, "middlewares": {"hcaptcha": KEYS}},
            "open": {**where, "middlewares": {"hcaptcha": {**KEYS, "bypass": ["path glob(/public/*)"]}}},
            "wrong": {**where, "middlewares": {"hcaptcha": {**KEYS, "secret_key": "wrong"}}},
            "both": {**where, "middlewares": {"hcaptcha": KEYS, "oidc": {**oidc, "bypass": "path /free"}}},
            "free": where,
        }
        section = {"script_url": f"{provider.url}/api.js", "verify_url": f"{provider.url}/siteverify"}
        with (
            front_door(folder, routes, sections={"captcha": section}, STATE_DIRECTORY=str(folder)) as door,
            required(),
            openid_provider([client], port),
        ):
            yield Place(door, target, provider, issuer)


@pytest.mark.proves("middlewares.hcaptcha.site_key", "middlewares.hcaptcha.session_expiry")
def test_only_visitors_who_have_solved_it_reach_the_target(place: Place) -> None:
    before = len(place.target.seen)
    page = place.door.get("app.example.com", "/a?b", PAGE)
    assert (page.status, page.headers["cache-control"]) == (403, "no-store")
    assert b'data-sitekey="site"' in page.body
    assert f"{place.provider.url}/api.js".encode() in page.body
    assert place.door.get("app.example.com", "/a").status == 403
    assert place.door.get("APP.example.com:80", "/a").status == 403
    forged = {"Cookie": "pilotage_captcha=e30.e30.e30; __Host-pilotage_captcha=x"}
    assert place.door.get("app.example.com", "/a", forged).status == 403
    assert place.solve("app.example.com", "guess").status == 403
    assert len(place.target.seen) == before
    answer = place.solve("app.example.com")
    assert answer.headers["set-cookie"].endswith("; Path=/; Max-Age=7200; HttpOnly; SameSite=Lax")
    assert place.provider.seen[-1]["remoteip"] == "127.0.0.1"
    session = {"Cookie": answer.headers["set-cookie"].partition(";")[0]}
    assert place.door.get("app.example.com", "/a", session).body == b"target"
    assert place.door.get("APP.example.com:80", "/a", session).body == b"target"
    assert place.door.get("app.example.com", "/auth/captcha", session).headers["location"] == "http://app.example.com/"
    assert place.door.get("other.example.com", "/a", session).status == 403  # a session is for one route
    assert place.door.get("free.example.com").body == b"target"


def test_a_session_needs_no_daemon(place: Place) -> None:
    session = place.session("app.example.com")
    place.door.process.send_signal(signal.SIGSTOP)
    try:
        assert place.door.get("app.example.com", "/a", session).body == b"target"
    finally:
        place.door.process.send_signal(signal.SIGCONT)


def test_bypass_exempts_requests(place: Place) -> None:
    assert place.door.get("open.example.com", "/public/a").body == b"target"
    assert place.door.get("open.example.com", "/a").status == 403


@pytest.mark.proves("middlewares.hcaptcha.secret_key")
def test_a_wrong_key_lets_nobody_in_and_the_log_says_so(place: Place) -> None:
    assert place.solve("wrong.example.com").status == 503
    assert "visitors of wrong cannot solve captchas: " in place.door.log
    assert "rejects the site: invalid-input-secret; correct its keys" in place.door.log
    assert SECRET not in place.door.log


@pytest.mark.proves(
    "middlewares.oidc.issuer_url",
    "middlewares.oidc.client_id",
    "middlewares.oidc.client_secret",
    "middlewares.oidc.scopes",
)
def test_a_route_may_require_a_captcha_and_a_user(place: Place) -> None:
    assert place.door.get("both.example.com", "/", PAGE).status == 403
    assert place.door.get("both.example.com", "/free").status == 403  # bypasses only the sign-in
    solved = place.session("both.example.com")
    assert place.door.get("both.example.com", "/free", solved).body == b"target"
    begun = place.door.get("both.example.com", "/", {**PAGE, **solved})
    assert (begun.status, begun.headers["location"].partition("?")[0]) == (302, f"{place.issuer}/auth")
    assert "scope=openid+email+profile&" in begun.headers["location"]
    back = Person().signs_in(begun.headers["location"], "ann").partition("both.example.com")[2]
    cookie = f"{solved['Cookie']}; {begun.headers['set-cookie'].partition(';')[0]}"
    connection = http.client.HTTPConnection("127.0.0.1", place.door.port, timeout=30)
    connection.request("GET", back, headers={"Host": "both.example.com", **PAGE, "Cookie": cookie})
    with contextlib.closing(connection), connection.getresponse() as done:
        assert done.status == 302
        found = [it.partition(";")[0] for it in done.headers.get_all("Set-Cookie", [])]
    (user,) = (it for it in found if it.startswith("pilotage_session="))
    assert place.door.get("both.example.com", "/", {"Cookie": user}).status == 403
    assert place.door.get("both.example.com", "/", {"Cookie": f"{solved['Cookie']}; {user}"}).body == b"target"
    assert place.target.last().headers["remote-user"] == "ann"


async def test_a_browser_solves_it(place: Place) -> None:
    app = f"http://app.localhost:{place.door.port}"
    with required(), chromium() as browser:
        async with open_tab(browser) as tab:

            async def at(script: str) -> None:
                await becomes(lambda: tab.value(script), True)

            await tab.call("Page.navigate", url=f"{app}/orders?page=2")
            await at("document.getElementById('human') !== null")
            await tab.value("document.getElementById('human').click()")
            await at("document.body !== null && document.body.innerText === 'target'")
            assert await tab.value("location.href") == f"{app}/orders?page=2"
            assert await tab.value("document.cookie") == ""  # hidden from scripts
            assert tab.errors == []


def test_sessions_survive_a_restart_and_are_valid_at_other_gateways(place: Place, tmp_path: Path) -> None:
    session = place.session("app.example.com")
    routes: dict[str, Any] = {
        "app": {"host": "127.0.0.1", "port": place.target.port, "middlewares": {"hcaptcha": KEYS}}
    }
    with front_door(tmp_path, routes, STATE_DIRECTORY=str(place.door.folder)) as other:
        assert other.get("app.example.com", "/a", session).body == b"target"
        assert other.get("app.example.com", "/a").status == 403
