"""Requests that are lost while certificates change.

    python benchmarks/certificates.py [--requests 100000] [--rate 1400] [--names 30]

It starts a fake engine, ``pilotage serve``, its Envoy and Pebble, and waits until each name has a certificate. Then all
of them are renewed, one after the other, while ``h2load`` (Debian: ``nghttp2-client``) sends requests over reused
connections, with HTTP/1.1 and HTTP/2, and over a new connection for each request. Another client opens connections all
the time and verifies each certificate.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Final

import aiohttp
import msgspec
from support import row

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.support.certified import Certified, certified

_CLIENTS: Final = 20
_DONE: Final = re.compile(r"requests: (\d+) total, \d+ started, (\d+) done, (\d+) succeeded")
_STATUSES: Final = re.compile(r"status codes: (\d+) 2xx")


class _Load(msgspec.Struct, frozen=True):
    """One kind of connections: its name, its part of all requests, and options of h2load."""

    name: str
    part: float
    options: tuple[str, ...]
    fresh: bool = False


_LOADS: Final = (
    _Load("HTTP/1.1, reused connections", 0.42, ("--h1",)),
    _Load("HTTP/2, reused connections", 0.42, ("-m", "10")),
    _Load("HTTP/1.1, a connection for each request", 0.08, ("--h1",), fresh=True),
    _Load("HTTP/2, a connection for each request", 0.08, (), fresh=True),
)


async def _send(load: _Load, it: Certified, host: str, requests: int, rate: int) -> tuple[int, int, str]:
    """Send requests; return how many, how many had a good response, and what h2load printed."""
    count, each = int(requests * load.part), max(1, int(rate * load.part))
    if load.fresh:
        pace = ["-n", str(count), "-c", str(count), "-r", str(each)]
    else:
        count -= count % _CLIENTS
        pace = ["-n", str(count), "-c", str(_CLIENTS), f"--rps={max(1, each // _CLIENTS)}"]
    process = await asyncio.create_subprocess_exec(
        *("h2load", *load.options, *pace, f"--connect-to=127.0.0.1:{it.https}", f"https://{host}:{it.https}/"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output = (await process.communicate())[0].decode(errors="replace")
    statuses = _STATUSES.search(output)
    if _DONE.search(output) is None or statuses is None:
        raise SystemExit(f"h2load failed:\n{output}")
    return count, int(statuses[1]), output


async def _verify(it: Certified, hosts: list[str], ended: asyncio.Event) -> Counter[str]:
    found: Counter[str] = Counter()
    while not ended.is_set():
        for host in hosts:
            try:
                found[str(await it.ask(host))] += 1
            except (aiohttp.ClientError, TimeoutError) as error:
                found[type(error).__name__] += 1
    return found


async def _renew(it: Certified, hosts: list[str]) -> int:
    """Renew all certificates; return how many changed."""
    for host in hosts:
        await it.served.post(f"/v1/certificates/{host}/renew")
    while (found := await _renewed(it)) < len(hosts):
        await asyncio.sleep(0.1)
    return found


async def _renewed(it: Certified) -> int:
    events = (await it.served.get("/v1/certificates"))["events"]
    if failed := [event for event in events if event["kind"] == "failed"]:
        raise SystemExit(f"a renewal failed: {failed[0]}")
    return sum(event["kind"] == "renewed" for event in events)


async def _run(folder: Path, requests: int, rate: int, names: int) -> None:
    async with certified(folder, gateway={"workers": 2}) as it:
        hosts = [f"shop.example{number}.com" for number in range(names)]
        for host in hosts:
            it.add(host)
        await it.served.start()
        for host in hosts:
            await it.reaches("valid", host)
        serials = {host: await it.serial(host) for host in hosts}
        ended, began = asyncio.Event(), time.monotonic()
        verifying = asyncio.create_task(_verify(it, hosts, ended))
        renewing = asyncio.create_task(_renew(it, hosts))
        sending = asyncio.gather(
            *(_send(load, it, hosts[number % names], requests, rate) for number, load in enumerate(_LOADS))
        )
        results = await sending
        took = time.monotonic() - began
        meanwhile = await _renewed(it)
        changes = await renewing
        ended.set()
        verified = await verifying
        assert all([await it.serial(host) != serials[host] for host in hosts])
    checked = verified.total()
    row("connections", "requests", "answered 2xx", "lost")
    row(*["---"] * 4)
    for load, (count, good, output) in zip(_LOADS, results, strict=True):
        row(load.name, f"{count:,}", f"{good:,}", count - good)
        if count != good:
            print(output)
    row(
        "verified by a client that trusts only the CA",
        f"{checked:,}",
        f"{verified['200']:,}",
        checked - verified["200"],
    )
    total, good = sum(it[0] for it in results) + checked, sum(it[1] for it in results) + verified["200"]
    row("all", f"{total:,}", f"{good:,}", total - good)
    print(f"{meanwhile} certificates changed within {took:.0f} s of load, {changes} in all. Verified: {dict(verified)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--requests", type=int, default=100_000, help="how many")
    parser.add_argument("--rate", type=int, default=1400, help="requests each second")
    parser.add_argument("--names", type=int, default=30, help="names with a certificate each")
    asked = parser.parse_args()
    if shutil.which("h2load") is None:
        raise SystemExit("This needs h2load: apt-get install nghttp2-client")
    with tempfile.TemporaryDirectory(prefix="certificates-") as folder:
        asyncio.run(_run(Path(folder), asked.requests, asked.rate, asked.names))


if __name__ == "__main__":
    main()
