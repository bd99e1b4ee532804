"""Keeps Cloudflare's networks up to date, if the configuration lists ``cloudflare`` among the trusted proxies."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

import aiohttp
import msgspec

from pilotage.request_service.outside import outside_session
from pilotage.xds.cloudflare import CLOUDFLARE, read_networks, with_networks

if TYPE_CHECKING:
    from pilotage.xds.options import GatewayOptions
    from pilotage.xds.server import AdsServer

__all__ = ["CloudflareNetworks"]

log = logging.getLogger(__name__)

_EVERY: Final = 86_400.0
"""Seconds between two reads. Cloudflare announces changes weeks before."""
_AGAIN: Final = 3_600.0
"""Seconds until the next attempt after a failure."""
_LARGEST: Final = 64 * 1024  # bytes of a list
_TIMEOUT: Final = aiohttp.ClientTimeout(total=15, connect=5)


class CloudflareNetworks:
    """Reads Cloudflare's lists regularly. Until the first time, the built-in networks apply.

    Args:
        ads: the xDS server, whose Envoys get the networks.

    """

    def __init__(self, ads: AdsServer) -> None:
        self._ads = ads
        self._networks: tuple[str, ...] = CLOUDFLARE
        self._changed = asyncio.Event()

    def complete(self, options: GatewayOptions) -> GatewayOptions:
        """Return the gateway's settings with the networks that were read last; wake :meth:`run`."""
        self._changed.set()
        return msgspec.structs.replace(
            options, trusted_proxies=with_networks(options.trusted_proxies, CLOUDFLARE, self._networks)
        )

    async def run(self) -> None:
        """Read the lists until cancelled. Without ``cloudflare`` among the trusted proxies, wait for it."""
        failed = False
        while True:
            options = self._ads.snapshot.options
            used = set(self._networks) <= set(options.trusted_proxies)
            self._changed.clear()
            if not (used and options.cloudflare_lists):
                await self._changed.wait()
                await asyncio.sleep(0)  # the settings are applied after complete()
                continue
            try:
                found = await self._read(options.cloudflare_lists)
            except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
                if not failed:
                    why = str(error) or type(error).__name__
                    log.warning("cannot read Cloudflare's list of networks; the previous networks stay in use: %s", why)
                failed = True
            else:
                failed = False
                self._use(found)
            await asyncio.sleep(_AGAIN if failed else _EVERY)

    def _use(self, found: tuple[str, ...]) -> None:
        if set(found) == set(self._networks):
            return
        added, gone = set(found) - set(self._networks), set(self._networks) - set(found)
        log.info("Cloudflare's networks have changed: %d are new, %d are gone", len(added), len(gone))
        options = self._ads.snapshot.options
        before, self._networks = self._networks, found
        proxies = with_networks(options.trusted_proxies, before, found)
        self._ads.configure(msgspec.structs.replace(options, trusted_proxies=proxies))

    async def _read(self, urls: tuple[str, ...]) -> tuple[str, ...]:
        texts = []
        async with outside_session(anywhere=True) as client:
            for url in urls:
                async with client.get(url, timeout=_TIMEOUT, max_redirects=3) as answer:
                    if answer.status != 200 or answer.url.scheme != url.partition(":")[0]:
                        raise ValueError(f"{url}: status {answer.status} from {answer.url.origin()}")
                    texts.append(await _body(answer, url))
        return read_networks("\n".join(texts))


async def _body(answer: aiohttp.ClientResponse, url: str) -> str:
    received = b""
    async for part in answer.content.iter_any():
        received += part
        if len(received) > _LARGEST:
            raise ValueError(f"{url}: more than {_LARGEST // 1024} KiB")
    return received.decode("ascii", "replace")
