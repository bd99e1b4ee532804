"""The command ``require_auth`` in rules, through a real Envoy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pilotage.request_service.keys import SessionKeys
from pilotage.request_service.sessions import User, issue_session
from pilotage.routes.oidc import OidcDefaults, OidcOptions, audience, merge_oidc
from pilotage.xds.capabilities import check_capabilities
from pilotage.xds.checks import denial
from pilotage.xds.options import GatewayOptions
from tests.support.gateway import route, target

if TYPE_CHECKING:
    from tests.support.gateway import Gateway
    from tests.xds.conftest import Envoy

KEYS = SessionKeys(b"s" * 32)
DEFAULTS = OidcDefaults(issuer_url="https://id", client_id="gate", client_secret="canary", allowed_users=("ann",))
RULES = """
path glob("/admin/*") {
  require_auth
  path /admin/gone { error 410 gone }
  set query by admin
}
path /old { redirect /new }
"""
FAR = "!remote 10.0.0.0/8 { require_auth }\nremote 127.0.0.1 { set query near yes }"


def session(alias: str) -> dict[str, str]:
    options = merge_oidc(OidcOptions(), DEFAULTS)[0]
    token = issue_session(KEYS, User("ann"), audience(f"route/{alias}", options), options, 60)
    return {"Cookie": f"pilotage_session={token}"}


async def _status(gw: Gateway, host: str, path: str, headers: dict[str, str] | None = None) -> int:
    return (await gw.ask(host, path, headers=headers or {})).status


async def test_only_some_requests_need_a_session_and_nothing_else_gets_them_past_it(envoy: Envoy) -> None:
    async with target() as it, target("other") as other, envoy(oidc=DEFAULTS, session_keys=KEYS.public) as gw:

        async def refuse(_: Any) -> Any:
            return denial(401, [], "")

        gw.ads.on_check = refuse
        bypassed = {"rate_limit": {"average": 100, "bypass": "path /admin/x"}}
        await gw.publish(
            *(route(name, it.port, rules=RULES) for name in ("app", "*.wild.org")),
            route("far", it.port, rules=FAR),
            route("bypassed", it.port, rules=RULES, middlewares=bypassed),
            route("led", it.port, rules="{ require_auth\n route other }"),
            route("other", other.port),
        )
        assert gw.refused == []
        for host in ("app", "APP:80", "app.example.com", "a.wild.org", "A.Wild.org", "bypassed"):
            for path in ("/admin/x", "//admin/x", "/%61dmin/x", "/admin/gone", "/auth/callback", "/auth/logout?x=/"):
                assert (host, path, await _status(gw, host, path)) == (host, path, 401)
            assert (await _status(gw, host, "/public"), await _status(gw, host, "/old")) == (200, 307)
        for host in ("far", "FAR", "far.example.com"):  # the route that is found first requires no session
            assert (host, await _status(gw, host, "/")) == (host, 401)
        assert await _status(gw, "led", "/") == 401
        assert (it.seen, other.seen) == ([entry for entry in it.seen if entry[1] == "/public"], [])

        answer = await gw.ask("app", "/admin/x", headers={**session("app"), "Remote-User": "root"})
        assert (answer.status, answer.json["headers"]["remote-user"]) == (200, "ann")
        assert answer.json["path"] == "/admin/x?by=admin"
        assert await _status(gw, "app", "/admin/gone", session("app")) == 410
        assert await _status(gw, "app", "/admin/x", session("other")) == 401
        answer = await gw.ask("far", "/", headers=session("far"))
        assert (answer.status, answer.json["path"]) == (200, "/?near=yes")
        assert (await gw.ask("led", "/", headers=session("led"))).by == "other"
        answer = await gw.ask("app", "/public", headers={"Remote-User": "root"})
        assert "remote-user" not in answer.json["headers"]

        await gw.ads.close()  # what keeps people out fails closed, and the rest goes on
        assert await _status(gw, "app", "/admin/x", session("app")) == 200
        assert [await _status(gw, host, "/admin/x") for host in ("app", "APP", "a.wild.org")] == [503] * 3
        assert [await _status(gw, host, "/public") for host in ("app", "APP", "a.wild.org")] == [200] * 3


@pytest.mark.parametrize(
    ("fields", "options", "message"),
    [
        ({}, GatewayOptions(), "the command require_auth needs an OpenID provider"),
        ({"middlewares": {"oidc": {"bypass": "path /x"}}}, GatewayOptions(oidc=DEFAULTS), "the command require_auth"),
    ],
)
def test_users_must_be_able_to_sign_in(fields: dict[str, Any], options: GatewayOptions, message: str) -> None:
    rules = {"rules": "path /admin { require_auth }"}
    found, servable = check_capabilities(route("app", 80, **rules, **fields), options)
    assert [(it.message.startswith(message), it.path, servable) for it in found] == [(True, "rules", False)]
    assert check_capabilities(route("app", 80, **rules), GatewayOptions(oidc=DEFAULTS)) == ((), True)
    asked = f"{rules['rules']}\nbasic_auth me $2y$05${'a' * 53} {{ pass }}"
    found, servable = check_capabilities(route("app", 80, rules=asked), GatewayOptions(oidc=DEFAULTS))
    assert ([it.path for it in found], servable) == (["rules"], False)
