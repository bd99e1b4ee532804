"""A request whose route changes on its way passes the protections of the route that it gets in the end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import aiohttp
import msgspec
import pytest
import trustme
from aiohttp import web

from pilotage.request_service.keys import SessionKeys
from pilotage.routes.oidc import OidcDefaults
from pilotage.xds.capabilities import check_capabilities
from pilotage.xds.checks import denial
from pilotage.xds.client_profiles import ClientProfile
from pilotage.xds.options import CertificateFiles, GatewayOptions
from tests.support.gateway import gateway, route, target
from tests.support.ports import free_port

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.process, pytest.mark.slow]

DENIED = {"forwardauth": {"route": "auth", "auth_endpoint": "/deny"}}
OIDC = OidcDefaults(issuer_url="https://id", client_id="gate", client_secret="canary", allowed_users=("ann",))
KEYS = SessionKeys(b"s" * 32)
ANSWERED: dict[str, Any] = {"forwardauth": {"route": "auth", "auth_endpoint": "/ok", "headers": ["X-Role"]}}


@pytest.mark.parametrize("host", ["app.example.com.", "app.example.com.:80", "app.EXAMPLE.com", "APP.example.com."])
async def test_a_lookup_with_the_clients_address_leads_to_no_other_backend(tmp_path: Path, host: str) -> None:
    async def deny(_request: web.Request) -> web.Response:
        return web.Response(status=403)

    async with target("short") as short, target("full") as full, target("auth") as auth, gateway(tmp_path) as gw:
        auth.handlers["/deny"] = deny
        await gw.publish(
            route("app", short.port, rules="!remote 127.0.0.1 { error 418 x }"),
            route("app.example.com", full.port, middlewares=DENIED),
            route("auth", auth.port),
        )
        answer = await gw.ask(host)
        assert (answer.status == 403 or answer.by == "short", full.seen) == (True, [])


@pytest.mark.parametrize("host", ["app", "APP:80", "signs", "SIGNS.", "ruled", "RULED", "a.wild.org", "A.wild.org."])
async def test_a_request_that_bypasses_a_redirect_bypasses_nothing_else(tmp_path: Path, host: str) -> None:
    async def deny(_request: web.Request) -> web.Response:
        return web.Response(status=403)

    async def refuse(_: Any) -> Any:
        return denial(403, [], "")

    redirect = {"redirect_http": {"bypass": "remote 127.0.0.0/8"}}
    async with target() as it, target("auth") as auth, gateway(tmp_path, oidc=OIDC, session_keys=KEYS.public) as gw:
        auth.handlers["/deny"] = deny
        gw.ads.on_check = refuse
        await gw.publish(
            *(route(name, it.port, middlewares={**DENIED, **redirect}) for name in ("app", "*.wild.org")),
            route("signs", it.port, middlewares={"oidc": {}, **redirect}),
            route("ruled", it.port, middlewares=redirect, rules="!remote 127.0.0.1 { pass }\ndefault { require_auth }"),
            route("moved", it.port, middlewares={**DENIED, "redirect_http": None}),
            route("auth", auth.port),
        )
        assert ((await gw.ask(host)).status, it.seen) == (403, [])
        assert [(await gw.ask(other)).status for other in ("moved", "MOVED")] == [308, 308]


@pytest.mark.parametrize("host", ["app", "APP:80", "a.wild.org", "A.wild.org."])
async def test_a_header_that_only_the_auth_service_may_set_chooses_no_rule_for_clients(
    tmp_path: Path, host: str
) -> None:
    async def approve(_request: web.Request) -> web.Response:
        return web.Response()  # without the header

    rules = "!header X-Role admin { error 418 x }"
    async with target() as it, target("auth") as auth, gateway(tmp_path) as gw:
        auth.handlers["/ok"] = approve
        names = ("app", "*.wild.org")
        await gw.publish(
            *(route(name, it.port, middlewares=ANSWERED, rules=rules) for name in names), route("auth", auth.port)
        )
        assert [(await gw.ask(host, headers=sent)).status for sent in ({}, {"X-Role": "admin"})] == [418, 418]
        assert it.seen == []


@pytest.mark.parametrize(
    ("fields", "path", "message"),
    [
        (
            {"middlewares": ANSWERED, "rules": "header X-Role admin { pass }\ndefault { require_auth }"},
            "rules",
            "rules with the command require_auth cannot test the header x-role",
        ),
        (
            {
                "middlewares": {
                    **ANSWERED,
                    "cidr_whitelist": {"allow": ["10.0.0.0/8"], "bypass": "header X-Role admin"},
                }
            },
            "middlewares",
            "the option bypass cannot test the header x-role",
        ),
    ],
)
def test_what_is_decided_before_the_auth_service_answers_does_not_depend_on_its_answer(
    fields: dict[str, Any], path: str, message: str
) -> None:
    found, servable = check_capabilities(route("app", 80, **fields), GatewayOptions(oidc=OIDC))
    assert ([it.path for it in found], servable) == ([path], False)
    assert found[0].message.startswith(message)


async def test_a_connection_from_before_the_first_profile_does_not_lead_past_it(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    issued = authority.issue_cert("example.org")
    issued.cert_chain_pems[0].write_to_path(tmp_path / "server.pem")
    issued.private_key_pem.write_to_path(tmp_path / "server.key")
    files = CertificateFiles(str(tmp_path / "server.pem"), str(tmp_path / "server.key"), default=True)
    https: dict[str, Any] = {"https_address": "127.0.0.1", "https_port": free_port(), "certificates": (files,)}
    async with target() as it, gateway(tmp_path, **https) as gw:
        await gw.publish(route("open", it.port))
        connector = aiohttp.TCPConnector(limit=1, force_close=False)
        async with aiohttp.ClientSession(connector=connector) as client:

            async def ask(host: str) -> int:
                async with client.get(gw.url, headers={"Host": host}) as answer:
                    await answer.read()
                    return answer.status

            assert await ask("open") == 200
            profile = ClientProfile("staff", (str(tmp_path / "ca.pem"),))
            gw.ads.configure(msgspec.structs.replace(gw.options, client_profiles=(profile,)))
            await gw.publish(route("open", it.port), route("staff", it.port, inbound_mtls_profile="staff"))
            assert [await ask(host) in (403, 421) for host in ("staff", "STAFF", "staff:1")] == [True] * 3
        assert len(it.seen) == 1
