"""Restarts and crashes of the daemon with certificates, and in the middle of obtaining one."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import aiohttp
import pytest

from tests.support.acme_proxy import CHALLENGE, AcmeProxy
from tests.support.certified import HOST, Certified, certified
from tests.support.dns_server import DnsServer
from tests.support.gateway import becomes
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.pebble import Pebble

pytestmark = [pytest.mark.process, pytest.mark.slow]


@contextlib.asynccontextmanager
async def clients(it: Certified) -> AsyncIterator[list[int | str]]:
    """Send requests over new connections while the context is active; yield their results."""
    found: list[int | str] = []
    ended = False

    async def ask() -> None:
        while not ended:
            try:
                found.append(await it.ask())
            except (aiohttp.ClientError, TimeoutError) as error:
                found.append(repr(error))

    async with asyncio.TaskGroup() as group:
        group.create_task(ask())
        try:
            yield found
        finally:
            ended = True


async def test_a_kept_envoy_serves_certificates_through_restarts(tmp_path: Path) -> None:
    async with certified(tmp_path, gateway={"keep": True}) as it:
        await it.served.start()
        first = (await it.reaches("valid"))["serial"]
        await it.serves(first)
        orders = it.orders
        async with clients(it) as results:
            for end in (it.served.stop, it.served.kill):
                await end()
                assert f"{await it.serial():x}" == first
                seen = len(results)
                await until(lambda: len(results) > seen + 3)  # noqa: B023  # called at once
                await it.served.start()
                await it.reaches("valid")
        assert set(results) == {200}
        assert (it.orders, f"{await it.serial():x}") == (orders, first)


async def test_an_order_that_a_crash_ends_leaves_no_challenge_behind(tmp_path: Path) -> None:
    async with contextlib.AsyncExitStack() as stack:
        proxy: AcmeProxy | None = None

        async def through_proxy(pebble: Pebble) -> dict[str, str]:
            nonlocal proxy
            proxy = await stack.enter_async_context(AcmeProxy(pebble, tmp_path))
            return {"ca_dir_url": proxy.directory, "ca_certs": proxy.ca_file}

        it = await stack.enter_async_context(certified(tmp_path, gateway={"keep": True}, ca=through_proxy))
        assert proxy is not None

        async def is_answered() -> bool:
            url = f"http://127.0.0.1:{it.served.port}/.well-known/acme-challenge/{token}"
            async with aiohttp.ClientSession() as session, session.get(url, headers={"Host": HOST}) as found:
                return (await found.text()).startswith(token)

        await it.served.start()
        await it.reaches("valid")
        for number, end in enumerate((it.served.kill, it.served.stop), 1):
            proxy.held = True
            host = f"a{number}.example{number}.org"
            it.add(host)
            asked = proxy.count(CHALLENGE)
            await until(lambda: proxy.count(CHALLENGE) > asked)  # noqa: B023  # called at once
            token = proxy.tokens[-1]
            assert await is_answered()
            await end()
            proxy.held = False
            orders = it.orders
            await it.served.start()
            await it.reaches("valid", host)
            await becomes(is_answered, False)
            assert it.orders == orders + 1


async def test_dns_records_that_a_crash_leaves_are_removed(tmp_path: Path) -> None:
    with DnsServer().running() as dns:
        section = {
            "provider": "rfc2136",
            "options": dns.options | {"propagation_timeout": "60s"},
            "resolvers": [f"{dns.address}:53"],
            "domains": ["*.example.com", "example.com"],
        }
        async with certified(tmp_path, autocert=section, dns=f"{dns.address}:53") as it:
            dns.hidden = 1_000_000
            await it.served.start()
            await until(lambda: dns.updates == 2 and dns.hidden < 1_000_000 - 1)
            (name,) = (name for name, values in dns.records.items() if values)
            assert name == "_acme-challenge.example.com"
            left = list(dns.records[name])
            assert len(left) == 2
            assert "POST /chalZ" not in it.pebble.log  # before the name servers have the records
            await it.served.kill()
            assert dns.records[name] == left
            dns.hidden = 0
            await it.served.start()
            await it.reaches("valid", "*.example.com")
            await it.serves((await it.certificate("*.example.com"))["serial"])
            await until(lambda: not dns.records[name])
            assert (tmp_path / "certificates" / "dns-records.json").read_text() == "[]"
