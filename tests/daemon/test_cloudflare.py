from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from pilotage.daemon import cloudflare
from pilotage.daemon.cloudflare import CloudflareNetworks
from pilotage.xds.cloudflare import CLOUDFLARE
from pilotage.xds.options import GatewayOptions
from tests.support.gateway import target
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

OWN = "10.0.0.0/8"
NEWER = (*CLOUDFLARE[1:], "203.14.0.0/16")


class Server:
    """An xDS server as far as its settings matter."""

    def __init__(self, options: GatewayOptions) -> None:
        self.snapshot = self
        self.options = options
        self.changes = 0

    def configure(self, options: GatewayOptions) -> None:
        self.options = options
        self.changes += 1


@contextlib.asynccontextmanager
async def running(networks: CloudflareNetworks) -> AsyncIterator[None]:
    task = asyncio.create_task(networks.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


def listing(*networks: str, status: int = 200) -> Any:
    async def answer(_request: web.Request) -> web.Response:
        return web.Response(status=status, text="\n".join(networks))

    return answer


async def test_a_newer_list_replaces_the_known_networks_also_after_a_reload() -> None:
    async with target() as it:
        it.handlers |= {"/v4": listing(*NEWER[:9]), "/v6": listing(*NEWER[9:])}
        lists = tuple(f"http://127.0.0.1:{it.port}/{name}" for name in ("v4", "v6"))
        options = GatewayOptions(trusted_proxies=(OWN, *CLOUDFLARE), cloudflare_lists=lists)
        server = Server(options)
        networks = CloudflareNetworks(server)  # type: ignore[arg-type]
        assert networks.complete(options) == options
        async with running(networks):
            await until(lambda: server.changes == 1)
        assert server.options.trusted_proxies == (OWN, *NEWER)
        assert networks.complete(options).trusted_proxies == (OWN, *NEWER)
        assert networks.complete(GatewayOptions(trusted_proxies=(OWN,))).trusted_proxies == (OWN,)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (listing(*NEWER, status=500), "status 500"),
        (listing("<html>"), "'<html>' is not a network"),
        (listing(), "the list has only 0 of 22 known networks"),
        (listing("0.0.0.0/0"), "0.0.0.0/0 is not public, or is too large"),
        (listing("x" * 100_000), "more than 64 KiB"),
    ],
)
async def test_a_list_that_is_not_plausible_changes_nothing(
    answer: Any, why: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cloudflare, "_AGAIN", 0.0)
    caplog.set_level(logging.WARNING)
    async with target() as it:
        it.handlers["/v4"] = answer
        lists = (f"http://127.0.0.1:{it.port}/v4",)
        server = Server(GatewayOptions(trusted_proxies=CLOUDFLARE, cloudflare_lists=lists))
        async with running(CloudflareNetworks(server)):  # type: ignore[arg-type]
            await until(lambda: len(it.seen) >= 3)
    assert server.changes == 0
    (message,) = caplog.messages  # not one for each attempt
    assert why in message


@pytest.mark.parametrize("options", [GatewayOptions(trusted_proxies=(OWN,), cloudflare_lists=("http://127.0.0.1:1/",))])
async def test_without_cloudflare_among_the_proxies_nothing_is_read(options: GatewayOptions) -> None:
    async with target() as it:
        server = Server(options)
        networks = CloudflareNetworks(server)  # type: ignore[arg-type]
        it.handlers["/v4"] = listing(*NEWER)
        async with running(networks):
            await asyncio.sleep(0)
            assert it.seen == []
            lists = (f"http://127.0.0.1:{it.port}/v4",)
            server.options = GatewayOptions(trusted_proxies=CLOUDFLARE, cloudflare_lists=lists)
            networks.complete(server.options)  # a reload adds Cloudflare
            await until(lambda: server.changes == 1)
        assert server.options.trusted_proxies == NEWER
