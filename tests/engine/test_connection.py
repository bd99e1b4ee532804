from __future__ import annotations

import asyncio
import gzip
from functools import partial
from typing import TYPE_CHECKING

import pytest

from pilotage.core.errors import EngineIncompatible, EngineRefused, EngineUnreachable
from pilotage.engine.address import Address, parse_address
from pilotage.engine.config import DockerProviderConfig
from pilotage.engine.connection import Connection, Timeouts, negotiate, parse_api
from pilotage.engine.pool import Pool, new_client
from pilotage.engine.types import Version
from tests.support.daemon import Dockerd
from tests.support.faults import VERSION, Exchange, answer, behave, json_answer, puppet
from tests.support.leaks import assert_no_leaks
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.engines import Engine
    from tests.support.faults import Puppet

USUAL = Timeouts()


def connection(engine: Puppet) -> Connection:
    return Connection(parse_address(DockerProviderConfig(engine.url)))


def version(api: str, oldest: str = "1.24", **fields: object) -> bytes:
    """An engine's /version, with the headers that each of its answers has."""
    value = VERSION | {"ApiVersion": api, "MinAPIVersion": oldest} | fields
    return json_answer(value, f"Api-Version: {api}", "Server: Docker/28")


# ---- which version to speak


@pytest.mark.parametrize(
    ("newest", "oldest", "spoken"),
    [
        ("1.40", "1.12", "1.40"),
        ("1.41", "1.24", "1.41"),
        ("1.51", "1.24", "1.51"),
        ("1.52", "1.44", "1.52"),
        ("1.99", "1.44", "1.52"),
        ("2.3", "1.52", "1.52"),
        ("1.41", "", "1.41"),
    ],
)
def test_the_newest_common_version_is_used(newest: str, oldest: str, spoken: str) -> None:
    assert negotiate(Version(ApiVersion=newest, MinAPIVersion=oldest), "far") == spoken


@pytest.mark.parametrize(
    ("newest", "oldest", "words"),
    [
        (
            "1.24",
            "1.12",
            "far: the engine is too old: it supports API versions 1.12 to 1.24, pilotage supports 1.40 to 1.52",
        ),
        ("1.39", "", "it supports API versions 1.39 to 1.39, pilotage supports 1.40 to 1.52; upgrade the engine"),
        (
            "1.60",
            "1.53",
            "far: the engine is too new: it supports API versions 1.53 to 1.60, pilotage supports 1.40 to 1.52",
        ),
        ("", "", "its /version has no ApiVersion"),
        ("one.two", "", "its ApiVersion is 'one.two'; check the address"),
        ("9" * 5000 + ".1", "", f"its ApiVersion is '{'9' * 19}…'; check the address"),
        ("1.24", "\x1b" * 5000, "it supports API versions \\x1b\\x1b\\x1b\\x1b\\x1… to 1.24"),
    ],
)
def test_without_a_common_version_both_ranges_are_named(newest: str, oldest: str, words: str) -> None:
    with pytest.raises(EngineIncompatible) as caught:
        negotiate(Version(ApiVersion=newest, MinAPIVersion=oldest), "far")
    assert words in str(caught.value)


def test_api_versions_compare_as_numbers() -> None:
    assert parse_api("1.9") == (1, 9)
    assert parse_api("1.10") == (1, 10)
    assert [parse_api(text) for text in ("", "1", "1.x", "1.-2", "v1.4", "1.٤", "1.12345")] == [None] * 7


async def test_a_very_old_engine_is_rejected_with_both_version_ranges() -> None:
    async with puppet(behave(version=version("1.24", "1.12"))) as engine, assert_no_leaks(), Pool() as pool:
        with pytest.raises(EngineIncompatible, match=r"1\.12 to 1\.24, pilotage supports 1\.40 to 1\.52"):
            await new_client(engine.url, pool=pool)


# ---- what is not decoded


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "x" * 99])
@pytest.mark.parametrize("status", ["200 OK", "500 Internal Server Error"])
async def test_a_compressed_response_is_refused_and_not_decompressed(encoding: str, status: str) -> None:
    reply = answer(status, gzip.compress(b" " * 2**20), f"Content-Encoding: {encoding}")
    async with puppet(behave(json=reply)) as engine, assert_no_leaks():
        far = connection(engine)
        with pytest.raises(
            EngineIncompatible, match=r"is compressed .* which engines never do; switch compression off"
        ):
            await far.call("far", "GET", "/containers/json", timeouts=USUAL)
        assert engine.heads[-1].headers["accept-encoding"] == "identity"
        engine.behaviour = behave(json=answer("200 OK", b"[]", "Content-Encoding: identity"))
        assert await far.call("far", "GET", "/containers/json", timeouts=USUAL) == b"[]"
        await far.close()


async def test_a_sink_receives_the_body_instead_of_the_caller() -> None:
    async with puppet(behave(json=json_answer([1]))) as engine:
        far, found = connection(engine), bytearray()
        assert await far.call("far", "GET", "/containers/json", timeouts=USUAL, sink=found.extend) == b""
        assert found == b"[1]"
        await far.close()


# ---- when it is agreed


async def test_concurrent_first_requests_negotiate_once() -> None:
    async with puppet(behave()) as engine:
        far = connection(engine)
        await asyncio.gather(*(far.call("far", "GET", "/containers/json", timeouts=USUAL) for _ in range(20)))
        assert engine.requests.count("GET /version") == 1
        assert engine.requests.count("GET /v1.51/containers/json") == 20
        await far.close()


async def test_an_unversioned_request_needs_no_negotiation() -> None:
    async with puppet(behave()) as engine:
        far = connection(engine)
        await far.call("far", "GET", "/_ping", timeouts=USUAL, versioned=False)
        assert engine.requests == ["GET /_ping"]
        await far.close()


async def test_a_lost_connection_leads_to_a_new_negotiation() -> None:
    async def lose(exchange: Exchange) -> None:
        exchange.reset()

    async with puppet(behave(json=lose)) as engine:
        far = connection(engine)
        with pytest.raises(EngineUnreachable):
            await far.call("far", "GET", "/containers/json", timeouts=USUAL)
        engine.behaviour = behave(version=version("1.45"))
        await far.call("far", "GET", "/containers/json", timeouts=USUAL)
        assert engine.requests[-2:] == ["GET /version", "GET /v1.45/containers/json"]
        await far.close()


async def test_a_response_from_another_version_leads_to_a_new_negotiation() -> None:
    async with puppet(behave(version=version("1.41"))) as engine:
        far = connection(engine)
        await far.call("far", "GET", "/containers/json", timeouts=USUAL)
        upgraded = json_answer([], "Api-Version: 1.45", "Server: Docker/28")
        engine.behaviour = behave(version=version("1.45"), json=upgraded)
        await far.call("far", "GET", "/containers/json", timeouts=USUAL)
        await far.call("far", "GET", "/containers/json", timeouts=USUAL)
        assert [line for line in engine.requests if "json" in line][-1] == "GET /v1.45/containers/json"
        await far.close()


async def test_a_rejected_version_is_renegotiated_and_the_request_repeated_once() -> None:
    refused = json_answer(
        {"message": "client version 1.41 is too old. Minimum supported API version is 1.44, please upgrade"},
        status="400 Bad Request",
    )
    async with puppet(behave(version=version("1.41"))) as engine:
        far = connection(engine)
        await far.open("far", USUAL)

        async def picky(exchange: Exchange) -> None:
            await exchange.send(json_answer([]) if exchange.path.startswith("/v1.51/") else refused)

        engine.behaviour = behave(version=version("1.51", "1.44"), json=picky)
        await far.call("far", "GET", "/containers/json", timeouts=USUAL)
        assert engine.requests[1:] == [
            "GET /v1.41/containers/json",
            "GET /version",
            "GET /v1.51/containers/json",
        ]
        engine.behaviour = behave(version=version("1.51", "1.44"), json=refused)
        with pytest.raises(EngineRefused, match="client version"):
            await far.call("far", "GET", "/containers/json", timeouts=USUAL)
        await far.close()


async def test_a_bad_request_of_another_kind_is_not_repeated() -> None:
    refused = json_answer({"message": "invalid filter 'x'"}, status="400 Bad Request")
    async with puppet(behave(json=refused)) as engine:
        far = connection(engine)
        with pytest.raises(EngineRefused, match="invalid filter"):
            await far.call("far", "GET", "/containers/json", timeouts=USUAL)
        assert engine.requests == ["GET /version", "GET /v1.51/containers/json"]
        await far.close()


# ---- how it is asked


async def test_a_path_in_the_address_prefixes_every_request() -> None:
    async with puppet(behave()) as engine:
        far = Connection(parse_address(DockerProviderConfig(f"{engine.url}/engines/one/")))
        await far.call("far", "GET", "/containers/json", {"all": "1", "filters": '{"id":["a b+"]}'}, timeouts=USUAL)
        assert engine.requests[0] == "GET /engines/one/version"
        assert engine.requests[1].startswith("GET /engines/one/v1.51/containers/json?all=1&filters=")
        await far.close()


async def test_responses_are_uncompressed_and_connections_are_kept(tmp_path: Path) -> None:
    for path in (None, tmp_path / "s"):
        async with puppet(behave(), path=path) as engine:
            far = connection(engine)
            for _ in range(5):
                await far.call("far", "GET", "/containers/json", timeouts=USUAL)
            assert engine.connections == 1
            assert {exchange.headers["accept-encoding"] for exchange in engine.heads} == {"identity"}
            assert {exchange.headers["host"] for exchange in engine.heads} == {
                f"127.0.0.1:{engine.port}" if path is None else "engine.invalid"
            }
            await far.close()


async def test_a_cookie_is_not_sent_back() -> None:
    async with puppet(behave(json=json_answer([], "Set-Cookie: a=b"))) as engine:
        far = connection(engine)
        for _ in range(2):
            await far.call("far", "GET", "/containers/json", timeouts=USUAL)
        assert all("cookie" not in exchange.headers for exchange in engine.heads)
        await far.close()


async def test_the_latency_is_the_time_of_an_answer() -> None:
    async with puppet(behave()) as engine:
        far = connection(engine)
        assert far.latency == 0
        await far.open("far", USUAL)
        assert 0 < far.latency < 60
        await far.close()


# ---- closing


async def test_a_closed_connection_says_so_and_opens_nothing() -> None:
    async with puppet(behave()) as engine, assert_no_leaks():
        far = connection(engine)
        await far.close()
        await far.close()
        with pytest.raises(EngineUnreachable, match="the client was closed during the request"):
            await far.call("far", "GET", "/_ping", timeouts=USUAL, versioned=False)
        assert engine.connections == 0


async def test_closing_fails_running_requests() -> None:
    async with puppet(behave(json=Exchange.gone)) as engine, assert_no_leaks():
        far = connection(engine)
        await far.open("far", USUAL)
        request = asyncio.create_task(far.call("far", "GET", "/containers/json", timeouts=USUAL))
        await until(lambda: len(engine.requests) == 2)
        await far.close()
        with pytest.raises(EngineUnreachable, match="the client was closed during the request"):
            await request


async def test_closing_fails_a_request_whose_answer_has_begun() -> None:
    async def begin(exchange: Exchange) -> None:
        await exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n[")
        await exchange.gone()

    async with puppet(behave(json=begin)) as engine, assert_no_leaks():
        far = connection(engine)
        request = asyncio.create_task(far.call("far", "GET", "/containers/json", timeouts=USUAL))
        await until(lambda: far._http._open)
        await far.close()
        with pytest.raises(EngineUnreachable, match="the client was closed during the request"):
            await request


def received(engine: Puppet, count: int) -> bool:
    return len(engine.requests) == count


async def test_a_cancelled_request_leaves_nothing_and_the_next_one_works() -> None:
    async with puppet(behave(json=Exchange.gone)) as engine, assert_no_leaks():
        far = connection(engine)
        await far.open("far", USUAL)
        for number in range(2, 7):
            request = asyncio.create_task(far.call("far", "GET", "/containers/json", timeouts=USUAL))
            await until(partial(received, engine, number))
            request.cancel()
            await asyncio.wait([request])
        engine.behaviour = behave()
        assert await far.call("far", "GET", "/containers/json", timeouts=USUAL) == b"[]"
        await far.close()


async def test_a_body_without_a_length_is_read_to_its_end() -> None:
    async def until_closed(exchange: Exchange) -> None:
        await exchange.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n[1,")
        await exchange.send(b"2]")
        exchange.writer.close()

    async with puppet(behave(json=until_closed)) as engine:
        far = connection(engine)
        assert await far.call("far", "GET", "/containers/json", timeouts=USUAL) == b"[1,2]"
        await far.close()


async def test_nothing_to_change_is_a_success() -> None:
    async with puppet(behave(start=answer("304 Not Modified", b""))) as engine:
        far = connection(engine)
        assert await far.call("far", "POST", "/containers/a/start", timeouts=USUAL) == b""
        await far.close()


@pytest.mark.parametrize(("size", "words"), [(4096, "Bad Gateway: no room; check"), (4097, "Bad Gateway; check")])
async def test_four_kilobytes_of_an_error_are_read(size: int, words: str) -> None:
    message = b'"message":"no room"}'
    text = b"{" + b" " * (size - 1 - len(message)) + message
    async with puppet(behave(json=answer("502 Bad Gateway", text, "Content-Type: application/json"))) as engine:
        far = connection(engine)
        with pytest.raises(EngineRefused, match=words):
            await far.call("far", "GET", "/containers/json", timeouts=USUAL)
        await far.close()


def test_a_context_address_cannot_be_connected_to() -> None:
    with pytest.raises(ValueError, match="cannot be dialled"):
        Connection(Address("context", host="far"))


# ---- real engines


@pytest.mark.parametrize(("generation", "api"), [("system", "1.41"), ("26.1", "1.45"), ("28.5", "1.51")])
async def test_real_engines_of_each_generation_use_their_own_version(
    engine_factory: Callable[[str], Engine], generation: str, api: str
) -> None:
    with engine_factory(generation).scope() as engine:
        async with assert_no_leaks(), Pool() as pool, await new_client(engine.host, pool=pool) as client:
            if generation != "system":  # the system's may be any
                assert client.api_version == api
            assert client.kind == "docker"
            async with client.events() as stream:
                container = engine.create("pool-version")
                assert (await anext(stream)).Actor is not None
            assert (await client.inspect(container)).Id == container
            assert len(await client.list_containers(ids=[container])) == 1


async def test_a_real_engine_that_rejects_old_versions_gets_a_new_one(
    start_engine: Callable[..., Engine],
) -> None:
    as_docker_29 = {"DOCKER_MIN_API_VERSION": "1.44"}
    engine = start_engine("28.5", images=False, environment=as_docker_29)  # the docker CLI is too old for it
    async with Pool() as pool, await new_client(engine.host, pool=pool) as client:
        assert client.version.MinAPIVersion == "1.44"
        assert await client.list_containers() == []


async def test_an_engine_can_be_upgraded_while_a_client_is_open(own_engine: Engine) -> None:
    daemon = own_engine.daemon
    assert isinstance(daemon, Dockerd)
    async with Pool() as pool, await new_client(own_engine.host, pool=pool) as client:
        before = client.api_version
        await client.list_containers()
        daemon.stop()
        daemon.generation = "26.1"
        daemon.start()
        await client.list_containers()
        await client.list_containers()
        assert client.api_version == "1.45" != before
        assert client.version.Version.startswith("26.1")


async def test_podman_is_recognized_and_supported(podman_engine: Engine) -> None:
    async with assert_no_leaks(), Pool() as pool, await new_client(podman_engine.host, pool=pool) as client:
        assert client.kind == "podman"
        assert client.api_version == "1.41"
        assert "podman 4." in repr(client)
        async with client.events(filters={"type": ["container"]}) as stream:
            container = podman_engine.create("pool-podman")
            event = await anext(stream)
            assert (event.Action, event.Actor and event.Actor.ID) == ("create", container)
        assert len(await client.list_containers(ids=[container])) == 1
