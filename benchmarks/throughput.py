"""Requests per second that one core proxies: pilotage's Envoy beside a bare Envoy, nginx, HAProxy and Caddy.

    python benchmarks/throughput.py [--quick]

Every proxy runs one worker on the first core; the load (``wrk``, 64 connections) and the web server behind it (nginx
with a 12-byte response) share the second. They take turns of a few seconds, so noise affects all of them alike.
Processor time per request is the best figure to compare, because noise hardly changes it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
from support import ANSWER, answers, busy, free_port, host_of, led, memory, quantile, routes, row, running

from pilotage.gateway.binary import find_envoy
from tests.support.envoy import static_bootstrap

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_CONNECTIONS: Final = 64
_MANY: Final = 10_000
_BARE: Final = "Envoy, static, bare"
_ASKED: Final = 7
"""The number of the host that is asked for."""

_PROXY_CORE, _LOAD_CORE = 0, 1


class Turn(msgspec.Struct, frozen=True):
    """Result of one turn.

    Attributes:
        rate: requests per second.
        p99: 99th percentile of the response times, in seconds.
        spent: the proxy's processor time per request, in seconds.

    """

    rate: float
    p99: float
    spent: float


class Proxy(msgspec.Struct, frozen=True):
    """A running proxy.

    Attributes:
        name: name of the program.
        pid: ID of its only process.
        port: its HTTP port.
        turns: results so far.

    """

    name: str
    pid: int
    port: int
    turns: list[Turn]


# ---- what runs -------------------------------------------------------------------------------------------------------


def _nginx(folder: Path, port: int, location: str, more: str = "") -> list[str]:
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = " ".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
    (folder / "nginx.conf").write_text(
        f"daemon off; master_process off; pid {folder}/pid; error_log stderr error;\n"
        "events { worker_connections 4096; }\n"
        f"http {{ access_log off; keepalive_requests 1000000000; {temporary}\n{more}\n"
        f"server {{ listen 127.0.0.1:{port} backlog=4096; location / {{ {location} }} }} }}\n"
    )
    return ["nginx", "-e", f"{folder}/log", "-c", f"{folder}/nginx.conf"]


def _peer_nginx(folder: Path, port: int, upstream: int) -> list[str]:
    more = f"upstream web {{ server 127.0.0.1:{upstream}; keepalive 128; keepalive_requests 1000000000; }}"
    return _nginx(folder, port, 'proxy_pass http://web; proxy_http_version 1.1; proxy_set_header Connection "";', more)


def _peer_haproxy(folder: Path, port: int, upstream: int) -> list[str]:
    (folder / "haproxy.cfg").write_text(
        "global\n  nbthread 1\n  maxconn 4096\n"
        "defaults\n  mode http\n  timeout connect 2s\n  timeout client 30s\n  timeout server 30s\n"
        f"frontend all\n  bind 127.0.0.1:{port}\n  default_backend web\n"
        f"backend web\n  http-reuse always\n  server web 127.0.0.1:{upstream}\n"
    )
    return ["haproxy", "-db", "-f", f"{folder}/haproxy.cfg"]


def _peer_caddy(folder: Path, port: int, upstream: int) -> list[str]:
    proxy = {"handler": "reverse_proxy", "upstreams": [{"dial": f"127.0.0.1:{upstream}"}]}
    server = {
        "listen": [f"127.0.0.1:{port}"],
        "automatic_https": {"disable": True},
        "routes": [{"handle": [proxy]}],
    }
    configuration = {"admin": {"disabled": True}, "apps": {"http": {"servers": {"all": server}}}}
    (folder / "caddy.json").write_text(json.dumps(configuration))
    return ["caddy", "run", "--config", f"{folder}/caddy.json"]


def _bare_envoy(folder: Path, port: int, upstream: int) -> list[str]:
    (folder / "envoy.json").write_text(json.dumps(static_bootstrap(port, upstream)))
    return [str(find_envoy()), "-c", f"{folder}/envoy.json", "--disable-hot-restart", "--concurrency", "1"]


_PEERS: Final[dict[str, Any]] = {"nginx": _peer_nginx, "HAProxy": _peer_haproxy, "Caddy": _peer_caddy}


@contextlib.asynccontextmanager
async def _upstream(folder: Path) -> AsyncIterator[int]:
    """Run the web server behind the proxies: nginx, or the slower Envoy if nginx is not installed."""
    port = free_port()
    if shutil.which("nginx"):
        command = _nginx(folder, port, f'return 200 "{ANSWER.decode().strip()}\\n";')
    else:
        print("nginx is not installed: an Envoy is the web server instead, which limits the faster proxies.")
        configuration = static_bootstrap(port, port)
        listener = configuration["static_resources"]["listeners"][0]
        manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
        answer = {"status": 200, "body": {"inline_string": ANSWER.decode()}}
        routes = [{"match": {"prefix": "/"}, "direct_response": answer}]
        manager["route_config"]["virtual_hosts"][0]["routes"] = routes
        (folder / "envoy.json").write_text(json.dumps(configuration))
        command = [str(find_envoy()), "-c", f"{folder}/envoy.json", "--disable-hot-restart", "--concurrency", "1"]
    async with running(folder, *command, core=_LOAD_CORE):
        await answers(port, host_of(_ASKED), folder)
        yield port


def _pin(pid: int, core: int) -> None:
    for task in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(task.name), {core})


# ---- what is measured ------------------------------------------------------------------------------------------------


async def _load(proxy: Proxy, seconds: int) -> Turn:
    spent = busy(proxy.pid)
    process = await asyncio.create_subprocess_exec(
        *("taskset", "-c", str(_LOAD_CORE), "wrk", "-t1", f"-c{_CONNECTIONS}", f"-d{seconds}s", "--latency"),
        *("-H", f"Host: {host_of(_ASKED)}", f"http://127.0.0.1:{proxy.port}/"),
        stdout=asyncio.subprocess.PIPE,
    )
    printed, _ = await process.communicate()
    spent = busy(proxy.pid) - spent
    return _read(printed.decode(), spent)


def _read(printed: str, spent: float) -> Turn:
    """Parse the output of wrk; ``spent`` is the proxy's processor time during the turn, in seconds."""
    if "Non-2xx" in printed or "Socket errors" in printed:
        raise SystemExit(f"requests failed, so nothing can be said:\n{printed}")
    rate = re.search(r"Requests/sec:\s+([\d.]+)", printed)
    longest = re.search(r"99%\s+([\d.]+)(us|ms|s)\b", printed)
    count = re.search(r"(\d+) requests in", printed)
    if rate is None or longest is None or count is None:
        raise SystemExit(f"wrk said something else than expected:\n{printed}")
    unit = {"us": 1e-6, "ms": 1e-3, "s": 1.0}[longest[2]]
    return Turn(float(rate[1]), float(longest[1]) * unit, spent / int(count[1]))


@contextlib.asynccontextmanager
async def _proxies(folder: Path, upstream: int, many: int) -> AsyncIterator[list[Proxy]]:
    async with contextlib.AsyncExitStack() as stack:
        found = []
        for name, prepare in {**_PEERS, _BARE: _bare_envoy}.items():
            if name in _PEERS and not shutil.which(name.lower()):
                print(f"{name} is not installed and left out (install it with: apt-get install {name.lower()}).")
                continue
            place = _folder(folder, name)
            port = free_port()
            command = prepare(place, port, upstream)
            pid = await stack.enter_async_context(running(place, *command, core=_PROXY_CORE))
            await answers(port, host_of(_ASKED), place)
            found.append(Proxy(name, pid, port, []))
        for count, service, kind in ((10, False, "plain"), (many, False, "plain"), (many, True, "of Compose services")):
            name = f"pilotage, {count:,} routes, {kind}"
            place = _folder(folder, name)
            envoy = await stack.enter_async_context(led(place))
            table = {
                alias: _towards(each, upstream) for alias, each in routes(count, upstream, service=service).items()
            }
            envoy.publish_all(table)
            await envoy.wait_for_acks()
            await answers(envoy.port, host_of(_ASKED), place)
            pid = envoy.gateway.status.pid
            _pin(pid, _PROXY_CORE)
            found.append(Proxy(name, pid, envoy.port, []))
        yield found


def _folder(folder: Path, name: str) -> Path:
    found = folder / re.sub(r"\W+", "-", name)
    found.mkdir(mode=0o700)  # the socket of a control plane needs a private folder
    return found


def _towards(route: Any, upstream: int) -> Any:
    """Point a route to the web server's only address."""
    endpoint = msgspec.structs.replace(route.endpoints[0], host="127.0.0.1", port=upstream)
    return msgspec.structs.replace(route, host="127.0.0.1", endpoints=(endpoint,))


def _print(proxies: list[Proxy]) -> None:
    bare = next(proxy for proxy in proxies if proxy.name == _BARE)
    row("proxy", "requests/s", "p99", "us of a core each", "against the bare Envoy", "memory")
    row(*["---"] * 6)
    for proxy in proxies:
        rate = quantile((turn.rate for turn in proxy.turns), 0.5)
        p99 = quantile((turn.p99 for turn in proxy.turns), 0.5)
        spent = quantile((turn.spent for turn in proxy.turns), 0.5)
        more = quantile((a.spent / b.spent for a, b in zip(proxy.turns, bare.turns, strict=True)), 0.5)
        aim = " (aim: 1.05)" if proxy.name.startswith("pilotage") else ""
        against = f"{more:.2f} times{aim}"
        row(
            proxy.name,
            f"{rate:,.0f}",
            f"{p99 * 1e3:.1f} ms",
            f"{spent * 1e6:.1f}",
            against,
            f"{memory(proxy.pid):.0f} MiB",
        )


async def _run(turns: int, seconds: int, many: int) -> None:
    os.sched_setaffinity(0, {_LOAD_CORE})
    with tempfile.TemporaryDirectory(prefix="bench-") as temporary:
        folder = Path(temporary)
        async with _upstream(_folder(folder, "upstream")) as upstream, _proxies(folder, upstream, many) as proxies:
            for turn in range(turns + 1):
                for proxy in proxies:
                    result = await _load(proxy, seconds)
                    if turn:  # the first one warms up
                        proxy.turns.append(result)
            print(f"{_CONNECTIONS} connections, {turns} turns of {seconds} s each, medians")
            _print(proxies)


def _check() -> None:
    if not shutil.which("wrk"):
        raise SystemExit("This needs wrk, which makes the load: apt-get install wrk")
    if not {_PROXY_CORE, _LOAD_CORE} <= os.sched_getaffinity(0):
        raise SystemExit("This needs two cores: the proxies have one, the load the other.")
    versions = []
    for command in (("nginx", "-v"), ("haproxy", "-v"), ("caddy", "version"), (str(find_envoy()), "--version")):
        if shutil.which(command[0]):
            said = subprocess.run(command, capture_output=True, text=True, check=False)
            number = re.search(r"\b\d+\.\d+\.\d+", said.stdout + said.stderr)
            versions.append(f"{Path(command[0]).name} {number[0] if number else '?'}")
    print(", ".join(versions))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="few short turns, and fewer routes")
    asked = parser.parse_args()
    _check()
    asyncio.run(_run(*((2, 1, 1_000) if asked.quick else (10, 3, _MANY))))


if __name__ == "__main__":
    main()
