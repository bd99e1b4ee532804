"""Instructions that Envoy executes for one request: pilotage's plain and Compose routes beside a bare Envoy.

    python benchmarks/request_cost.py [--requests 400] [--parts]

Processor time varies by more than what is measured here, so each Envoy runs under callgrind, which counts the
instructions of its worker thread. A request is a GET without a body over a connection that stays open; four
connections take turns. Two runs differ by less than half a percent. With ``--parts``, it also measures what each part
of the configuration costs, by leaving out one at a time.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import re
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from envoy.config.listener.v3 import listener_pb2
from envoy.config.route.v3 import scoped_route_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2
from support import Asker, answers, free_port, host_of, route, routes, row, running, targets

from pilotage.gateway.binary import find_envoy
from pilotage.table.table import Table
from pilotage.xds.bootstrap import build_bootstrap
from pilotage.xds.options import GatewayOptions
from pilotage.xds.resources import LISTENER, SCOPE, packed, resource
from pilotage.xds.server import AdsServer
from tests.support.envoy import static_bootstrap

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

_AIM: Final = 1.04
_CONNECTIONS: Final = 4
_WARM: Final = 100
_ROUTES: Final = 10
_ASKED: Final = 7
"""The number of the route that is asked."""
_START: Final = 120.0
"""Seconds that an Envoy may take to start under callgrind."""


async def _control(pid: int, *options: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *("callgrind_control", *options, str(pid)), stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    _, said = await process.communicate()
    if process.returncode:
        raise SystemExit(f"callgrind_control {' '.join(options)} failed: {said.decode(errors='replace').strip()}")


def _counted(bootstrap: dict[str, Any], folder: Path) -> AbstractAsyncContextManager[int]:
    """Run an Envoy with one worker under callgrind, which counts nothing yet; yield its process ID."""
    (folder / "envoy.json").write_text(json.dumps(bootstrap))
    valgrind = ("valgrind", "--tool=callgrind", "--instr-atstart=no", "--separate-threads=yes")
    envoy = (str(find_envoy()), "-c", f"{folder}/envoy.json", "--concurrency", "1", "--disable-hot-restart")
    return running(folder, *valgrind, f"--callgrind-out-file={folder}/out", *envoy, "-l", "error")


async def _count(pid: int, port: int, folder: Path, requests: int) -> float:
    """Return the instructions of Envoy's worker for each of some requests."""
    async with contextlib.AsyncExitStack() as stack:
        askers = [await stack.enter_async_context(Asker(port)) for _ in range(_CONNECTIONS)]

        async def ask(count: int) -> None:
            for number in range(count):
                if (status := await askers[number % _CONNECTIONS].status(host_of(_ASKED))) != 200:
                    raise SystemExit(f"a request was answered with status {status}")

        await ask(_WARM)
        await _control(pid, "--instr=on")
        await ask(_WARM)
        await _control(pid, "--zero")
        await ask(requests)
        await _control(pid, "--dump")
    dumps = await asyncio.to_thread(lambda: list(folder.glob("out.*")))
    return max(map(_instructions, dumps)) / requests  # the main thread has nothing to do with requests


def _instructions(dump: Path) -> int:
    found = re.search(r"^(?:totals|summary): (\d+)", dump.read_text(), re.MULTILINE)
    return int(found[1]) if found is not None else 0


async def _bare(folder: Path, upstream: int, requests: int) -> float:
    port = free_port()
    bootstrap = static_bootstrap(port, upstream)
    (endpoint,) = bootstrap["static_resources"]["clusters"][0]["load_assignment"]["endpoints"][0]["lb_endpoints"]
    endpoint["endpoint"]["address"]["socket_address"]["address"] = route(_ASKED, upstream).host
    async with _counted(bootstrap, folder) as pid:
        await answers(port, host_of(_ASKED), folder, _START)
        return await _count(pid, port, folder, requests)


_NEEDED: Final = {"pilotage.host", "pilotage.target", "envoy.filters.http.cdn_loop", "envoy.filters.http.router"}
_PARTS: Final[dict[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {
    "the check of the host": ((), ("pilotage.host",)),
    "detecting loops (`CDN-Loop`)": ((), ("envoy.filters.http.cdn_loop",)),
    "removing headers that only a proxy may set": (("early_header_mutation_extensions",), ()),
    "`X-Forwarded-For` and related headers (`use_remote_address`)": (("use_remote_address",), ()),
    "normalizing the path": (("normalize_path",), ()),
    "access logs": (("access_log",), ()),
    "filters that are off": ((), ("",)),
    "retries": (("retry_policy",), ()),
}
"""Parts of the configuration: fields of the listener or of routes, and filters; ``""`` for all that are off."""


def _leave_out(ads: AdsServer, fields: tuple[str, ...], filters: tuple[str, ...]) -> None:
    """Remove a part of the configuration before Envoy gets it."""
    resources = ads.snapshot.resources
    for key, item in list(resources.items()):
        message: Any
        if item.type_url == LISTENER:
            message = listener_pb2.Listener.FromString(item.body)
            manager = http_connection_manager_pb2.HttpConnectionManager()
            last = message.filter_chains[0].filters[-1]
            last.typed_config.Unpack(manager)
            for field in set(fields) & set(manager.DESCRIPTOR.fields_by_name):
                manager.ClearField(field)
            kept = [it for it in manager.http_filters if not _is_left_out(it.name, filters)]
            del manager.http_filters[:]
            manager.http_filters.extend(kept)
            last.typed_config.CopyFrom(packed(manager))
        elif item.type_url == SCOPE:
            message = scoped_route_pb2.ScopedRouteConfiguration.FromString(item.body)
            settings = message.route_configuration.typed_per_filter_config
            for name in [it for it in settings if _is_left_out(it, filters)]:
                del settings[name]
            for host in message.route_configuration.virtual_hosts:
                for holder in (host, *(it.route for it in host.routes)):
                    for field in set(fields) & set(holder.DESCRIPTOR.fields_by_name):
                        holder.ClearField(field)
        else:
            continue
        resources[key] = resource(item.type_url, item.name, message, clusters=item.clusters)


def _is_left_out(name: str, filters: tuple[str, ...]) -> bool:
    return name in filters or ("" in filters and name not in _NEEDED)


async def _pilotage(
    folder: Path,
    upstream: int,
    requests: int,
    *,
    service: bool,
    without: tuple[tuple[str, ...], tuple[str, ...]] = ((), ()),
) -> float:
    port = free_port()
    ads = AdsServer(GatewayOptions(http_address="127.0.0.1", http_port=port))
    address = f"unix:{folder}/xds.sock"
    await ads.start(address)
    try:
        ads.publish(Table(routes(_ROUTES, upstream, service=service), version=1))
        if any(without):
            _leave_out(ads, *without)
        async with _counted(build_bootstrap(address, "bench"), folder) as pid:
            await answers(port, host_of(_ASKED), folder, _START)
            await ads.wait_for_acks()
            return await _count(pid, port, folder, requests)
    finally:
        await ads.close()


async def _parts(requests: int) -> None:
    row("part", "instructions on a route of a Compose service")
    row("---", "---")
    with targets() as port, tempfile.TemporaryDirectory(prefix="bench-") as temporary:
        whole = 0.0
        for number, (part, without) in enumerate({"": ((), ()), **_PARTS}.items()):
            folder = Path(temporary) / str(number)
            folder.mkdir(mode=0o700)
            found = await _pilotage(folder, port, requests, service=True, without=without)
            whole = whole or found
            if part:
                row(part, f"{whole - found:,.0f}")


async def _run(requests: int) -> None:
    kinds: dict[str, Callable[[Path, int], Any]] = {
        "Envoy with a minimal static configuration": lambda folder, port: _bare(folder, port, requests),
        "pilotage, plain route": lambda folder, port: _pilotage(folder, port, requests, service=False),
        "pilotage, route of a Compose service": lambda folder, port: _pilotage(folder, port, requests, service=True),
    }
    row("one request", "instructions", "against the bare Envoy", "aim")
    row(*["---"] * 4)
    bare = 0.0
    with targets() as port, tempfile.TemporaryDirectory(prefix="bench-") as temporary:
        for number, (kind, measure) in enumerate(kinds.items()):
            folder = Path(temporary) / str(number)
            folder.mkdir(mode=0o700)
            found = await measure(folder, port)
            bare = bare or found
            row(kind, f"{found:,.0f}", f"{found / bare:.3f} times", f"{_AIM}" if number else "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--requests", type=int, default=400, help="number of counted requests")
    parser.add_argument("--parts", action="store_true", help="measure each part of the configuration, too")
    asked = parser.parse_args()
    if not (shutil.which("valgrind") and shutil.which("callgrind_control")):
        raise SystemExit("This needs valgrind, which counts the instructions: apt-get install valgrind")
    asyncio.run(_run(asked.requests))
    if asked.parts:
        asyncio.run(_parts(asked.requests))


if __name__ == "__main__":
    main()
