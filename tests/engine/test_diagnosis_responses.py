from __future__ import annotations

import contextlib
import os
import resource
from typing import TYPE_CHECKING

import pytest

from pilotage.core.errors import EngineError, EngineIncompatible, EngineRefused, EngineUnreachable
from pilotage.engine.config import DockerProviderConfig
from pilotage.engine.connection import Timeouts
from pilotage.engine.pool import Pool, new_client
from tests.support.failures import failure
from tests.support.faults import (
    Exchange,
    answer,
    behave,
    end_mid_body,
    end_mid_chunk,
    endless,
    json_answer,
    puppet,
    reset,
    reset_mid_body,
)
from tests.support.leaks import assert_no_leaks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    Reply = bytes | Callable[[Exchange], Awaitable[None]]


# ---- nonsense


HTML = b"<html><body><h1>403 Forbidden</h1>Request forbidden by administrative rules.</body></html>"
HTML_TYPE = "Content-Type: text/html"

FAULTS: dict[str, tuple[Reply, type[EngineError], str]] = {
    "reset": (reset, EngineUnreachable, "far: the connection was "),
    "reset in the middle": (reset_mid_body, EngineUnreachable, "the response to GET /version was cut short"),
    "end in the middle": (end_mid_body, EngineUnreachable, "the response to GET /version was cut short"),
    "end in a chunk": (end_mid_chunk, EngineUnreachable, "the response to GET /version was cut short"),
    "truncated JSON": (answer("200 OK", b'{"ApiVersion": "1.4'), EngineIncompatible, "is not a container engine"),
    "no JSON": (
        answer("200 OK", b"it works!"),
        EngineIncompatible,
        "not a container engine: its response to GET /version",
    ),
    "other JSON": (json_answer({"hello": "world"}), EngineIncompatible, "its /version has no ApiVersion"),
    "a list": (json_answer([]), EngineIncompatible, "its response to GET /version does not come from an engine"),
    "wrong types": (
        json_answer({"ApiVersion": 1.41}),
        EngineIncompatible,
        "its response to GET /version does not come from an engine",
    ),
    "a long reason": (
        answer(f"500 {'y' * 9000}", b""),
        EngineRefused,
        f"GET /version returned 500 {'y' * 59}…; check the engine's log",
    ),
    "an odd version": (json_answer({"ApiVersion": "new"}), EngineIncompatible, "its ApiVersion is 'new'"),
    "a web page": (answer("200 OK", HTML, HTML_TYPE), EngineIncompatible, "not a container engine"),
    "not found": (
        answer("404 Not Found", HTML, HTML_TYPE),
        EngineIncompatible,
        "GET /version returned 404 Not Fou",
    ),
    "forbidden": (
        answer("403 Forbidden", HTML, HTML_TYPE),
        EngineRefused,
        "returned 403 Forbidden; if a socket proxy is in front of the engine, allow GET /version there",
    ),
    "login": (answer("401 Unauthorized", b""), EngineRefused, "401 Unauthorized; engines never ask for a login"),
    "500": (
        json_answer({"message": "boom\nbang"}, status="500 Internal Server Error"),
        EngineRefused,
        "GET /version returned 500 Internal Server Error: boom\\nbang; check the engine's log",
    ),
    "bad gateway": (
        answer("502 Bad Gateway", HTML, HTML_TYPE),
        EngineRefused,
        "502 Bad Gateway; check the engine's log",
    ),
    "damaged error": (
        answer("500 Oops", b'{"message', "Content-Type: application/json"),
        EngineRefused,
        "returned 500 Oops; check",
    ),
    "plain error": (answer("503 No", b"later\n", "Content-Type: text/plain"), EngineRefused, "returned 503 No: later;"),
    "redirect": (
        answer("301 Moved", b"", "Location: https://elsewhere.invalid/"),
        EngineIncompatible,
        "GET /version was redirected to https://elsewhere.invalid/, which engines never do; use the engine's own",
    ),
    "redirect nowhere": (answer("302 Found", b""), EngineIncompatible, "redirected to nowhere"),
    "no HTTP": (b"SSH-2.0-OpenSSH_9.2\r\n", EngineIncompatible, "the response to GET /version is not HTTP"),
    "binary": (bytes(range(1, 256)), EngineIncompatible, "the response to GET /version is not HTTP"),
    "a TLS alert": (b"\x15\x03\x01\x00\x02\x02\x46", EngineUnreachable, "expects TLS but received plain HTTP"),
    "Go's TLS": (
        answer("400 Bad Request", b"Client sent an HTTP request to an HTTPS server.\n"),
        EngineUnreachable,
        "expects TLS but received plain HTTP; use tls://",
    ),
    "200 MB declared": (
        b"HTTP/1.1 200 OK\r\nContent-Length: 200000000\r\n\r\n",
        EngineIncompatible,
        "the response to GET /version is longer than 4 MiB, more than any engine sends",
    ),
    "endless": (endless, EngineIncompatible, "the response to GET /version is longer than 4 MiB"),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("way", ["unix", "tcp"])
async def test_an_invalid_response_is_an_engine_error(fault: str, way: str, tmp_path: Path) -> None:
    reply, kind, words = FAULTS[fault]
    async with puppet(behave(version=reply), path=tmp_path / "s" if way == "unix" else None) as engine:
        error = await failure(engine.url, Timeouts(connect=5, request=20))
    assert type(error) is kind
    assert words in str(error)
    assert "<html" not in str(error)
    assert len(str(error)) < 400


LIST_FAULTS: dict[str, tuple[Reply, type[EngineError], str]] = {
    "truncated JSON": (answer("200 OK", b'[{"Id": "a'), EngineIncompatible, "does not match the Engine API"),
    "an object": (json_answer({}), EngineIncompatible, "does not match the Engine API"),
    "200 MB declared": (b"HTTP/1.1 200 OK\r\nContent-Length: 200000000\r\n\r\n", EngineIncompatible, "than 160 MiB"),
    "cut": (end_mid_body, EngineUnreachable, "the response to GET /containers/json was cut short"),
}


@pytest.mark.parametrize("fault", LIST_FAULTS)
async def test_an_invalid_list_is_an_error_and_the_client_continues(fault: str) -> None:
    reply, kind, words = LIST_FAULTS[fault]
    async with puppet(behave(json=reply)) as engine, assert_no_leaks(), Pool() as pool:
        async with await new_client(DockerProviderConfig(engine.url, name="far"), pool=pool) as client:
            with pytest.raises(kind, match=words):
                await client.list_containers()
            engine.behaviour = behave()
            assert await client.list_containers() == []


async def test_an_error_is_reported_at_once_even_when_its_page_never_ends() -> None:
    async def endless_page(exchange: Exchange) -> None:
        await endless(exchange, b"500 Oops")

    async with puppet(behave(version=endless_page)) as engine:
        assert "500 Oops" in str(await failure(engine.url, Timeouts()))


async def test_no_file_descriptor_left(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with puppet(behave(), path=tmp_path / "s") as engine, Pool() as pool:
        held: list[int] = []
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 256), hard))
        try:
            with contextlib.suppress(OSError):
                while True:
                    held.append(os.open(os.devnull, os.O_RDONLY))
            with pytest.raises(EngineUnreachable) as caught:
                await new_client(engine.url, pool=pool)
        finally:
            for descriptor in held:
                os.close(descriptor)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert "pilotage is out of file descriptors (limit" in str(caught.value)
        async with await new_client(engine.url, pool=pool) as client:  # and it recovers by itself
            await client.ping()


# ---- the environment


@pytest.fixture
async def bystander() -> AsyncIterator[list[str]]:
    """A proxy that nobody should ask anything; yields what it was asked."""
    async with puppet(behave()) as proxy:
        url = proxy.url.replace("tcp", "http", 1)
        with pytest.MonkeyPatch.context() as patch:
            for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
                patch.setenv(name, url)
                patch.setenv(name.lower(), url)
            patch.delenv("NO_PROXY", raising=False)
            patch.delenv("no_proxy", raising=False)
            yield proxy.requests


async def test_proxy_variables_never_touch_engine_traffic(bystander: list[str], tmp_path: Path) -> None:
    for path in (None, tmp_path / "s"):
        async with puppet(behave(), path=path) as engine, Pool() as pool, await new_client(engine.url, pool=pool) as c:
            await c.list_containers()
            assert len(engine.requests) == 2
    assert bystander == []


async def test_credentials_of_a_netrc_file_are_not_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    async with puppet(behave()) as engine, Pool() as pool, await new_client(engine.url, pool=pool):
        assert all("authorization" not in exchange.headers for exchange in engine.heads)
