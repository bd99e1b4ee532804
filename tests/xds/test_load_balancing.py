from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from pilotage.routes.port_syntax import PortPair
from pilotage.routes.schema import LoadBalance
from pilotage.xds.backend import pool_backend
from pilotage.xds.balance_problems import balance_problems
from pilotage.xds.load_balancing import hash_policies, lb_policy
from pilotage.xds.options import GatewayOptions
from tests.support.gateway import becomes, route, target
from tests.support.ports import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.xds.conftest import Envoy

BEHIND = GatewayOptions(trusted_proxies=("127.0.0.0/8",))


@pytest.mark.parametrize("mode", ["", "round_robin", "roundrobin", "RoundRobin", "least_conn", "LEASTCONN", "ip_hash"])
def test_every_mode_has_its_policy_in_any_spelling(mode: str) -> None:
    assert balance_problems(route("a", 1, load_balance=LoadBalance(link="p", mode=mode)), GatewayOptions()) == []
    backend, _ = pool_backend("p", [route("a", 1, load_balance=LoadBalance(link="p", mode=mode))])
    folded = mode.lower().replace("_", "")
    assert lb_policy(backend) == {"leastconn": 1, "iphash": 2}.get(folded, 0)


def test_a_pool_takes_from_other_members_what_its_leader_does_not_set() -> None:
    leader = route("a", 1, load_balance=LoadBalance(link="p", weight=2))
    other = route("b", 2, load_balance=LoadBalance(link="p", mode="ip_hash", options={"header": "X-Real-IP"}, weight=5))
    sticky = route("c", 3, load_balance=LoadBalance(link="p", mode="least_conn", sticky=True, sticky_max_age=9.0))
    found = pool_backend("p", [leader, other, sticky])[0].route.settings.load_balance
    assert (found.mode, found.sticky, found.sticky_max_age, found.weight) == ("ip_hash", True, 9.0, 2)
    assert found.options == {"header": "X-Real-IP"}
    backend, _ = pool_backend("p", [leader, other])
    header, address = hash_policies(backend)
    assert (header.header.header_name, header.terminal) == ("x-real-ip", True)
    assert address.connection_properties.source_ip


async def _members(gw: Any, addresses: list[str], header: str = "") -> list[str]:
    """Return which member answers the requests of each of these clients."""
    found = []
    for address in addresses:
        connector = aiohttp.TCPConnector(local_addr=("127.0.0.1" if header else address, 0))
        async with aiohttp.ClientSession(connector=connector) as client:
            headers = {"Host": "shop", **({header: address} if header else {})}
            async with client.get(gw.url, headers=headers) as answer:
                found.append(answer.headers["X-From"])
    return found


@pytest.mark.proves("load_balance.options")
async def test_ip_hash_goes_by_the_client_that_a_trusted_proxy_names(envoy: Envoy) -> None:
    addresses = [f"127.0.0.{last}" for last in range(2, 12)]
    async with target("one") as one, target("two") as two, envoy(trusted_proxies=("127.0.0.1/32",)) as gw:

        async def publish(**options: Any) -> None:
            balance = LoadBalance(link="shop", mode="ip_hash", options=options)
            await gw.publish(route("a", one.port, load_balance=balance), route("b", two.port, load_balance=balance))
            assert not gw.ads.problems

        await publish(**{"header": "X-Real-IP", "from": ["127.0.0.1/32"]})
        by_header = await _members(gw, addresses, "X-Real-IP")
        assert set(by_header) == {"one", "two"}
        assert await _members(gw, addresses, "X-Real-IP") == by_header
        await publish(**{"from": ["127.0.0.1/32"]})
        by_forwarded = await _members(gw, addresses, "X-Forwarded-For")
        assert set(by_forwarded) == {"one", "two"}
        # A client that is not a proxy is identified by its own address.
        assert await _members(gw, addresses) == by_forwarded


# ---- tcp and udp -----------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def _named(name: bytes, *, udp: bool) -> AsyncIterator[int]:
    """Run a server that answers everything with its name."""

    class Datagrams(asyncio.DatagramProtocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = transport

        def datagram_received(self, _: bytes, address: tuple[str, int]) -> None:
            self.transport.sendto(name, address)  # type: ignore[attr-defined]

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(name)
        writer.close()

    if udp:
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Datagrams, local_addr=("127.0.0.1", 0))
        yield transport.get_extra_info("sockname")[1]
        transport.close()
        return
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def _answer(port: int, *, udp: bool, source: str = "127.0.0.1") -> str:
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM if udp else socket.SOCK_STREAM) as client:
        client.setblocking(False)
        client.bind((source, 0))
        try:
            async with asyncio.timeout(1):
                await loop.sock_connect(client, ("127.0.0.1", port))
                if udp:
                    await loop.sock_sendall(client, b"?")
                return (await loop.sock_recv(client, 10)).decode()
        except (OSError, TimeoutError):
            return ""


async def test_tcp_and_udp_routes_form_pools(envoy: Envoy) -> None:
    async with envoy() as gw, contextlib.AsyncExitStack() as stack:
        for scheme in ("tcp", "udp"):
            udp = scheme == "udp"
            one, two = [await stack.enter_async_context(_named(name, udp=udp)) for name in (b"one", b"two")]
            mine = free_port(socket.SOCK_DGRAM if udp else socket.SOCK_STREAM)

            def member(alias: str, port: int, listening: int, scheme: str = scheme, **balance: Any) -> Any:
                pair = PortPair(listening, port)
                settings = LoadBalance(link="db", **balance)
                return route(alias, port, scheme=scheme, bind="127.0.0.1", port=pair, load_balance=settings)

            async def both(mine: int = mine, *, udp: bool = udp) -> set[str]:
                return {await _answer(mine, udp=udp) for _ in range(8)}

            await gw.publish(member("a", one, mine), member("b", two, mine))
            assert not gw.ads.problems
            await becomes(both, {"one", "two"})
            await gw.publish(member("a", one, mine, mode="ip_hash"), member("b", two, mine))
            await becomes(functools.partial(_length, both), 1)
            sources = [f"127.0.0.{last}" for last in range(2, 14)]
            found = [await _answer(mine, udp=udp, source=source) for source in sources]
            assert set(found) == {"one", "two"}
            assert [await _answer(mine, udp=udp, source=source) for source in sources] == found
            await gw.publish(member("a", one, mine), member("b", two, mine + 1))
            (problem,) = gw.ads.problems
            assert (problem.route, problem.path) == ("b", "load_balance.link")
            assert "listening port" in problem.message
            await becomes(both, {"one"})
            await gw.publish()


async def _length(ask: Any) -> int:
    return len(await ask())
