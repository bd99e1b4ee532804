from __future__ import annotations

import asyncio
import contextlib
import email.utils
import socket
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from pilotage.gateway import file_server
from pilotage.gateway.file_paths import FileRoot
from pilotage.gateway.file_server import FileServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@contextlib.asynccontextmanager
async def _serving(tmp_path: Path, **fields: Any) -> AsyncIterator[Any]:
    """Serve ``root`` as the alias ``files``; yields a function that requests a path."""
    root = tmp_path / "root"
    root.mkdir(exist_ok=True)
    server = FileServer({"files": FileRoot(str(root), **fields)}.get)
    path = str(tmp_path / "files.sock")
    await server.start(path)
    connector = aiohttp.UnixConnector(path)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(server.close)
        client = await stack.enter_async_context(aiohttp.ClientSession(connector=connector))

        async def ask(path: str, method: str = "GET", host: str = "files", **headers: str) -> Any:
            sent = {"Host": host, **{name.replace("_", "-"): value for name, value in headers.items()}}
            async with client.request(method, f"http://x{path}", headers=sent, allow_redirects=False) as answer:
                return answer.status, answer.headers.copy(), await answer.read()

        yield ask


async def test_files_have_a_type_a_size_and_a_tag(tmp_path: Path) -> None:
    async with _serving(tmp_path) as ask:
        for name, kind in {
            "a.html": "text/html; charset=utf-8",
            "a.js": "text/javascript; charset=utf-8",
            "a.css": "text/css; charset=utf-8",
            "a.json": "application/json; charset=utf-8",
            "a.svg": "image/svg+xml; charset=utf-8",
            "a.wasm": "application/wasm",
            "a.png": "image/png",
            "a.tar.gz": "application/gzip",
            "a": "application/octet-stream",
        }.items():
            (tmp_path / "root" / name).write_bytes(b"0123456789")
            status, headers, body = await ask(f"/{name}")
            assert (status, headers["Content-Type"], body) == (200, kind, b"0123456789")
            assert headers["Content-Length"] == "10"
            status, of_head, body = await ask(f"/{name}", "HEAD")
            assert (status, body) == (200, b"")
            assert {**of_head, "Date": ""} == {**headers, "Date": ""}
        assert (await ask("/a", "POST"))[0] == 405
        assert (await ask("/none"))[0] == 404
        assert (await ask("/a", host="other"))[0] == 404


async def test_a_large_file_is_sent_whole_and_in_parts(tmp_path: Path) -> None:
    content = bytes(range(256)) * 4096
    async with _serving(tmp_path) as ask:
        (tmp_path / "root" / "large").write_bytes(content)
        assert (await ask("/large"))[2] == content
        for wanted, part in {
            "bytes=0-0": slice(0, 1),
            "bytes=300000-700000": slice(300_000, 700_001),
            "bytes=1048570-": slice(1_048_570, None),
            "bytes=1048570-99999999": slice(1_048_570, None),
            "bytes=-5": slice(-5, None),
            "bytes=-99999999": slice(0, None),
        }.items():
            status, headers, body = await ask("/large", Range=wanted)
            assert (status, body) == (206, content[part])
            start, stop, _ = part.indices(len(content))
            assert headers["Content-Range"] == f"bytes {start}-{stop - 1}/{len(content)}"
            assert headers["Content-Length"] == str(len(body))


@pytest.mark.parametrize(
    ("wanted", "status"),
    [
        ("bytes=10-", 416),
        ("bytes=-0", 416),
        (f"bytes={'9' * 30}-", 416),
        ("bytes=5-4", 200),
        ("bytes=0-1,3-4", 200),
        ("bytes=a-b", 200),
        ("bytes=-", 200),
        ("bytes=²-", 200),
        ("lines=1-2", 200),
    ],
)
async def test_a_part_that_is_not_there_or_not_understood(tmp_path: Path, wanted: str, status: int) -> None:
    async with _serving(tmp_path) as ask:
        (tmp_path / "root" / "a").write_bytes(b"0123456789")
        found, headers, body = await ask("/a", Range=wanted)
        assert found == status
        assert body == b"0123456789" if status == 200 else headers["Content-Range"] == "bytes */10"


async def test_conditions_compare_the_tag_or_the_date(tmp_path: Path) -> None:
    async with _serving(tmp_path) as ask:
        (tmp_path / "root" / "a").write_bytes(b"0123456789")
        _, headers, _ = await ask("/a")
        tag, date = headers["ETag"], headers["Last-Modified"]
        early = email.utils.formatdate(0, usegmt=True)
        for conditions, status in (
            ({"If_None_Match": tag}, 304),
            ({"If_None_Match": f'"x", W/{tag}'}, 304),
            ({"If_None_Match": "*"}, 304),
            ({"If_None_Match": '"x"'}, 200),
            ({"If_None_Match": '"x"', "If_Modified_Since": date}, 200),
            ({"If_Modified_Since": date}, 304),
            ({"If_Modified_Since": early}, 200),
            ({"If_Modified_Since": "yesterday"}, 200),
            ({"If_Match": tag}, 200),
            ({"If_Match": '"x"'}, 412),
            ({"If_Unmodified_Since": early}, 412),
            ({"If_Unmodified_Since": date}, 200),
            ({"Range": "bytes=0-1", "If_Range": tag}, 206),
            ({"Range": "bytes=0-1", "If_Range": date}, 206),
            ({"Range": "bytes=0-1", "If_Range": '"x"'}, 200),
            ({"Range": "bytes=0-1", "If_Range": f"W/{tag}"}, 200),
        ):
            assert (await ask("/a", **conditions))[0] == status, conditions
        (tmp_path / "root" / "a").write_bytes(b"changed")
        assert (await ask("/a", If_None_Match=tag))[0] == 200


async def test_a_folder_is_never_listed_and_redirects_only_to_itself(tmp_path: Path) -> None:
    (tmp_path / "root" / "docs").mkdir(parents=True)
    async with _serving(tmp_path) as ask:
        assert (await ask("/docs/"))[0] == 404
        assert (await ask("/"))[0] == 404
        status, headers, _ = await ask("/docs?a=b")
        assert (status, headers["Location"]) == (301, "/docs/?a=b")


async def test_connections_beyond_the_limit_are_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_server, "_MOST_CONNECTIONS", 2)
    async with _serving(tmp_path):
        kept = [await asyncio.open_unix_connection(str(tmp_path / "files.sock")) for _ in range(2)]
        for _, writer in kept:
            writer.write(b"GET / HTTP/1.1\r\nHost: files\r\n\r\n")
        for reader, _ in kept:
            assert b"404" in await reader.readline()
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / "files.sock"))
        assert await reader.read() == b""
        for _, each in [*kept, (reader, writer)]:
            each.close()


async def test_a_socket_that_nobody_listens_on_is_replaced_and_another_is_not(tmp_path: Path) -> None:
    path = tmp_path / "files.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    async with _serving(tmp_path):
        assert path.stat().st_mode & 0o777 == 0o600
        second = FileServer(lambda _: None)
        with pytest.raises(OSError, match="another daemon"):
            await second.start(str(path))
        await second.close()
