"""Certificates from step-ca, the private ACME CA that docs/how-to/https.md shows.

    python benchmarks/step_ca.py

It builds step-ca, which takes several minutes the first time and needs Go, so this is no test. For HTTP-01
(``provider: custom``) and for TLS-ALPN-01, it runs ``pilotage serve`` with an empty folder for certificates, and
prints how long it takes until a client that trusts only step-ca's root gets an answer. DNS needs port 53, so root.
"""

from __future__ import annotations

import asyncio
import ssl
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import aiohttp
from support import row

sys.path.insert(0, str(Path(__file__).parents[1]))

from pilotage.testing import FakeEngine
from tests.support.daemon_process import Served
from tests.support.dns_server import DnsServer
from tests.support.envoy import web_server
from tests.support.ports import free_port
from tests.support.step_ca import step_ca

_HOST = "nas.home.lan"


async def _ask(https: int, context: ssl.SSLContext) -> str:
    url = f"https://127.0.0.1:{https}/"
    asking: dict[str, Any] = {"ssl": context, "server_hostname": _HOST, "headers": {"Host": _HOST}}
    async with aiohttp.ClientSession() as session, session.get(url, **asking) as answer:
        await answer.read()
        return str(answer.status)


async def _run(folder: Path, provider: str) -> tuple[float, dict[str, Any]]:
    """Return the seconds until the first trusted answer, and what the API says about the certificate."""
    http, https = free_port(), free_port()
    async with web_server() as upstream, FakeEngine() as engine:
        labels = {"proxy.aliases": _HOST, "proxy.#1.port": str(upstream)}
        engine.add("nas", networks=(), ports=(f"{upstream}:{upstream}",), labels=labels)
        with (
            DnsServer("home.lan").running() as dns,
            step_ca(folder / "ca", http, https, f"{dns.address}:53") as (directory, root),
        ):
            autocert = {"provider": provider, "ca_dir_url": directory, "ca_certs": root, "domains": "auto"}
            gateway = {"http": f"127.0.0.1:{http}", "https": f"127.0.0.1:{https}"}
            autocert["folder"] = str(folder / "certificates")
            configuration = {"providers": {"docker": {"local": engine.url}}, "gateway": gateway, "autocert": autocert}
            served = Served(folder, http, configuration)
            context = ssl.create_default_context(cafile=root)
            await served.start()
            began = time.monotonic()
            try:
                async with asyncio.timeout(60):
                    while True:
                        try:
                            assert await _ask(https, context) == "200"
                            break
                        except aiohttp.ClientConnectorError:  # with a self-signed certificate, so far
                            await asyncio.sleep(0.05)
                took = time.monotonic() - began
                (found,) = (await served.get("/v1/certificates"))["certificates"]
            except TimeoutError:
                raise SystemExit(served.log + (folder / "ca" / "log").read_text()) from None
            else:
                return took, found
            finally:
                await served.stop()


def main() -> None:
    row("provider", "names", "issuer", "lifetime", "seconds")
    row(*["---"] * 5)
    for provider in ("custom", "tls-alpn-01"):
        with tempfile.TemporaryDirectory(prefix="step-ca-") as folder:
            took, found = asyncio.run(_run(Path(folder), provider))
        hours = (found["not_after"] - found["not_before"]) / 3600
        row(provider, ", ".join(found["names"]), found["issuer"], f"{hours:.1f} h", f"{took:.1f}")


if __name__ == "__main__":
    main()
