"""Over loopback nobody learns a secret or changes anything, and nobody keeps others from the API."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import resource
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from pilotage.api.connections import LIMIT
from pilotage.testing import FakeEngine
from tests.support.daemon_process import Served
from tests.support.envoy import web_server
from tests.support.ports import free_port
from tests.support.rights import public_folder
from tests.support.strangers import reaches
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = [pytest.mark.process, pytest.mark.slow]

TOKEN = "0123456789abcdef-token"
FOREIGN: list[dict[str, Any]] = [{"Origin": "http://shop.localhost:8080"}, {"Sec_Fetch_Site": "same-site"}]
GET = b"GET /v1/engines HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


class Place:
    def __init__(self, served: Served, port: int) -> None:
        self.served = served
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.socket = str(served.folder / "api.sock")

    async def status(self, method: str, path: str = "/v1/routes", *, unix: bool = False, **headers: str) -> int:
        connector = aiohttp.UnixConnector(self.socket) if unix else aiohttp.TCPConnector()
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        async with aiohttp.ClientSession(connector=connector) as session:
            async with session.request(method, self.url + path, headers=sent) as answer:
                await answer.read()
                assert answer.headers["Server"] == "pilotage"
                # Another site can neither show nor count what is here, such as icons.
                assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
                assert answer.headers["X-Content-Type-Options"] == "nosniff"
                return answer.status

    async def raw(self, data: bytes = GET, *, unix: bool = False) -> bytes:
        async with asyncio.timeout(30):
            reader, writer = await self._open(unix=unix)
            writer.write(data)
            try:
                return await reader.read()
            finally:
                writer.transport.abort()

    async def _open(self, *, unix: bool) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if unix:
            # The event loop takes a full backlog for a connection; a blocking socket waits for it.
            sock = socket.socket(socket.AF_UNIX)
            sock.setblocking(True)
            sock.connect(self.socket)
            return await asyncio.open_unix_connection(sock=sock)
        return await asyncio.open_connection("127.0.0.1", self.port)

    @contextlib.asynccontextmanager
    async def idle(
        self, number: int, *, unix: bool = False, sent: bytes = b""
    ) -> AsyncIterator[list[asyncio.StreamReader]]:
        """Hold connections on which no more is sent than this."""
        opened = []
        try:
            for _ in range(number):
                opened.append(await self._open(unix=unix))
                opened[-1][1].write(sent)
            yield [reader for reader, _ in opened]
        finally:
            for _, writer in opened:
                writer.transport.abort()
            await asyncio.sleep(0)  # the event loop closes aborted connections in its next turn


@contextlib.asynccontextmanager
async def serving(folder: Path, token: str = "", files: int = 0) -> AsyncIterator[Place]:
    port = free_port()
    async with web_server() as target, FakeEngine() as engine:
        engine.add("shop", networks=(), ports=(f"{target}:{target}",), labels={"proxy.shop.port": str(target)})
        settings: dict[str, object] = {
            "providers": {"docker": {"local": engine.url}},
            "gateway": {"http": f"127.0.0.1:{free_port()}"},
        }
        if token:
            (folder / "token").write_text(token)
            settings["api"] = {"token_file": "token"}
        served = Served(folder, port, settings, "--api", f"127.0.0.1:{port}", files=files)
        await served.start()
        try:
            yield Place(served, port)
        finally:
            await served.stop()


async def test_who_may_read_and_write(tmp_path: Path) -> None:
    async with serving(tmp_path, TOKEN) as place:
        bearer: dict[str, Any] = {"Authorization": f"Bearer {TOKEN}"}
        assert await place.status("GET") == 200
        for host in ("shop.localhost:8080", "evil.example.com", f"x.localhost:{place.port}"):
            assert await place.status("GET", Host=host) == 403
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            assert await place.status(method) == 403
            assert await place.status(method, "/healthz") == 403
            assert await place.status(method, **bearer) == 405  # let in, but nothing can be changed yet
            assert await place.status(method, unix=True) == 405
            for foreign in FOREIGN:
                assert await place.status(method, **bearer, **foreign) == 403
                assert await place.status(method, unix=True, **foreign) == 403
        assert await place.status("GET", "/v1/snapshot") == 403
        assert await place.status("GET", "/v1/snapshot", **bearer) == 403
        assert await place.status("GET", "/metrics") == 200
        assert await place.status("GET", "/nowhere") == 404
        answer = (await place.raw(b"NONSENSE\r\n\r\n")).decode()
        assert "Server: pilotage\r\n" in answer
        assert "aiohttp" not in answer


@pytest.mark.usefixtures("root")
async def test_another_user_cannot_open_the_unix_socket() -> None:
    with public_folder() as folder:
        async with serving(folder) as place:
            assert await asyncio.to_thread(reaches, place.socket) == "Permission denied"
            assert await asyncio.to_thread(reaches, place.socket, 0) == "connected"


@pytest.mark.parametrize("unix", [False, True])
async def test_silent_clients_keep_nobody_out_and_are_disconnected(tmp_path: Path, *, unix: bool) -> None:
    async with serving(tmp_path) as place:
        async with place.idle(520, unix=unix) as readers:
            assert b"200 OK" in await place.raw(unix=unix)
            assert await asyncio.gather(*(reader.read() for reader in readers[: 520 - LIMIT])) == [b""] * (520 - LIMIT)
            async with asyncio.timeout(30):
                assert await readers[-1].read() == b""
        assert "Traceback" not in place.served.log


async def test_forms_that_never_end_keep_nobody_out(tmp_path: Path) -> None:
    form = b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 99\r\n\r\nt"
    async with serving(tmp_path, TOKEN) as place:
        async with place.idle(LIMIT + 20, sent=b"POST /login HTTP/1.1\r\nHost: localhost\r\n" + form):
            assert b"200 OK" in await place.raw()
        # Only a browser that sends odd forms notices; nothing of it is in the log.
        for kind in (b"multipart/form-data", b"application/x-www-form-urlencoded; charset=rot13"):
            head = b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s\r\nContent-Length: 1\r\n\r\n\xff"
            assert b"500" not in (await place.raw(head % kind)).partition(b"\r\n")[0]
        assert "Traceback" not in place.served.log


async def test_slow_headers_and_missing_bodies_end(tmp_path: Path) -> None:
    async with serving(tmp_path) as place:
        slow = place.raw(b"GET /v1/routes HTTP/1.1\r\nHost: localhost\r\n")
        bodiless = place.raw(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n")
        assert [answer[:12] for answer in await asyncio.gather(slow, bodiless)] == [b"", b"HTTP/1.1 200"]


async def test_clients_of_the_api_cannot_use_up_the_descriptors_of_the_daemon(tmp_path: Path) -> None:
    async with serving(tmp_path, files=512) as place:
        (envoy,) = place.served.envoys()
        async with place.idle(1129), place.idle(200, unix=True):
            assert b"200 OK" in await place.raw()
            assert b"200 OK" in await place.raw(unix=True)
            assert len(list(Path(f"/proc/{place.served.pid}/fd").iterdir())) < 256
        assert place.served.envoys() == [envoy]
        assert "Too many open files" not in place.served.log
        assert "Traceback" not in place.served.log


def _uses(pid: int, descriptors: int) -> bool:
    return len(list(Path(f"/proc/{pid}/fd").iterdir())) >= descriptors


async def test_too_many_open_files_are_reported_in_one_line_and_pass(tmp_path: Path) -> None:
    async with serving(tmp_path) as place:
        before = place.served.log
        limits = resource.prlimit(place.served.pid, resource.RLIMIT_NOFILE)
        own = len(list(Path(f"/proc/{place.served.pid}/fd").iterdir()))
        resource.prlimit(place.served.pid, resource.RLIMIT_NOFILE, (own + 20, limits[1]))
        async with place.idle(50):
            await until(lambda: "cannot accept connections" in place.served.log)
            for used in range(own + 21, own + 24):
                # The daemon tries again every second. Each time, it can accept one more connection, then fails again.
                resource.prlimit(place.served.pid, resource.RLIMIT_NOFILE, (used, limits[1]))
                await until(functools.partial(_uses, place.served.pid, used))
        resource.prlimit(place.served.pid, resource.RLIMIT_NOFILE, limits)
        assert b"200 OK" in await place.raw()
        said = place.served.log.removeprefix(before)
        assert said.count("cannot accept connections: Too many open files") == 1
        assert len(said) < 2_000
        assert "Traceback" not in said
