from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from pilotage.routes.access_log import AccessLog, FieldFilter, LoggedFields
from pilotage.routes.schema import LoadBalance
from pilotage.xds.backend import pool_backend
from pilotage.xds.load_balancing import hash_policies
from pilotage.xds.middlewares import RoutePolicy
from pilotage.xds.real_ip import client_address, real_ip_metadata
from tests.support.gateway import becomes, route, target

if TYPE_CHECKING:
    from tests.support.gateway import Answer, Gateway
    from tests.xds.conftest import Envoy

PROXIES = {"header": "X-Real-IP", "from": ["127.0.0.8/29", "10.0.0.0/8", "fd00::/8"]}
TRUSTED = ("127.0.0.8/29", "10.0.0.0/8", "fd00::/8")
LOG = AccessLog(stdout=True, format="json", fields=LoggedFields())


async def ask(gw: Gateway, host: str, path: str = "/", source: str = "127.0.0.9", **headers: str) -> Answer:
    """Send a request from an address; by default, that of a trusted proxy."""
    connector = aiohttp.TCPConnector(local_addr=(source, 0))
    async with aiohttp.ClientSession(connector=connector) as gw.client:
        return await gw.ask(host, path, headers={name.replace("_", "-"): value for name, value in headers.items()})


def test_a_route_without_the_middleware_uses_the_address_of_the_connection() -> None:
    assert real_ip_metadata(RoutePolicy()) == {}
    assert client_address(RoutePolicy()) == "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"


def test_ip_hash_uses_the_address_that_the_script_finds() -> None:
    balance = LoadBalance(mode="ip_hash", link="app")
    backend, _ = pool_backend("app", [route("a", 80, load_balance=balance, middlewares={"real_ip": PROXIES})])
    (policy,) = hash_policies(backend)
    assert policy.header.header_name == "x-forwarded-for"


@pytest.mark.parametrize(
    ("network", "digits"),
    [
        ("10.0.0.0/8", "4:0a/0f"),
        ("127.0.0.8/29", "4:7f00000/8f"),
        ("192.168.0.0/18", "4:c0a8/03"),
        ("1.2.3.4/32", "4:01020304/0f"),
        ("0.0.0.0/0", "4:/0f"),
        ("::ffff:10.0.0.0/104", "4:0a/0f"),
        ("fc00::/7", "6:f/cd"),
    ],
)
def test_networks_become_digits(network: str, digits: str) -> None:
    assert real_ip_metadata(RoutePolicy(address_from=("x", (network,)))) == {"header": "x", "networks": digits}


@pytest.mark.slow
@pytest.mark.proves("middlewares.real_ip.header", "middlewares.real_ip.from")
async def test_everything_on_the_route_sees_the_real_address(envoy: Envoy) -> None:
    seen = {"set_headers": {"X-Host": "$remote_host", "X-Addr": "$remote_addr"}}
    closed = {"real_ip": PROXIES, "cidr_whitelist": {"allow": ["203.0.113.0/24", "2001:db8::/33"]}}
    other_status = {**closed, "cidr_whitelist": {"allow": "203.0.113.0/24", "status": 404}}
    rules = "remote 203.0.113.0/24 & path /rule { error 418 tea }"
    logged = AccessLog(stdout=True, format="json", filters=LOG.filters)
    async with target() as it, target("auth") as auth, envoy(trusted_proxies=TRUSTED) as gw:
        await gw.publish(
            route("app", it.port, middlewares={"real_ip": PROXIES, "request": seen}, access_log=logged),
            route("set", it.port, middlewares={"real_ip": PROXIES, "set_x_forwarded": None}),
            route("closed", it.port, middlewares=closed),
            route("hidden", it.port, middlewares=other_status),
            route("limited", it.port, middlewares={"real_ip": PROXIES, "rate_limit": {"average": 1, "period": "1h"}}),
            route("asked", it.port, middlewares={"real_ip": PROXIES, "forwardauth": {"route": "login"}}),
            route("rules", it.port, middlewares={"real_ip": PROXIES}, rules=rules_of(rules)),
            route("login", auth.port),
            route("plain", it.port, middlewares={"request": seen}),
        )

        async def status(host: str, address: str, path: str = "/", **options: str) -> int:
            return (await ask(gw, host, path, X_Real_IP=address, **options)).status

        got = (await ask(gw, "app", "/page", X_Real_IP="203.0.113.7")).json["headers"]
        assert (got["x-host"], got["x-addr"], got["x-forwarded-for"]) == ("203.0.113.7",) * 3
        assert (await ask(gw, "set", X_Real_IP="2001:db8::7")).json["headers"]["x-forwarded-for"] == "2001:db8::7"
        assert (await ask(gw, "plain", X_Real_IP="203.0.113.7")).json["headers"]["x-host"] == "127.0.0.9"
        # from elsewhere, the header counts for nothing
        got = (await ask(gw, "app", X_Real_IP="203.0.113.7", source="127.0.0.1")).json["headers"]
        assert got["x-host"] == "127.0.0.1"
        for host, refused in (("closed", 403), ("hidden", 404), ("CLOSED:80", 403)):
            assert await status(host, "203.0.113.7") == 200, host
            assert await status(host, "203.0.114.7") == refused, host
            assert await status(host, "203.0.113.7", source="127.0.0.1") == refused, host
            assert (await ask(gw, host)).status == refused, host
        assert await status("closed", "2001:db8:0:1::7") == 200
        assert await status("closed", "2001:db8:8000::7") == 403
        assert [await status("limited", f"203.0.113.{last}") for last in (1, 1, 2, 2)] == [200, 429, 200, 429]
        assert await status("asked", "203.0.113.7") == 200
        assert auth.seen[-1][2]["x-forwarded-for"] == "203.0.113.7"
        assert await status("rules", "203.0.113.7", "/rule") == 418
        assert await status("rules", "203.0.114.7", "/rule") == 200
        await becomes(lambda: asyncio.to_thread(lambda: gw.log.count('"client"') >= 2), expected=True)
        lines = [json.loads(line) for line in gw.log.splitlines() if '"client"' in line]
        assert [line["client"] for line in lines][:2] == ["203.0.113.7", "127.0.0.1"]


def rules_of(text: str) -> Any:
    from tests.support.field_values import read_route

    found, context = read_route(f"rules: '{text}'")
    assert context.problems == []
    return found["rules"]


@pytest.mark.slow
async def test_a_log_is_filtered_by_the_real_address(envoy: Envoy) -> None:
    log, _ = read_log("{stdout: true, format: common, filters: {cidr: {values: [203.0.113.0/24]}}}")
    async with target() as it, envoy(trusted_proxies=TRUSTED) as gw:
        await gw.publish(route("app", it.port, middlewares={"real_ip": PROXIES}, access_log=log))
        for address in ("203.0.114.1", "203.0.113.1", "203.0.113.2"):
            await ask(gw, "app", f"/page-{address}", X_Real_IP=address)
        await becomes(lambda: asyncio.to_thread(lambda: "page-203.0.113.2" in gw.log), expected=True)
        assert [line.split(" ")[1] for line in gw.log.splitlines() if "/page" in line] == ["203.0.113.1", "203.0.113.2"]


def read_log(text: str) -> tuple[AccessLog, FieldFilter | None]:
    from tests.support.field_values import read_route

    found, _ = read_route(f"access_log: {text}")
    return found["access_log"], None


@pytest.mark.slow
@pytest.mark.proves("middlewares.real_ip.header", "middlewares.real_ip.from")
async def test_the_last_address_outside_the_networks_counts(envoy: Envoy) -> None:
    seen = {"set_headers": {"X-Host": "$remote_host"}}
    forwarded = {**PROXIES, "header": "X-Forwarded-For"}
    async with target() as it, envoy(trusted_proxies=TRUSTED) as gw:
        await gw.publish(
            route("app", it.port, middlewares={"real_ip": PROXIES, "request": seen}),
            route("chain", it.port, middlewares={"real_ip": forwarded, "request": seen}),
            route("closed", it.port, middlewares={"real_ip": PROXIES, "cidr_whitelist": {"allow": "127.0.0.0/8"}}),
        )

        async def found(value: str) -> str:
            return str((await ask(gw, "app", X_Real_IP=value)).json["headers"]["x-host"])

        for value, expected in {
            "1.1.1.1, 2.2.2.2": "2.2.2.2",
            "1.1.1.1, 2.2.2.2, 10.0.0.1, fd00::1": "2.2.2.2",
            "10.0.0.2, 10.0.0.1": "10.0.0.2",
            "2.2.2.2:5555": "2.2.2.2",
            "[2001:db8::1]:80": "2001:db8::1",
            "::ffff:10.0.0.1": "::ffff:10.0.0.1",
            "::ffff:2.2.2.2": "::ffff:2.2.2.2",
            "1::": "1::",
            "1:2:3:4:5:6:7:8": "1:2:3:4:5:6:7:8",
            ", ".join(["2.2.2.2", *["10.0.0.1"] * 99]): "2.2.2.2",
            ", ".join(["10.0.0.2", *["10.0.0.1"] * 99]): "10.0.0.2",
            f"2.2.2.2{' ' * 90}, 10.0.0.1": "2.2.2.2",
            # The time for a request must not depend on how much a client sends.
            ", ".join(["2.2.2.2", *["10.0.0.1"] * 100]): "unknown",
            ", ".join(["10.0.0.1"] * 5_000): "unknown",
            f"2.2.2.2{' ' * 50_000}2, 10.0.0.1": "unknown",
        }.items():
            assert await found(value) == expected, value[:40]
        for odd in (
            "x",
            "2.2.2.2 x",
            "1.2.3.256",
            "1.2.3",
            ":::",
            "1::2::3",
            "1:2",
            "12345::",
            "1" * 5_000,
            ",",
            "::g",
        ):
            assert await found(f"1.1.1.1, {odd}") == "unknown", odd
            assert (await ask(gw, "closed", X_Real_IP=odd)).status == 403, odd
        assert (await ask(gw, "closed")).status == 200  # a request of the proxy itself
        chain = await ask(gw, "chain", X_Real_IP="9.9.9.9", X_Forwarded_For="6.6.6.6, 2.2.2.2, 10.0.0.1")
        assert chain.json["headers"]["x-host"] == "2.2.2.2"
