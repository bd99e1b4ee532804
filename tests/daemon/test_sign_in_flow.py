"""Users sign in at a real OpenID provider, through a real daemon and Envoy; and what strangers cannot do."""

from __future__ import annotations

import asyncio
import http.client
import json
import re
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml

from tests.support.browser import chromium, open_tab
from tests.support.front_door import front_door, raw_target
from tests.support.openid_provider import Person, openid_provider
from tests.support.ports import free_port
from tests.support.required import required

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.front_door import FrontDoor, RawTarget

pytestmark = [pytest.mark.process, pytest.mark.slow]

SECRET = "canary-of-the-client-secret"
PROXY = "127.0.0.9"
PAGE = {"Accept": "text/html,*/*"}
HOSTS = ("app.example.com", "staff.example.com")


class Reply:
    """A response of the gateway."""

    def __init__(self, status: int, headers: http.client.HTTPMessage, body: str) -> None:
        self.status, self.headers, self.body = status, headers, body

    @property
    def location(self) -> str:
        return str(self.headers["Location"])

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies that the browser keeps: name -> value and attributes."""
        found = (text.partition("=") for text in self.headers.get_all("Set-Cookie", []))
        return {name: value for name, _, value in found if "Max-Age=0" not in value}

    @property
    def as_request(self) -> str:
        """The cookies as the browser sends them."""
        return "; ".join(f"{name}={value.partition(';')[0]}" for name, value in self.cookies.items())


class Place:
    """A daemon with the routes ``app`` for ann, ``staff`` for a group, and ``free``. It trusts the proxy.

    Attributes:
        own_port: the port of the route ``own``, which is for ann.

    """

    def __init__(self, door: FrontDoor, target: RawTarget, issuer: str, own_port: int = 0) -> None:
        self.door, self.target, self.issuer, self.own_port = door, target, issuer, own_port

    def ask(
        self, host: str, path: str = "/", *, method: str = "GET", source: str = "127.0.0.1", **headers: str
    ) -> Reply:
        port = self.own_port if host.endswith(f":{self.own_port}") else self.door.port
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=40, source_address=(source, 0))
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            connection.request(method, path, headers={"Host": host, **named})
            with connection.getresponse() as answer:
                return Reply(answer.status, answer.headers, answer.read().decode())
        finally:
            connection.close()

    def signed_in(self, user: str, host: str = "app.example.com", path: str = "/", **options: Any) -> Reply:
        """Sign a user in, and return the last response."""
        begun = self.ask(host, path, **PAGE, **options)
        assert begun.status == 302, begun.body
        back = urlsplit(Person().signs_in(begun.location, user))
        return self.ask(host, f"{back.path}?{back.query}", Cookie=begun.as_request, **PAGE, **options)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("oidc")
    origins = [f"{scheme}://{host}" for host in HOSTS for scheme in ("http", "https")]
    client: dict[str, Any] = {
        "client_id": "gate",
        "client_secret": SECRET,
        "grant_types": ["authorization_code", "refresh_token"],
        "redirect_uris": [f"{origin}/auth/callback" for origin in origins],
        "post_logout_redirect_uris": [*origins],
    }
    port, own_port = free_port(), free_port()
    client["redirect_uris"].append(f"http://own.example.com:{own_port}/auth/callback")
    issuer = f"http://127.0.0.1:{port}"
    with raw_target() as target:
        target.answers["/socket"] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
        where = {"host": "127.0.0.1", "port": target.port}
        routes = {
            "free": where,
            "app": {**where, "middlewares": {"oidc": {"allowed_users": "ann"}}},
            "open": {
                **where,
                "middlewares": {
                    "oidc": {"allowed_users": "ann", "bypass": ["path /health", "path glob(/public/*) & method GET"]}
                },
            },
            "staff": {**where, "middlewares": {"oidc": {"allowed_groups": ["staff"]}}},
            "own": {
                "scheme": "http",
                "host": "127.0.0.1",
                "port": f"{own_port}:{target.port}",
                "middlewares": {"oidc": {"allowed_users": "ann", "bypass": "path /health"}},
            },
        }
        environment: dict[str, Any] = {
            "OIDC_ISSUER_URL": issuer,
            "GODOXY_OIDC_CLIENT_ID": "gate",
            "PILOTAGE_OIDC_CLIENT_SECRET": SECRET,
            "STATE_DIRECTORY": str(folder),
        }
        with front_door(folder, routes, {"trusted_proxies": [PROXY]}, **environment) as door:
            local = f"http://app.localhost:{door.port}"
            client["redirect_uris"].append(f"{local}/auth/callback")
            client["post_logout_redirect_uris"].append(local)
            with required(), openid_provider([client], port, refresh=True):
                yield Place(door, target, issuer, own_port)


@pytest.mark.proves("middlewares.oidc.allowed_users")
def test_a_user_signs_in_and_the_target_learns_who_it_is(place: Place) -> None:
    begun = place.ask("app.example.com", "/a?b=c", **PAGE)
    query = parse_qs(urlsplit(begun.location).query)
    assert (begun.status, begun.location.partition("?")[0]) == (302, f"{place.issuer}/auth")
    assert query["redirect_uri"] == ["http://app.example.com/auth/callback"]
    assert (query["code_challenge_method"], query["scope"]) == (["S256"], ["openid profile email groups"])
    (attributes,) = begun.cookies.values()
    assert attributes.endswith("; Path=/; Max-Age=600; HttpOnly; SameSite=Lax")
    done = place.signed_in("ann", path="/a?b=c")
    assert (done.status, done.location) == (302, "http://app.example.com/a?b=c")
    forged = {"Remote_User": "root", "Remote-Groups": "root", "remote-email": "root"}
    assert place.ask("app.example.com", "/a?b=c", Cookie=done.as_request, **forged).status == 200
    told = {name: value for name, value in place.target.last().lines if name.startswith("remote")}
    assert told["remote-user"] == "ann"
    assert told["remote-groups"] == "staff,admins"
    assert told["remote-email"] == "ann@example.com"
    assert told["remote-name"].encode("latin-1").decode() == "Ann Ålund"
    assert "root" not in str(place.target.last().lines)


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("GET", {"Accept": "*/*"}),
        ("GET", {}),
        ("POST", PAGE),
        ("GET", {**PAGE, "X-Requested-With": "XMLHttpRequest"}),
        ("GET", {**PAGE, "Sec-Fetch-Mode": "cors"}),
        ("GET", {**PAGE, "Connection": "upgrade", "Upgrade": "websocket"}),
    ],
)
def test_other_clients_are_told_to_sign_in(place: Place, method: str, headers: dict[str, str]) -> None:
    before = len(place.target.seen)
    answer = place.ask("app.example.com", "/", method=method, **headers)
    assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, 'OpenID realm="app"')
    assert len(place.target.seen) == before


def test_websockets_and_other_methods_work_with_a_session(place: Place) -> None:
    cookie = place.signed_in("ann").as_request
    upgrade = {"Connection": "upgrade", "Upgrade": "websocket", "Sec-WebSocket-Key": "x", "Sec-WebSocket-Version": "13"}
    assert place.ask("app.example.com", "/socket", Cookie=cookie, **upgrade).status == 101
    assert place.ask("app.example.com", "/", method="DELETE", Cookie=cookie).status == 200
    assert place.target.last().headers["remote-user"] == "ann"


def test_users_sign_in_on_a_port_of_a_route_and_come_back_to_it(place: Place) -> None:
    host = f"own.example.com:{place.own_port}"
    for asked in (host, f"OWN.example.com:{place.own_port}", f"127.0.0.1:{place.own_port}"):
        assert [place.ask(asked, path).status for path in ("/", "/health")] == [401, 200]
    done = place.signed_in("ann", host, "/a?b=c")
    assert (done.status, done.location) == (302, f"http://{host}/a?b=c")
    upgrade = {"Connection": "upgrade", "Upgrade": "websocket", "Sec-WebSocket-Key": "x", "Sec-WebSocket-Version": "13"}
    assert place.ask(host, "/socket", **upgrade).status == 401
    assert place.ask(host, "/socket", Cookie=done.as_request, **upgrade).status == 101
    assert place.ask("own.example.com", Cookie=done.as_request).status == 404  # on the port of the gateway


@pytest.mark.proves("middlewares.oidc.allowed_groups")
def test_a_session_is_valid_for_one_route_only(place: Place) -> None:
    cookie = place.signed_in("ann").as_request
    assert place.ask("staff.example.com", Cookie=cookie).status == 401
    assert place.ask("app.example.com", Cookie=cookie).status == 200


@pytest.mark.parametrize("host", ["APP.example.com", "app.example.com:80", "app.example.com."])
def test_no_spelling_of_the_host_gets_around_the_login(place: Place, host: str) -> None:
    assert place.ask(host).status == 401
    assert place.ask("FREE.example.com").status == 200


@pytest.mark.parametrize("host", ["open.example.com", "OPEN.example.com"])
def test_only_what_bypasses_the_login_passes_without_it(place: Place, host: str) -> None:
    for path in ("/health", "/health?a=b", "/public/x"):
        assert place.ask(host, path, Remote_User="root").status == 200
        assert "remote-user" not in place.target.last().headers
    for path in ("/", "/healthy", "/public/..%2fx", "/private?/health", "/health/../x", "/auth/callback"):
        assert place.ask(host, path).status in {400, 401}, path
    assert place.ask(host, "/public/x", method="POST").status == 401


def test_a_user_without_access_sees_the_reason_and_gets_no_session(place: Place) -> None:
    refused = place.signed_in("bob")
    assert refused.status == 403
    assert "signed in as bob" in refused.body
    assert not [name for name in refused.cookies if "session" in name]
    assert place.signed_in("ann", "staff.example.com").status == 302


@pytest.mark.parametrize(
    "path", ["//evil.example.net/x", "/\\evil.example.net", "/auth/callback?x=1", "/" + "x" * 2000]
)
def test_the_browser_returns_to_the_same_host_only(place: Place, path: str) -> None:
    done = place.signed_in("ann", path=path)
    assert done.status == 302
    assert done.location.startswith("http://app.example.com/")


def test_a_sign_in_of_another_browser_or_route_gives_no_session(place: Place) -> None:
    begun = place.ask("app.example.com", **PAGE)
    back = urlsplit(Person().signs_in(begun.location, "ann"))
    target = f"{back.path}?{back.query}"
    other = place.ask("app.example.com", **PAGE).as_request
    for cookie in ("", other, "pilotage_login=x"):
        assert place.ask("app.example.com", target, Cookie=cookie, **PAGE).status == 400
    assert place.ask("staff.example.com", target, Cookie=begun.as_request, **PAGE).status == 400
    wrong = re.sub("state=...", "state=AAA", target)
    assert place.ask("app.example.com", wrong, Cookie=begun.as_request, **PAGE).status == 302  # a new sign-in
    once = place.ask("app.example.com", target, Cookie=begun.as_request, **PAGE)
    assert "pilotage_session" in once.cookies
    assert place.ask("app.example.com", target, Cookie=begun.as_request, **PAGE).status == 503  # the code is used up


def test_a_refusal_by_the_provider_is_shown_without_markup(place: Place) -> None:
    begun = place.ask("app.example.com", **PAGE)
    state = parse_qs(urlsplit(begun.location).query)["state"][0]
    path = f"/auth/callback?state={state}&error=%3Cscript%3E"
    answer = place.ask("app.example.com", path, Cookie=begun.as_request, **PAGE)
    assert (answer.status, "<script>" in answer.body, "&lt;script&gt;" in answer.body) == (403, False, True)


def test_signing_out_ends_the_session_here_and_at_the_provider(place: Place) -> None:
    cookie = place.signed_in("ann").as_request
    out = place.ask("app.example.com", "/auth/logout", Cookie=cookie, **PAGE)
    query = parse_qs(urlsplit(out.location).query)
    assert (out.status, out.location.partition("?")[0]) == (302, f"{place.issuer}/session/end")
    assert query["post_logout_redirect_uri"] == ["http://app.example.com"]
    assert query["id_token_hint"][0].count(".") == 2
    gone = {text.partition("=")[0] for text in out.headers.get_all("Set-Cookie", []) if "Max-Age=0" in text}
    assert gone == {"pilotage_session", "pilotage_hint", "pilotage_login", "pilotage_renewal"}


def test_an_expired_session_is_renewed_once_for_all_requests_of_a_page(place: Place) -> None:
    done = place.signed_in("ann")
    renewal = f"pilotage_renewal={done.cookies['pilotage_renewal'].partition(';')[0]}"
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: place.ask("app.example.com", method="POST", Cookie=renewal), range(4)))
    assert [it.status for it in answers] == [200] * 4  # although the provider accepts each refresh token once
    assert place.target.last().headers["remote-user"] == "ann"
    renewed = f"pilotage_session={answers[0].cookies['pilotage_session'].partition(';')[0]}"
    assert place.ask("app.example.com", Cookie=renewed).status == 200
    again = f"pilotage_renewal={answers[0].cookies['pilotage_renewal'].partition(';')[0]}"
    assert place.ask("app.example.com", Cookie=again).status == 200
    assert place.ask("staff.example.com", Cookie=again).status == 401
    assert place.ask("app.example.com", Cookie=again[:-3] + "AAA").status == 401


def test_another_site_cannot_sign_a_user_out(place: Place) -> None:
    cookie = place.signed_in("ann").as_request
    asked = place.ask("app.example.com", "/auth/logout", Cookie=cookie, Sec_Fetch_Site="cross-site", **PAGE)
    assert (asked.status, 'method="post"' in asked.body) == (200, True)
    assert asked.headers.get_all("Set-Cookie") is None
    evil = place.ask("app.example.com", "/auth/logout", method="POST", Cookie=cookie, Origin="http://evil.example")
    assert evil.status == 403
    own = {"Origin": "http://app.example.com"}
    assert place.ask("app.example.com", "/auth/logout", method="POST", Cookie=cookie, **own).status == 302


def test_behind_a_trusted_proxy_the_public_url_counts(place: Place) -> None:
    public = {"source": PROXY, "X_Forwarded_Proto": "https", "X_Forwarded_Host": "app.example.com"}
    done = place.signed_in("ann", path="/x", **public)
    assert (done.status, done.location) == (302, "https://app.example.com/x")
    assert all("; Secure" in text for text in done.cookies.values())
    session = {name: text for name, text in done.cookies.items() if "session" in name}
    assert list(session) == ["__Host-pilotage_session"]
    cookie = done.as_request
    assert place.ask("app.example.com", Cookie=cookie, **public).status == 200
    # A cookie that another host can set does not count for HTTPS, nor the other one for HTTP.
    assert place.ask("app.example.com", Cookie=cookie.replace("__Host-", ""), **public).status == 401
    assert place.ask("app.example.com", Cookie=cookie).status == 401
    forged = {"Remote_User": "root", "Remote_Groups": "root"}  # the proxy may say that, but not about these users
    assert place.ask("app.example.com", Cookie=cookie, **forged, **public).status == 200
    assert place.target.last().headers["remote-user"] == "ann"
    assert place.ask("open.example.com", "/health", **forged, **public).status == 200
    assert not [name for name, _ in place.target.last().lines if name.startswith("remote")]
    # What another client says about its URL does not count.
    begun = place.ask("app.example.com", X_Forwarded_Host="evil.example", X_Forwarded_Proto="https", **PAGE)
    assert "redirect_uri=http%3A%2F%2Fapp.example.com%2F" in begun.location


def test_secrets_are_in_no_log_and_no_answer_of_the_api(place: Place) -> None:
    cookie = place.signed_in("ann").cookies["pilotage_session"].partition(";")[0]
    pages = [json.dumps(place.door.api(path)) for path in ("/v1/routes", "/v1/problems", "/v1/config", "/metrics")]
    key = (place.door.folder / "session.key").read_text().strip()
    for secret in (SECRET, key, cookie):
        assert not [page for page in (*pages, place.door.log) if secret in page]
    assert (place.door.folder / "session.key").stat().st_mode & 0o777 == 0o600


def test_sessions_survive_a_restart_and_all_routes_can_need_one(place: Place, tmp_path: Path) -> None:
    cookie = place.signed_in("ann").as_request
    routes = yaml.safe_load((place.door.folder / "routes.yml").read_text())
    environment: dict[str, Any] = {
        "OIDC_ISSUER_URL": place.issuer,
        "OIDC_CLIENT_ID": "gate",
        "OIDC_CLIENT_SECRET": SECRET,
        "PILOTAGE_SESSION_KEY": (place.door.folder / "session.key").read_text().strip(),
    }
    everywhere = {"all_routes": True, "allowed_groups": "staff", "bypass": ["route public", "path /health"]}
    routes["public"] = routes["free"]
    with front_door(tmp_path, routes, sections={"oidc": everywhere}, **environment) as door:
        other = Place(door, place.target, place.issuer)
        assert other.ask("app.example.com", Cookie=cookie).status == 200
        # With all_routes, every route needs a session, unless it bypasses that.
        for host in ("app.example.com", "free.example.com", "FREE.example.com"):
            assert other.ask(host).status == 401
        assert other.ask("public.example.com").status == 200
        assert other.ask("free.example.com", "/health").status == 200
        assert other.ask("app.example.com", "/health").status == 401  # it has a middleware of its own
        done = other.signed_in("ann", "staff.example.com")
        assert other.ask("staff.example.com", Cookie=done.as_request).status == 200


async def test_a_person_signs_in_and_out_with_a_real_browser(place: Place) -> None:
    app = f"http://app.localhost:{place.door.port}"
    with required(), chromium() as browser:
        async with open_tab(browser) as tab:

            async def at(script: str) -> None:
                async with asyncio.timeout(30):
                    while not await tab.value(script):  # noqa: ASYNC110  it happens in the browser
                        await asyncio.sleep(0.05)

            form = "document.querySelector('[name=login]')"
            submit = "document.querySelector('form').requestSubmit()"
            await tab.call("Page.navigate", url=f"{app}/orders?page=2")
            await at(f"{form} !== null")
            assert str(await tab.value("location.href")).startswith(place.issuer)
            await tab.value(f"{form}.value = 'ann'")
            await tab.value("document.querySelector('[name=password]').value = 'x'")
            await tab.value(submit)
            await at("document.querySelector('form') !== null && !document.querySelector('[name=login]')")
            await tab.value(submit)  # the user's consent
            await at(f"location.href === '{app}/orders?page=2'")
            assert place.target.last().headers["remote-user"] == "ann"
            assert await tab.value("document.cookie") == ""  # hidden from scripts
            fetched = "fetch('/api', {method: 'POST'}).then(it => { window.status_ = it.status })"
            await tab.value(f"{fetched}, 0")
            await at("window.status_ === 200")
            await tab.call("Page.navigate", url=f"{app}/auth/logout")
            await at("document.querySelector('form') !== null && location.href.includes('/session/end')")
            await tab.value("document.querySelector('[name=logout][value=yes]').click()")
            await at(f"{form} !== null")  # signed out everywhere, so the provider asks again
