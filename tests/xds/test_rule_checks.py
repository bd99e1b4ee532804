"""Conditions about which Envoy asks this process, through a real Envoy."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from yarl import URL

from pilotage.daemon.sign_in import start_sign_in
from pilotage.routes.rules import parse_condition
from pilotage.xds.capabilities import check_capabilities
from pilotage.xds.rule_checks import LARGEST_FORM, holds_without_form
from pilotage.xds.rule_tests import RESULTS_HEADER, check_id
from tests.request_service.test_passwords import HASH, basic
from tests.support.gateway import route, target
from tests.support.http2 import Http2

if TYPE_CHECKING:
    from tests.xds.conftest import Envoy

STAFF = f'!basic_auth me {HASH} {{ require_basic_auth Staff }}\nproto h2c {{ error 418 "" }}'


@pytest.mark.parametrize(
    ("text", "holds"), [("form a", False), ("form a 1", False), ("form a !1", True), ("form a glob(*)", True)]
)
def test_some_conditions_hold_without_the_field(text: str, holds: bool) -> None:
    (((check,),)) = parse_condition(text)
    assert holds_without_form(check) is holds


async def test_only_users_with_the_password_get_in(envoy: Envoy) -> None:
    async with target() as it, envoy() as gw, AsyncExitStack() as stack:
        await gw.publish(route("app", it.port, rules=STAFF), route("*.wild.example", it.port, rules=STAFF))
        me = {"Authorization": basic("me:secret")}
        assert (await gw.ask("app", headers=me)).status == 503  # nobody answers Envoy's question
        start_sign_in(gw.ads, {}, "", stack)
        ((check,),) = parse_condition(f"basic_auth me {HASH}")
        for host in ("app", "App:80", "a.wild.example", "a.Wild.example:80"):
            assert (await gw.ask(host, headers=me)).status == 200
            sent = (await gw.ask(host, headers=me)).json["headers"]
            assert [name for name in sent if name.startswith("x-pilotage")] == []
            for wrong in ({}, {"Authorization": basic("me:other")}, {"Authorization": basic("you:secret")}):
                answer = await gw.ask(host, headers={**wrong, RESULTS_HEADER: check_id(check)})
                assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, 'Basic realm="Staff"')


async def test_passwords_are_checked_where_an_address_bypasses_the_redirect_to_https(envoy: Envoy) -> None:
    redirect = {"redirect_http": {"bypass": ["remote 127.0.0.1"]}}
    async with target() as it, envoy() as gw, AsyncExitStack() as stack:
        start_sign_in(gw.ads, {}, "", stack)
        names = ("app", "*.wild.example")
        rules = f'postform action delete {{ error 403 "" }}\n{STAFF}'
        await gw.publish(*(route(name, it.port, rules=rules, middlewares=redirect) for name in names))
        for host in ("app", "App:80", "a.wild.example", "a.Wild.example:80"):
            found = [await gw.ask(host, headers={"Authorization": basic(it)}) for it in ("me:secret", "me:other")]
            assert [it.status for it in (*found, await gw.ask(host))] == [200, 401, 401], host
            async with gw.client.post(gw.url, data={"action": "delete"}, headers={"Host": host}) as answer:
                assert answer.status == 403, host
            async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(local_addr=("127.0.0.2", 0))) as client:
                options: Any = {"headers": {"Host": host, "Authorization": basic("me:secret")}}
                async with client.get(gw.url, allow_redirects=False, **options) as answer:
                    assert (answer.status, answer.headers["Location"][:8]) == (308, "https://"), host


async def test_a_form_is_checked_before_the_target_gets_it(envoy: Envoy) -> None:
    rules = 'postform action delete { error 403 "" }\nform q { set header X-Q 1 }'
    url = {"Content-Type": "application/x-www-form-urlencoded"}
    async with target() as it, envoy() as gw, AsyncExitStack() as stack:
        start_sign_in(gw.ads, {}, "", stack)
        await gw.publish(route("app", it.port, rules=rules))

        async def post(body: bytes, headers: dict[str, str], path: str = "/") -> tuple[int, int]:
            target = URL(gw.url + path)
            async with gw.client.post(target, data=body, headers={"Host": "app", **headers}) as answer:
                return answer.status, (await answer.json())["received"] if answer.status == 200 else 0

        assert await post(b"action=delete", url) == (403, 0)
        assert await post(b"action=dele%74e&x=" + b"x" * 200_000, url) == (403, 0)
        assert await post(b"action=save", url) == (200, 11)
        assert await post(b"x" * LARGEST_FORM + b"&action=delete", url) == (413, 0)
        assert await post(b"x" * LARGEST_FORM * 2, {"Content-Type": "image/png"}, "/?a") == (200, 2 * LARGEST_FORM)
        multipart = b'--b\r\nContent-Disposition: form-data; name="action"\r\n\r\ndelete\r\n--b--'
        assert await post(multipart, {"Content-Type": "Multipart/Form-Data; boundary=b"}) == (403, 0)
        assert await post(multipart[:-2], {"Content-Type": "Multipart/Form-Data; boundary=b"}) == (400, 0)
        assert (await gw.ask("app", "/?q=1")).json["headers"]["x-q"] == "1"
        assert "x-q" not in (await gw.ask("app", "/?p=1")).json["headers"]


async def test_the_http_version_is_the_one_of_the_client(envoy: Envoy) -> None:
    async with target() as it, envoy() as gw:
        rules = 'proto h2c { error 418 "" }\nproto h1 { error 419 "" }'
        await gw.publish(route("app", it.port, rules=rules), route("*.wild.example", it.port, rules=rules))

        def versions(host: str) -> str:
            with contextlib.closing(socket.create_connection(("127.0.0.1", int(gw.url.rpartition(":")[2])))) as plain:
                connection = Http2(plain)
                connection.request(1, host)
                return connection.statuses(1)[1]

        for host in ("app", "a.wild.example"):
            assert (await gw.ask(host)).status == 419
            assert await asyncio.to_thread(versions, host) == "4xx"


def test_another_check_of_all_requests_excludes_these_conditions() -> None:
    problems, servable = check_capabilities(
        route("app", 1, rules=STAFF, middlewares={"forwardauth": {"route": "login"}})
    )
    assert not servable
    assert [it.path for it in problems] == ["rules"]
    assert "cannot be combined with the middleware forwardauth" in problems[0].message
