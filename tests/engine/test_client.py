"""The client's calls: what they ask for (on a server that notes it), and that a real engine does it."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec
import pytest

from pilotage.core.errors import EngineIncompatible, EngineRefused
from pilotage.engine import types as wire
from pilotage.engine.config import DockerProviderConfig
from pilotage.engine.pool import Pool, new_client
from tests.support.faults import Exchange, answer, behave, json_answer, puppet

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pilotage.engine.pool import SharedClient
    from tests.support.engines import Engine


@pytest.fixture
async def real(docker_engine: Engine) -> AsyncIterator[SharedClient]:
    async with Pool() as pool:
        config = DockerProviderConfig(docker_engine.host, name="local")
        async with await new_client(config, pool=pool) as client:
            yield client


def summaries(raw: list[msgspec.Raw]) -> dict[str, wire.Summary]:
    found = [msgspec.json.decode(each, type=wire.Summary) for each in raw]
    return {summary.Id: summary for summary in found}


# ---- liveness


async def test_the_date_of_the_engine_is_in_a_header() -> None:
    dated = answer("200 OK", b"{}", "Date: Thu, 01 Jan 2026 00:00:00 GMT")
    async with puppet(behave()) as engine, Pool() as pool, await new_client(engine.url, pool=pool) as client:
        assert await client.date() == ""
        engine.behaviour = behave(version=dated)
        assert await client.date() == "Thu, 01 Jan 2026 00:00:00 GMT"


# ---- lists


async def test_all_containers_are_listed_or_only_those_that_run(real: SharedClient, engine: Engine) -> None:
    running, created = engine.run("client-running"), engine.create("client-created")
    everything = summaries(await real.list_containers())
    assert everything[running].State == "running"
    assert everything[created].State == "created"
    some = summaries(await real.list_containers(all=False))
    assert running in some
    assert created not in some


async def test_containers_are_listed_by_id_and_unknown_ids_are_ignored(real: SharedClient, engine: Engine) -> None:
    one, two = engine.create("client-one"), engine.create("client-two")
    engine.create("client-three")
    assert set(summaries(await real.list_containers(ids=[one, two, "f" * 64, one]))) == {one, two}
    assert await real.list_containers(ids=["f" * 64]) == []


async def test_no_ids_mean_no_containers_and_no_request() -> None:
    async with puppet(behave()) as engine, Pool() as pool, await new_client(engine.url, pool=pool) as client:
        assert await client.list_containers(ids=[]) == []
        assert engine.requests == ["GET /version"]


async def test_many_ids_are_split_over_requests_that_socket_proxies_can_take() -> None:
    ids = [f"{number:064x}" for number in range(250)]

    async def chosen(exchange: Exchange) -> None:
        (filters,) = parse_qs(urlsplit(exchange.path).query)["filters"]
        await exchange.send(json_answer([{"Id": each} for each in json.loads(filters)["id"]]))

    async with puppet(behave(json=chosen)) as engine, Pool() as pool:
        async with await new_client(engine.url, pool=pool) as client:
            found = await client.list_containers(ids=[*ids, ids[0]])
    assert [msgspec.json.decode(each)["Id"] for each in found] == ids
    lists = [line for line in engine.requests if "containers" in line]
    assert len(lists) == 3
    assert max(map(len, lists)) < 12_000


async def test_a_list_goes_through_as_raw_slices() -> None:
    async with puppet(behave(json=answer("200 OK", b'[{ "Id" : "a" } ]'))) as engine:
        async with Pool() as pool, await new_client(engine.url, pool=pool) as client:
            (raw,) = await client.list_containers()
            assert bytes(raw) == b'{ "Id" : "a" }'


# ---- one container


async def test_a_container_is_inspected_by_id_and_by_name(real: SharedClient, engine: Engine) -> None:
    container = engine.create("client-inspect_all")
    for key in (container, container[:12], "client-inspect_all"):
        found = await real.inspect(key)
        assert (found.Id, found.Name) == (container, "/client-inspect_all")
        assert found.State is not None
        assert found.State.Status == "created"


async def test_a_missing_container_is_a_404(real: SharedClient) -> None:
    with pytest.raises(EngineRefused) as caught:
        await real.inspect("nobody")
    assert caught.value.status == 404
    assert str(caught.value) == ("local: GET /containers/nobody/json returned 404 Not Found: No such container: nobody")


async def test_containers_are_listed_a_hundred_ids_at_a_time() -> None:
    async with puppet(behave(json=json_answer([]))) as engine, Pool() as pool:
        async with await new_client(engine.url, pool=pool) as client:
            await client.list_containers(ids=[f"{number:03}" for number in range(101)])
            lists = [unquote(request) for request in engine.requests if "/containers/json" in request]
            assert [request.count('",') + 1 for request in lists] == [100, 1]


async def test_a_name_with_odd_characters_stays_one_part_of_the_path() -> None:
    async with puppet(behave(json=json_answer({"Id": "x"}))) as engine, Pool() as pool:
        async with await new_client(engine.url, pool=pool) as client:
            await client.inspect("../a?b#c")
            assert engine.requests[-1] == "GET /v1.51/containers/..%2Fa%3Fb%23c/json"


async def test_an_invalid_inspect_response_is_an_engine_error() -> None:
    async with puppet(behave(json=json_answer([1]))) as engine, Pool() as pool:
        async with await new_client(DockerProviderConfig(engine.url, name="far"), pool=pool) as client:
            with pytest.raises(
                EngineIncompatible, match="far: the response to GET /containers/x/json does not match the Engine API"
            ):
                await client.inspect("x")


# ---- commands


async def test_a_container_is_started_stopped_paused_and_killed(real: SharedClient, engine: Engine) -> None:
    container = engine.create("client-commanded")

    async def state() -> str:
        return summaries(await real.list_containers(ids=[container]))[container].State

    await real.start(container)
    assert await state() == "running"
    await real.start(container)  # again: nothing to do
    await real.pause(container)
    assert await state() == "paused"
    await real.unpause(container)
    assert await state() == "running"
    await real.stop(container)
    assert await state() == "exited"
    await real.stop(container)  # again: nothing to do
    await real.start(container)
    async with real.events(filters={"container": [container], "event": ["die"]}) as stream:
        await real.kill(container, signal="SIGKILL")
        assert (await anext(stream)).Action == "die"
    with pytest.raises(EngineRefused) as caught:
        await real.kill(container)
    assert caught.value.status in {409, 500}


async def test_commands_carry_their_options() -> None:
    done = b"HTTP/1.1 204 No Content\r\n\r\n"
    async with puppet(behave(stop=done, kill=done, start=done)) as engine, Pool() as pool:
        async with await new_client(engine.url, pool=pool) as client:
            await client.stop("a", signal="SIGINT", grace=2.6)
            await client.stop("a")
            await client.kill("a")
            await client.start("a")
    assert engine.requests[1:] == [
        "POST /v1.51/containers/a/stop?signal=SIGINT&t=3",
        "POST /v1.51/containers/a/stop",
        "POST /v1.51/containers/a/kill",
        "POST /v1.51/containers/a/start",
    ]


async def test_a_command_is_never_sent_twice() -> None:
    async def lose(exchange: Exchange) -> None:
        exchange.reset()

    async with puppet(behave(start=lose)) as engine, Pool() as pool:
        async with await new_client(engine.url, pool=pool) as client:
            with pytest.raises(Exception, match="POST /containers/a/start"):
                await client.start("a")
    assert len([line for line in engine.requests if "start" in line]) == 1


# ---- who it is


async def test_a_client_identifies_its_engine(real: SharedClient, docker_engine: Engine) -> None:
    assert real.daemon_host == docker_engine.host
    assert real.key == docker_engine.host
    assert real.kind == "docker"
    assert real.version.ApiVersion
    assert real.latency > 0
    assert repr(real).startswith(
        f"<SharedClient of local at {docker_engine.host}: docker {real.version.Version}, API 1."
    )


async def test_ping_requests_ping_and_check_connection_renegotiates() -> None:
    async with puppet(behave()) as engine, Pool() as pool, await new_client(engine.url, pool=pool) as client:
        await client.ping()
        await client.check_connection()
    assert engine.requests == ["GET /version", "GET /_ping", "GET /version"]


@pytest.mark.parametrize(
    ("element", "words"),
    [
        (b'{"Id":"1"}', "far: the engine lists more than 50,000 containers; remove stopped ones"),
        (b'{"Id":"' + b"x" * 9_000_000 + b'"}', "far: a container takes more than 4 MiB in the engine's list; shorten"),
        (b"[" * 100_000 + b"]" * 100_000, "far: the response to GET /containers/json does not match the Engine API"),
    ],
)
async def test_a_list_beyond_every_measure_is_an_error(element: bytes, words: str) -> None:
    number = 60_000 if len(element) == 10 else 1
    reply = answer("200 OK", b"[" + b",".join([element] * number) + b"]")
    async with puppet(behave(json=reply)) as engine, Pool() as pool:
        async with await new_client(DockerProviderConfig(engine.url, name="far"), pool=pool) as client:
            with pytest.raises(EngineIncompatible, match=re.escape(words)):
                await client.list_containers()
            engine.behaviour = behave()
            assert await client.list_containers() == []
