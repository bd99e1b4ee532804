"""The fault matrix: whatever an engine does, it is an error in our words, in time, and nothing is left of it."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import grp
import os
import resource
import socket
import ssl
from typing import TYPE_CHECKING

import aiohttp
import pytest

from pilotage.core.errors import EngineError, EngineIncompatible, EngineRefused, EngineUnreachable
from pilotage.engine import diagnosis as faults
from pilotage.engine.address import Address, DockerProviderConfig
from pilotage.engine.connection import Timeouts
from pilotage.engine.diagnosis import Diagnosis, DialError, Request, diagnose_tcp, diagnose_unix, explain, renamed
from pilotage.engine.pool import Pool, new_client
from tests.support.faults import (
    VERSION,
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
from tests.support.rights import as_nobody, public_folder

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from tests.support.engines import Engine

    Reply = bytes | Callable[[Exchange], Awaitable[None]]

SHORT = Timeouts(connect=0.5, request=0.5)


async def failure(url: str, timeouts: Timeouts = SHORT) -> EngineError:
    """Return the error of a failed connection, after seeing that nothing is left of it."""
    async with assert_no_leaks(), Pool(timeouts) as pool:
        with pytest.raises(EngineError) as caught:
            await new_client(DockerProviderConfig(url, name="far"), pool=pool)
    return caught.value


# ---- there is nobody


async def test_a_missing_socket(tmp_path: Path) -> None:
    error = await failure(f"unix://{tmp_path}/docker.sock")
    assert isinstance(error, EngineUnreachable)
    assert str(error).startswith(f"far: there is no socket {tmp_path}/docker.sock; start the engine")


async def test_a_path_through_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "a part of the path is no directory" in str(await failure(f"unix://{tmp_path}/file/docker.sock"))


async def test_a_file_that_is_no_socket(tmp_path: Path) -> None:
    (tmp_path / "docker.sock").touch()
    assert "docker.sock is not a socket" in str(await failure(f"unix://{tmp_path}/docker.sock"))


async def test_a_socket_left_by_an_engine_that_is_gone(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "docker.sock"))
    assert "nothing listens on" in str(await failure(f"unix://{tmp_path}/docker.sock"))


async def test_a_real_engine_that_was_killed(own_engine: Engine) -> None:
    async with Pool() as pool, await new_client(own_engine.host, pool=pool) as client:
        assert own_engine.daemon is not None
        own_engine.daemon.kill()
        with pytest.raises(EngineUnreachable, match=r"nothing listens on|connection was closed before an answer"):
            await client.list_containers()
        with pytest.raises(EngineUnreachable, match="nothing listens on"):
            await client.list_containers()
        own_engine.daemon.start()
        await client.list_containers()


async def test_a_closed_port() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    assert f"far: nothing listens on port {port} of 127.0.0.1; start the engine" in str(
        await failure(f"tcp://127.0.0.1:{port}")
    )


async def test_a_closed_port_of_a_name_with_several_addresses() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    assert f"nothing listens on port {port} of localhost" in str(await failure(f"tcp://localhost:{port}"))


async def test_an_ipv6_literal_that_refuses() -> None:
    assert "nothing listens on port 1 of ::1" in str(await failure("tcp://[::1]:1"))


async def test_a_name_that_nobody_knows() -> None:
    error = await failure("tcp://engine.invalid:2375", Timeouts())
    assert "the name 'engine.invalid'" in str(error)


async def test_a_name_that_cannot_be_one() -> None:
    assert "cannot be a host name" in str(await failure(f"tcp://{'a' * 64}.invalid:2375", Timeouts()))


# ---- rights


@pytest.mark.usefixtures("root")
async def test_a_socket_that_only_its_group_may_use_names_the_group_to_join() -> None:
    with public_folder() as folder:
        async with puppet(behave(), path=folder / "s") as engine:
            group = grp.getgrgid(1).gr_name
            os.chown(folder / "s", 0, 1)
            (folder / "s").chmod(0o660)
            with as_nobody():
                error = await failure(engine.url)
    assert f"permission denied on {folder}/s: only its owner and the group '{group}' may use it" in str(error)
    assert f"add the user nobody to the group '{group}' (sudo usermod -aG {group} nobody) and log in again" in str(
        error
    )


@pytest.mark.usefixtures("root")
async def test_a_socket_of_a_group_without_a_name_is_named_by_its_number() -> None:
    with public_folder() as folder:
        async with puppet(behave(), path=folder / "s") as engine:
            os.chown(folder / "s", 0, 54321)
            (folder / "s").chmod(0o660)
            with as_nobody():
                error = await failure(engine.url)
    assert "the group with id 54321 may use it; start with that supplementary group" in str(error)
    assert "--group-add 54321" in str(error)


async def test_a_socket_that_only_its_owner_may_use() -> None:
    with public_folder() as folder:
        async with puppet(behave(), path=folder / "s") as engine:
            (folder / "s").chmod(0o600 if os.geteuid() == 0 else 0)
            with as_nobody():
                assert "only its owner may use it; run as that user, or as root" in str(await failure(engine.url))


async def test_a_socket_in_a_closed_folder_names_the_folder() -> None:
    with public_folder() as folder:
        closed = folder / "closed"
        closed.mkdir()
        async with puppet(behave(), path=closed / "s") as engine:
            closed.chmod(0o700 if os.geteuid() == 0 else 0)
            with as_nobody():
                error = await failure(engine.url)
            closed.chmod(0o700)
    assert f"{closed} is closed to the user" in str(error)


# ---- silence


async def test_a_server_that_accepts_and_says_nothing() -> None:
    async with puppet(Exchange.gone) as engine:
        assert str(await failure(engine.url)) == (
            "far: no answer to GET /version within 0.5 s; the engine hangs or is overloaded: see its log"
        )


async def test_a_real_engine_that_is_frozen(own_engine: Engine) -> None:
    assert own_engine.daemon is not None
    async with Pool(SHORT) as pool, await new_client(own_engine.host, pool=pool) as client:
        own_engine.daemon.freeze()
        with pytest.raises(EngineUnreachable, match=r"no answer to GET /containers/json within 0.5 s"):
            await client.list_containers()
        own_engine.daemon.thaw()
        await client.list_containers()


async def test_a_machine_that_does_not_answer_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(*_: object) -> None:
        await asyncio.sleep(60)

    monkeypatch.setattr("pilotage.engine.transport.open_tcp", never)
    error = await failure("tcp://127.0.0.1:2375", Timeouts(connect=0.2, request=20))
    assert "far: no connection to tcp://127.0.0.1:2375 within 0.2 s; is the machine up" in str(error)


async def test_an_engine_whose_queue_is_full(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening, contextlib.ExitStack() as stack:
        listening.bind(str(tmp_path / "s"))
        listening.listen(0)
        for _ in range(1):
            stack.enter_context(socket.socket(socket.AF_UNIX)).connect(str(tmp_path / "s"))
        error = await failure(f"unix://{tmp_path}/s")
    assert "the engine accepts no more connections: its queue is full" in str(error)


async def test_other_engines_are_not_affected_by_one_that_hangs() -> None:
    async with puppet(Exchange.gone) as hanging, puppet(behave()) as sound, assert_no_leaks(), Pool() as pool:
        waiting = asyncio.create_task(new_client(hanging.url, pool=pool))
        async with await new_client(sound.url, pool=pool) as client:
            for _ in range(100):
                await client.list_containers()
        assert not waiting.done()
        waiting.cancel()
        await asyncio.wait([waiting])


# ---- nonsense


HTML = b"<html><body><h1>403 Forbidden</h1>Request forbidden by administrative rules.</body></html>"
HTML_TYPE = "Content-Type: text/html"

FAULTS: dict[str, tuple[Reply, type[EngineError], str]] = {
    "reset": (reset, EngineUnreachable, "far: the connection was "),
    "reset in the middle": (reset_mid_body, EngineUnreachable, "the answer to GET /version was cut short"),
    "end in the middle": (end_mid_body, EngineUnreachable, "the answer to GET /version was cut short"),
    "end in a chunk": (end_mid_chunk, EngineUnreachable, "the answer to GET /version was cut short"),
    "truncated JSON": (answer("200 OK", b'{"ApiVersion": "1.4'), EngineIncompatible, "is no container engine"),
    "no JSON": (answer("200 OK", b"it works!"), EngineIncompatible, "no container engine: its /version is not that"),
    "other JSON": (json_answer({"hello": "world"}), EngineIncompatible, "its /version names no ApiVersion"),
    "a list": (json_answer([]), EngineIncompatible, "its /version is not that of an engine"),
    "wrong types": (json_answer({"ApiVersion": 1.41}), EngineIncompatible, "its /version is not that of an engine"),
    "an odd version": (json_answer({"ApiVersion": "new"}), EngineIncompatible, "names no ApiVersion"),
    "a web page": (answer("200 OK", HTML, HTML_TYPE), EngineIncompatible, "no container engine"),
    "not found": (
        answer("404 Not Found", HTML, HTML_TYPE),
        EngineIncompatible,
        "GET /version was answered 404 Not Fou",
    ),
    "forbidden": (
        answer("403 Forbidden", HTML, HTML_TYPE),
        EngineRefused,
        "answered 403 Forbidden; if a socket proxy stands before the engine, let it allow GET /version",
    ),
    "login": (answer("401 Unauthorized", b""), EngineRefused, "401 Unauthorized; the address asks for a login"),
    "500": (
        json_answer({"message": "boom\nbang"}, status="500 Internal Server Error"),
        EngineRefused,
        "GET /version was answered 500 Internal Server Error: boom\\nbang; see the engine's log",
    ),
    "bad gateway": (answer("502 Bad Gateway", HTML, HTML_TYPE), EngineRefused, "502 Bad Gateway; see the engine's log"),
    "damaged error": (
        answer("500 Oops", b'{"message', "Content-Type: application/json"),
        EngineRefused,
        "was answered 500 Oops; see",
    ),
    "plain error": (answer("503 No", b"later\n", "Content-Type: text/plain"), EngineRefused, "answered 503 No: later;"),
    "redirect": (
        answer("301 Moved", b"", "Location: https://elsewhere.invalid/"),
        EngineIncompatible,
        "GET /version is redirected to https://elsewhere.invalid/, and engines never redirect; give the engine's own",
    ),
    "redirect nowhere": (answer("302 Found", b""), EngineIncompatible, "redirected to nowhere"),
    "no HTTP": (b"SSH-2.0-OpenSSH_9.2\r\n", EngineIncompatible, "the answer to GET /version is not HTTP"),
    "binary": (bytes(range(1, 256)), EngineIncompatible, "the answer to GET /version is not HTTP"),
    "a TLS alert": (b"\x15\x03\x01\x00\x02\x02\x46", EngineUnreachable, "speaks TLS, and was spoken to without"),
    "Go's TLS": (
        answer("400 Bad Request", b"Client sent an HTTP request to an HTTPS server.\n"),
        EngineUnreachable,
        "speaks TLS, and was spoken to without; write tls://",
    ),
    "200 MB declared": (
        b"HTTP/1.1 200 OK\r\nContent-Length: 200000000\r\n\r\n",
        EngineIncompatible,
        "the answer to GET /version is longer than 16 MiB, which no engine's is",
    ),
    "endless": (endless, EngineIncompatible, "the answer to GET /version is longer than 16 MiB"),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("way", ["unix", "tcp"])
async def test_nonsense_is_an_error_in_our_words(fault: str, way: str, tmp_path: Path) -> None:
    reply, kind, words = FAULTS[fault]
    async with puppet(behave(version=reply), path=tmp_path / "s" if way == "unix" else None) as engine:
        error = await failure(engine.url, Timeouts(connect=5, request=20))
    assert type(error) is kind
    assert words in str(error)
    assert "<html" not in str(error)
    assert len(str(error)) < 400


LIST_FAULTS: dict[str, tuple[Reply, type[EngineError], str]] = {
    "truncated JSON": (answer("200 OK", b'[{"Id": "a'), EngineIncompatible, "is not what the Engine API promises"),
    "an object": (json_answer({}), EngineIncompatible, "is not what the Engine API promises"),
    "200 MB declared": (b"HTTP/1.1 200 OK\r\nContent-Length: 200000000\r\n\r\n", EngineIncompatible, "than 160 MiB"),
    "cut": (end_mid_body, EngineUnreachable, "the answer to GET /containers/json was cut short"),
}


@pytest.mark.parametrize("fault", LIST_FAULTS)
async def test_a_bad_list_is_an_error_and_the_client_goes_on_after_it(fault: str) -> None:
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
        assert "this process has no file descriptor left (its limit is" in str(caught.value)
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


# ---- the pure parts

REQUEST = Request("far", Address("tcp", host="h", port=1), "GET /x", 5, 30)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.EHOSTUNREACH, "x"), "there is no way to h from here"),
        (OSError(errno.ENETUNREACH, "x"), "there is no way to h from here"),
        (OSError(errno.ETIMEDOUT, "x"), "h does not answer on port 1"),
        (socket.gaierror(socket.EAI_AGAIN, "x"), "no name server answers"),
        (socket.gaierror(socket.EAI_NONAME, "x"), "is not known to any name server"),
    ],
)
def test_each_network_fault_has_its_own_words(error: OSError, words: str) -> None:
    found = diagnose_tcp("h", 1, error)
    assert found is not None
    assert words in found.what


def test_faults_of_others_are_left_to_others() -> None:
    assert diagnose_tcp("h", 1, OSError(errno.EMFILE, "x")) is None
    assert diagnose_tcp("h", 1, RuntimeError()) is None
    assert diagnose_unix("/s", OSError(errno.EMFILE, "x")) is None


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (aiohttp.ClientOSError(errno.ECONNRESET, "x"), "the connection was reset during GET /x"),
        (aiohttp.ClientOSError(errno.EMFILE, "x"), "no file descriptor left"),
        (aiohttp.ClientOSError(errno.EIO, "secret body"), "GET /x failed (Input/output error)"),
        (aiohttp.ClientError("secret body"), "GET /x failed (ClientError)"),
        (ssl.SSLError(1, "secret"), "GET /x failed (TLS: broken)"),
        (DialError(), "cannot connect to tcp://h:1 (no reason given)"),
        (faults.ClosedError(), "GET /x: the client was closed meanwhile"),
    ],
)
def test_what_remains_is_told_without_bodies(error: Exception, words: str) -> None:
    said = str(explain(error, REQUEST))
    assert words in said
    assert "secret" not in said


def test_a_finding_of_the_dialer_comes_first_and_our_own_errors_stay() -> None:
    assert str(explain(OSError(), REQUEST, Diagnosis("it rains", "wait"))) == "far: it rains; wait"
    own = EngineRefused("far", "no", status=418)
    assert explain(own, REQUEST) is own


def test_an_error_can_be_told_under_another_name() -> None:
    refused = renamed(EngineRefused("a", "no", "why not", status=418), "b")
    assert isinstance(refused, EngineRefused)
    assert (str(refused), refused.status) == ("b: no; why not", 418)
    assert type(renamed(EngineIncompatible("a", "old"), "b")) is EngineIncompatible


def test_the_puppets_version_is_a_real_engines() -> None:
    assert VERSION["ApiVersion"] == "1.51"
