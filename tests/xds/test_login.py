from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from envoy.extensions.filters.http.jwt_authn.v3.config_pb2 import JwtAuthentication

from pilotage.request_service.keys import SessionKeys
from pilotage.request_service.sessions import User, issue_session
from pilotage.routes.oidc import OidcDefaults, OidcOptions, audience, merge_oidc
from pilotage.xds.backend import route_backend
from pilotage.xds.filters import backend_settings, http_filters
from pilotage.xds.host_lookups import LATE
from pilotage.xds.login import (
    CAPTCHA_COOKIE,
    LOGIN,
    LOGIN_FILTERS,
    SECURE_CAPTCHA_COOKIE,
    SECURE_COOKIE,
    SESSION,
    SESSION_COOKIE,
    SESSION_ISSUER,
    identity_headers,
    login_filters,
    options_of,
)
from pilotage.xds.options import CertificateFiles, GatewayOptions
from tests.support.gateway import route, target
from tests.support.ports import free_port

if TYPE_CHECKING:
    from pathlib import Path

    import trustme

    from tests.xds.conftest import Envoy

KEYS = SessionKeys(b"s" * 32)
DEFAULTS = OidcDefaults(issuer_url="https://id", client_id="gate", client_secret="canary", allowed_users=("ann",))
OPTIONS = GatewayOptions(oidc=DEFAULTS, session_keys=KEYS.public)
APP = {"oidc": None}
RULES = "path /old {\n redirect /new\n}\npath /gone {\n error 410 gone\n}\n"


def session(alias: str, **claims: Any) -> str:
    options = merge_oidc(OidcOptions(), DEFAULTS)[0]
    valid_for = audience(f"route/{alias}", options)
    if not claims:
        return issue_session(KEYS, User("ann"), valid_for, options, 60)
    return KEYS.sign({"iss": SESSION_ISSUER, "exp": time.time() + 60, valid_for: {"ok": True}} | claims)


def test_the_filter_that_protects_is_always_in_the_chain() -> None:
    for options in (GatewayOptions(), OPTIONS):
        chain = http_filters(options, https=False)
        (late,) = (it for it in chain if it.name == LATE)
        assert LOGIN.encode() in late.typed_config.value  # for requests without a known route
        assert not late.disabled
        assert {it.name for it in chain if it.disabled} >= set(login_filters(options.session_keys))
    assert list(login_filters("")) == list(LOGIN_FILTERS[1:])


@pytest.mark.parametrize(
    ("https", "trusted", "cookies"),
    [
        (False, False, [SESSION_COOKIE, CAPTCHA_COOKIE]),
        (True, False, [SECURE_COOKIE, SECURE_CAPTCHA_COOKIE]),
        (True, True, [SECURE_COOKIE, SESSION_COOKIE, SECURE_CAPTCHA_COOKIE, CAPTCHA_COOKIE]),
    ],
)
def test_a_session_counts_only_with_the_scheme_of_its_cookie(https: bool, trusted: bool, cookies: list[str]) -> None:
    found = JwtAuthentication()
    chain = {it.name: it.typed_config for it in http_filters(OPTIONS, https=https, trusted=trusted)}
    assert chain[SESSION].Unpack(found)
    assert [cookie for _, it in sorted(found.providers.items(), reverse=True) for cookie in it.from_cookies] == cookies


@pytest.mark.slow
async def test_a_cookie_that_other_hosts_can_set_names_nobody_over_https(
    envoy: Envoy, authority: trustme.CA, tmp_path: Path
) -> None:
    issued, pem = authority.issue_cert("app.example.com"), tmp_path / "app.pem"
    pem.write_bytes(issued.private_key_and_cert_chain_pem.bytes())
    certificates = (CertificateFiles(str(pem), str(pem)),)
    options = {"https_address": "127.0.0.1", "https_port": free_port(), "certificates": certificates}
    oidc = {"oidc": {"bypass": "path /health"}}
    async with target() as it, envoy(oidc=DEFAULTS, session_keys=KEYS.public, **options) as gw:
        await gw.publish(route("app", it.port, middlewares=oidc))
        plain, secure = (f"{name}={session('app')}" for name in (SESSION_COOKIE, SECURE_COOKIE))
        url = f"https://127.0.0.1:{gw.options.https_port}"
        tls: dict[str, Any] = {"url": url, "ssl": False, "server_hostname": "app.example.com"}
        for cookie, over_https, user in ((plain, False, "ann"), (plain, True, None), (secure, True, "ann")):
            answer = await gw.ask(
                "app.example.com", "/health", headers={"Cookie": cookie}, **(tls if over_https else {})
            )
            assert (answer.status, answer.json["headers"].get("remote-user")) == (200, user)


def test_a_route_without_the_middleware_has_no_settings() -> None:
    backend = route_backend(route("app", 80))
    assert not set(backend_settings(backend, OPTIONS)) & set(LOGIN_FILTERS)
    assert identity_headers(backend, OPTIONS) == []
    assert options_of(backend, OPTIONS) is None


def test_envoy_never_gets_a_secret() -> None:
    backend = route_backend(route("app", 80, middlewares=APP))
    text = str(backend_settings(backend, OPTIONS)) + str(http_filters(OPTIONS, https=True))
    assert "canary" not in text
    assert '"d"' not in text


@pytest.mark.slow
async def test_sessions_need_no_daemon_and_nothing_passes_without_one(envoy: Envoy) -> None:
    async with target() as it, envoy(oidc=DEFAULTS, session_keys=KEYS.public) as gw:
        asked = 0

        async def refuse(_: Any) -> Any:
            nonlocal asked
            asked += 1
            from pilotage.xds.checks import denial

            return denial(401, [], "")

        gw.ads.on_check = refuse
        await gw.publish(
            *(route(name, it.port, middlewares=APP) for name in ("app", "*.wild.org")),
            route("free", it.port),
            route("ruled", it.port, middlewares=APP, rules=RULES),
            route("moved", it.port, middlewares={"oidc": None, "redirect_http": None}),
        )
        for host in ("moved.example.com", "MOVED.example.com"):
            answer = await gw.ask(host)
            assert (answer.status, answer.headers["Location"].partition(":")[0], asked) == (308, "https", 0)
        good = f"pilotage_session={session('app')}"
        answer = await gw.ask("app.example.com", headers={"Cookie": good, "Remote-User": "root"})
        assert (answer.status, answer.json["headers"]["remote-user"], asked) == (200, "ann", 0)
        assert (await gw.ask("FREE.example.com")).status == 200
        assert asked == 0
        wrong = [
            "",
            good[:-4] + "AAAA",
            f"x={session('app')}",
            f"pilotage_session={session('other')}",
            f"pilotage_session={session('app', exp=time.time() - 600)}",
            f"pilotage_session={session('app', iss='other')}",
            f"__Host-pilotage_session={session('app')}",  # over HTTP, this cookie does not count
            f"pilotage_session={SessionKeys(b't' * 32).sign({'iss': SESSION_ISSUER, 'exp': time.time() + 60})}",
        ]
        for number, cookie in enumerate(wrong, 1):
            answer = await gw.ask("app.example.com", headers={"Cookie": cookie})
            assert (answer.status, asked) == (401, number), cookie
        assert (await gw.ask("APP.example.com", headers={"Cookie": good})).status == 401  # the daemon decides
        for path in ("/auth/callback", "/auth/logout", "/auth/logout?x"):
            assert (await gw.ask("app.example.com", path, headers={"Cookie": good})).status == 401
        assert (await gw.ask("APP.example.com")).status == 401
        assert (await gw.ask("A.wild.org")).status == 401
        for path in ("/old", "/gone", "/new"):  # rules answer only users who have signed in
            assert (await gw.ask("ruled.example.com", path)).status == 401
        rules = {"Cookie": f"pilotage_session={session('ruled')}"}
        assert [(await gw.ask("ruled.example.com", it, headers=rules)).status for it in ("/old", "/gone")] == [307, 410]
        await gw.ads.close()
        assert (await gw.ask("app.example.com", headers={"Cookie": good})).status == 200
        for host in ("app.example.com", "APP.example.com", "a.wild.org"):
            assert (await gw.ask(host)).status == 503
        assert len(it.seen) == 3
        assert gw.refused == []
        assert "Deprecated field: type envoy.config.rbac" not in gw.log


@pytest.mark.slow
async def test_without_keys_the_daemon_is_asked_about_every_request(envoy: Envoy) -> None:
    from pilotage.request_service.pages import passes

    async with target() as it, envoy(oidc=DEFAULTS) as gw:

        async def allow(_: Any) -> Any:
            return passes({"user": "ann"})

        gw.ads.on_check = allow
        await gw.publish(route("app", it.port, middlewares=APP))
        answer = await gw.ask("app.example.com", headers={"Remote-User": "root", "Remote-Groups": "root"})
        headers = {name: value for name, value in answer.json["headers"].items() if name.startswith("remote-")}
        assert headers == {"remote-user": "ann"}
