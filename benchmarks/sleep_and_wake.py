"""What sleep and wake cost and lose, with a real engine and a real Envoy.

    python benchmarks/sleep_and_wake.py [--cycles 100] [--sleeping 10000] [SCENARIO …]

Needs what the tests with engines need: root on Debian. ``cycles`` counts the responses of containers that have been
told to stop: each would be a request that was sent to one too late.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import resource
import signal
import statistics
import tempfile
import time
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import aiohttp
from support import busy, engine, row

from tests.support.daemon_process import Served, another_envoy, in_another_network
from tests.support.engines import Engine, own_docker
from tests.support.ports import free_port
from tests.support.service import run_app, run_python

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_SERVICES: Final = 5
_RATE: Final = 50
"""Requests each second to each service, until it may fall asleep: about 50 in all, because all take turns."""
_SOCKETS: Final = 5
_HELD: Final = 3000
_AT_REST: Final = 20.0

_APP: Final = """
import asyncio, signal, sys, time
async def serve(reader, writer):
    try:
        while True:
            await reader.readuntil(b"\\r\\n\\r\\n")
            text = b"stopping" if stopping.is_set() else b"serving!"
            writer.write(b"HTTP/1.1 200 OK\\r\\nX-Began: %f\\r\\nContent-Length: 8\\r\\n\\r\\n" % began + text)
    except (OSError, asyncio.IncompleteReadError):
        pass
async def main():
    global began, stopping
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    await asyncio.sleep(float(sys.argv[1]) if sys.argv[1:] else 0)
    server = await asyncio.start_server(serve, "0.0.0.0", 80, backlog=4096)
    began = time.time()
    await stopping.wait()
    await asyncio.sleep(0.5)
asyncio.run(main())
"""


def _labels(alias: str, **more: str) -> dict[str, str]:
    return {"proxy.aliases": alias, f"proxy.{alias}.port": "80"} | {f"proxy.{key}": text for key, text in more.items()}


def _kinds(failed: list[tuple[int, str]]) -> str:
    kinds = ", ".join(f"{number} {status} {text[:40]!r}" for (status, text), number in Counter(failed).most_common(3))
    return f"{len(failed)} ({kinds})" if failed else "0"


class _Place:
    """An engine and a daemon with its Envoy."""

    def __init__(self, engine: Engine, served: Served, session: aiohttp.ClientSession, xds: str) -> None:
        self.xds = xds
        self.engine = engine
        self.served = served
        self.session = session

    async def get(self, alias: str) -> tuple[int, str]:
        url, host = f"http://127.0.0.1:{self.served.port}/", f"{alias}.example.com"
        try:
            async with self.session.get(url, headers={"Host": host}) as answer:
                return answer.status, await answer.text()
        except (aiohttp.ClientError, TimeoutError) as error:
            return 0, type(error).__name__

    async def sleep(self, name: str) -> None:
        await self.served.post(f"/v1/containers/{name}/sleep")
        await self.served.enters(name, "asleep")

    def starts(self, name: str) -> int:
        chosen = ("--filter", f"container={name}", "--filter", "event=start")
        listed = self.engine.docker("events", "--since", "1", "--until", str(int(time.time()) + 1), *chosen)
        return len(listed.splitlines())


async def _at_once(place: _Place) -> None:
    """Send thousands of requests at once to a sleeping service, and one to compare the daemon's processor time."""
    await asyncio.to_thread(run_python, place.engine, "bench-app", _labels("app", idle_timeout="1h"), "-c", _APP)
    await place.served.enters("bench-app", "ready")
    await place.get("app")
    spent: dict[int, list[float]] = {1: [], _HELD: []}
    failed: list[tuple[int, str]] = []
    started = 0
    before = busy(place.served.pid)
    await asyncio.sleep(5)
    at_rest = (busy(place.served.pid) - before) / 5
    for count in (1, _HELD) * 3:
        await place.sleep("bench-app")
        starts, before = await asyncio.to_thread(place.starts, "bench-app"), busy(place.served.pid)
        began = time.perf_counter()
        found = await asyncio.gather(*(place.get("app") for _ in range(count)))
        took = time.perf_counter() - began  # longer with more requests, because this client is slow
        spent[count].append(busy(place.served.pid) - before - took * at_rest)
        failed += [answer for answer in found if answer[0] != 200]
        started = max(started, await asyncio.to_thread(place.starts, "bench-app") - starts)
    each = (statistics.median(spent[_HELD]) - statistics.median(spent[1])) / _HELD * 1e6
    row(f"{_HELD:,} requests at once, three times: failed", _kinds(failed), "0")
    row("starts of the container for each", started, "1")
    row("processor time of pilotage for each held request", f"{each:.1f} µs", "5 µs")


_STARTS: Final = (
    ("accepts connections at once", 0.0, 30, False),
    ("accepts connections after 5 s", 5.0, 10, False),
    ("has a health check", 0.0, 10, True),
)
"""A container, the seconds until it listens, how often it wakes, and whether the engine checks its health."""


def _moment(text: str) -> float:
    """Return a time of the engine in seconds since the epoch."""
    return datetime.fromisoformat(text).timestamp()


async def _first_answer(place: _Place) -> None:
    """Compare when a container begins to listen, or is healthy, with when the held request is answered."""
    for number, (what, delay, times, is_checked) in enumerate(_STARTS):
        name = f"bench-first-{number}"
        health = ("--health-cmd", "true", "--health-interval", "1s") if is_checked else ()
        command, labels = ("-c", _APP, str(delay)), _labels(f"first-{number}", idle_timeout="1h")
        await asyncio.to_thread(run_python, place.engine, name, labels, *command, options=health)
        await place.served.enters(name, "ready")
        late = []
        for _ in range(times):
            await place.sleep(name)
            headers = {"Host": f"first-{number}.example.com"}
            async with place.session.get(f"http://127.0.0.1:{place.served.port}/", headers=headers) as answer:
                answered, ready = time.time(), float(answer.headers["X-Began"])
            if is_checked:
                state = (await asyncio.to_thread(place.engine.inspect, name))["State"]
                started = _moment(state["StartedAt"])  # the log also has the checks before that
                ready = next(at for it in state["Health"]["Log"] if (at := _moment(it["End"])) > started)
            late.append(answered - ready)
        p50, longest = statistics.median(late) * 1e3, max(late) * 1e3
        row(f"from ready to the answer, {what}: p50 / longest", f"{p50:.1f} / {longest:.0f} ms", "20 ms")


async def _cycles(place: _Place, cycles: int) -> None:
    """Let services fall asleep and wake while clients go on, at a random moment of falling asleep."""
    names = [f"bench-{number}" for number in range(_SERVICES)]
    for name in names:
        labels = _labels(name, idle_timeout="1s")
        await asyncio.to_thread(run_python, place.engine, name, labels, "-c", _APP)
    found: list[tuple[int, str]] = []
    woken = 0

    async def one(name: str) -> None:
        nonlocal woken
        done = 0
        while done < cycles // _SERVICES:
            sent: list[asyncio.Task[tuple[int, str]]] = []
            for _ in range(random.randrange(25, 75)):
                sent.append(asyncio.create_task(place.get(name)))
                await asyncio.sleep(random.expovariate(_RATE))  # open loop: not after the answer
            found.extend(await asyncio.gather(*sent))
            await place.served.enters(name, *random.choice((("quiescing",), ("stopping",), ("asleep",))), "asleep")
            await asyncio.sleep(random.uniform(0, 0.3))
            done += await place.served.phase(name) != "ready"
        woken += done

    began = time.perf_counter()
    await asyncio.gather(*(one(name) for name in names))
    took = time.perf_counter() - began
    failed = [answer for answer in found if answer[0] != 200]
    late = sum(text == "stopping" for _, text in found)
    row(f"{woken} cycles, {len(found):,} requests in {took:.0f} s: failed", _kinds(failed), "0")
    row("requests that reached a container that was being stopped", late, "0")


async def _sockets(place: _Place) -> None:
    """Keep WebSockets open for many idle timeouts."""
    await asyncio.to_thread(run_app, place.engine, "bench-chat", _labels("chat", idle_timeout="1s"))
    await place.served.enters("bench-chat", "ready", "asleep")
    await place.get("chat")
    url = f"ws://127.0.0.1:{place.served.port}/chat"
    chats = [await place.session.ws_connect(url, headers={"Host": "chat.example.com"}) for _ in range(_SOCKETS)]
    await asyncio.sleep(10)
    cut = 0
    for chat in chats:
        try:
            await chat.send_str("still there?")
            cut += await chat.receive_str(timeout=5) != "still there?"
        except (aiohttp.ClientError, TimeoutError, TypeError):
            cut += 1
        await chat.close()
    await place.served.enters("bench-chat", "asleep")
    row(f"{_SOCKETS} WebSockets, silent for 10 idle timeouts: cut", cut, "0")


async def _frozen(place: _Place) -> None:
    """Wake a service for the requests of one Envoy while another one, whose request waits as well, is frozen."""
    await asyncio.to_thread(run_python, place.engine, "bench-two", _labels("two", idle_timeout="1h"), "-c", _APP)
    await place.served.enters("bench-two", "ready")
    folder = place.served.folder
    async with another_envoy(folder, place.xds, *in_another_network(), workers=1) as envoy:
        await place.served.accepted("two", "edge")
        port = place.served.port
        inside = ("nsenter", f"--net=/proc/{envoy.pid}/ns/net", "curl", "-s", "-m", "60", "-H", "Host: two.example.com")
        for what in ("running", "frozen"):
            while True:
                try:
                    await place.sleep("bench-two")
                    break
                except AssertionError:  # the other Envoy has not reported yet
                    await asyncio.sleep(0.2)
            other = await asyncio.create_subprocess_exec(
                *inside, f"http://127.0.0.1:{port}/", stdout=asyncio.subprocess.DEVNULL
            )
            await place.served.enters("bench-two", "waking")
            if what == "frozen":
                envoy.send_signal(signal.SIGSTOP)
            began = time.perf_counter()
            found = await asyncio.gather(*(place.get("two") for _ in range(100)))
            took = time.perf_counter() - began
            failed = _kinds([answer for answer in found if answer[0] != 200])
            row(
                f"100 requests while another Envoy is {what}: failed / seconds until all are answered",
                f"{failed} / {took:.1f} s",
                "0",
            )
            envoy.send_signal(signal.SIGCONT)
            await other.wait()


async def _at_rest(sleeping: int) -> None:
    """Measure the processor time of the daemon and its Envoy with many sleeping containers and no requests."""
    with engine(sleeping, 9, sleeping=True) as url, tempfile.TemporaryDirectory() as folder:
        gateway = {"http": f"127.0.0.1:{free_port()}", "workers": 1}
        providers = {"docker": {"local": {"url": url, "idle": True}}}
        served = Served(Path(folder), 0, {"providers": providers, "gateway": gateway})
        await served.start()
        try:
            await asyncio.sleep(30)
            pids = {"pilotage": served.pid, "Envoy": served.envoys()[0]}
            before = {name: busy(pid) for name, pid in pids.items()}
            await asyncio.sleep(_AT_REST)
            for name, pid in pids.items():
                share = (busy(pid) - before[name]) / _AT_REST
                row(f"{sleeping:,} sleeping containers at rest, processor time of {name}", f"{share:.2%}", "1 %")
        finally:
            await served.stop()


_SCENARIOS: Final[dict[str, Callable[..., Awaitable[None]]]] = {
    "at-once": _at_once,
    "first-answer": _first_answer,
    "cycles": _cycles,
    "sockets": _sockets,
    "frozen": _frozen,
}


async def _run(chosen: list[str], options: Any) -> None:
    row("what", "measured", "goal")
    row("---", "---", "---")
    if "at-rest" in chosen:
        await _at_rest(options.sleeping)
    if scenarios := [name for name in _SCENARIOS if name in chosen]:
        docker = await asyncio.to_thread(own_docker)
        with tempfile.TemporaryDirectory() as folder:
            port = free_port()
            gateway = {"http": f"127.0.0.1:{port}", "max_connections_per_client": 0, "workers": 1}
            gateway |= {"max_waiting_requests": _HELD, "xds": {"listen": (xds := f"unix://{folder}/xds/ads.sock")}}
            served = Served(Path(folder), port, {"providers": {"docker": {"local": docker.host}}, "gateway": gateway})
            connector, patience = aiohttp.TCPConnector(limit=0), aiohttp.ClientTimeout(60)
            try:
                await served.start()
                async with aiohttp.ClientSession(connector=connector, timeout=patience) as session:
                    for name in scenarios:
                        more = (options.cycles,) if name == "cycles" else ()
                        await _SCENARIOS[name](_Place(docker, served, session, xds), *more)
            finally:
                await served.stop()
                await asyncio.to_thread(docker.close)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    names = ["at-rest", *_SCENARIOS]
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", choices=[[], *names])
    parser.add_argument("--cycles", type=int, default=100)
    parser.add_argument("--sleeping", type=int, default=10_000)
    options = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    asyncio.run(_run(options.scenarios or names, options))


if __name__ == "__main__":
    main()
