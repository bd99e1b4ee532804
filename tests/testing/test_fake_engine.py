"""The fake engine as a client meets it: over a socket, with a real HTTP client."""

from __future__ import annotations

import asyncio
import json
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from pilotage.testing import FakeEngine, container

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Client:
    """Speaks to an engine; every answer is read whole."""

    def __init__(self, engine: FakeEngine) -> None:
        unix = engine.url.startswith("unix://")
        connector = aiohttp.UnixConnector(engine.url.removeprefix("unix://")) if unix else None
        self.base = "http://engine" if unix else engine.url.replace("tcp://", "http://")
        self.session = aiohttp.ClientSession(connector=connector, trust_env=False)

    async def get(self, path: str, **query: str) -> tuple[int, Any]:
        async with self.session.get(self.base + path, params=query) as answer:
            text = await answer.text()
            return answer.status, json.loads(text) if answer.content_type == "application/json" else text

    async def events(self, **query: str) -> aiohttp.ClientResponse:
        return await self.session.get(self.base + "/events", params=query, timeout=aiohttp.ClientTimeout())


@pytest.fixture
async def fake() -> AsyncIterator[FakeEngine]:
    async with FakeEngine([container("web")], api="1.45") as engine:
        yield engine


@pytest.fixture
async def client(fake: FakeEngine) -> AsyncIterator[Client]:
    made = Client(fake)
    yield made
    await made.session.close()


async def actions(stream: aiohttp.ClientResponse, count: int) -> list[str]:
    return [json.loads(await stream.content.readline())["Action"] for _ in range(count)]


async def test_a_client_lists_and_inspects_and_every_call_is_counted(fake: FakeEngine, client: Client) -> None:
    assert await client.get("/_ping") == (200, "OK")
    status, version = await client.get("/version")
    assert (status, version["ApiVersion"]) == (200, "1.45")
    status, entries = await client.get("/v1.45/containers/json", all="1")
    ident = entries[0]["Id"]
    await client.get("/v1.45/containers/json", filters=json.dumps({"id": [ident]}))
    assert (await client.get(f"/containers/{ident}/json"))[1]["Name"] == "/web"
    assert (await client.get("/info"))[0] == 404
    assert fake.calls == {"ping": 1, "version": 1, "list": 1, "list:id": 1, "inspect": 1, "other": 1}
    assert fake.requests[:3] == [("GET", "/_ping"), ("GET", "/version"), ("GET", "/v1.45/containers/json?all=1")]


async def test_a_tcp_engine_is_reached_at_its_url() -> None:
    async with FakeEngine(tcp=True) as fake:
        client = Client(fake)
        assert await client.get("/_ping") == (200, "OK")
        await client.session.close()


async def test_a_socket_at_a_given_path_is_removed_afterwards(tmp_path: Path) -> None:
    async with FakeEngine(socket=tmp_path / "engine.sock") as fake:
        assert fake.url == f"unix://{tmp_path}/engine.sock"
        assert (tmp_path / "engine.sock").exists()
    assert not (tmp_path / "engine.sock").exists()


async def test_a_closed_engine_leaves_nothing_behind() -> None:
    async with FakeEngine() as fake:
        folder = Path(fake.url.removeprefix("unix://")).parent
        assert folder.is_dir()
    assert not folder.exists()
    assert fake.connections == 0


async def test_a_stream_gets_new_events(fake: FakeEngine, client: Client) -> None:
    fake.die("web")
    stream = await client.events(filters='{"type":["container"]}')
    await fake.until(lambda: fake.streams == 1)
    fake.start("web")
    fake.stop("web")
    assert await actions(stream, 4) == ["start", "kill", "stop", "die"]
    stream.close()
    await fake.until(lambda: fake.streams == 0)


async def test_a_stream_with_since_begins_with_the_past(fake: FakeEngine, client: Client) -> None:
    fake.pause("web")
    stream = await client.events(since="0")
    fake.unpause("web")
    assert await actions(stream, 2) == ["pause", "unpause"]
    stream.close()


async def test_a_stream_until_now_ends_by_itself(fake: FakeEngine, client: Client) -> None:
    fake.pause("web")
    stream = await client.events(since="0", until=str(int(time.time()) + 1))
    assert [json.loads(line)["Action"] for line in (await stream.read()).splitlines()] == ["pause"]
    assert fake.streams == 0


async def test_podman_sends_almost_nothing_for_a_past_period() -> None:
    async with FakeEngine([container("web")], flavour="podman") as fake:
        client = Client(fake)
        fake.pause("web")
        stream = await client.events(since="0", until="1")
        assert await stream.read() == b""
        await client.session.close()


async def test_posts_change_the_state_and_send_events(fake: FakeEngine, client: Client) -> None:
    stream = await client.events(filters='{"event":["stop"]}')
    async with client.session.post(client.base + "/v1.45/containers/web/stop?t=1") as answer:
        assert answer.status == 204
    assert await actions(stream, 1) == ["stop"]
    assert fake.calls["stop"] == 1
    assert (await client.get("/containers/web/json"))[1]["State"]["Status"] == "exited"
    stream.close()


# Faults.


async def test_cut_streams_are_aborted(fake: FakeEngine, client: Client) -> None:
    stream = await client.events()
    await fake.until(lambda: fake.streams == 1)
    fake.cut_events()
    with pytest.raises(aiohttp.ClientError):
        await stream.read()
    await fake.until(lambda: fake.streams == 0)


async def test_ended_streams_end_cleanly_and_keep_the_connection(fake: FakeEngine, client: Client) -> None:
    stream = await client.events()
    await fake.until(lambda: fake.streams == 1)
    fake.end_events()
    assert await stream.read() == b""
    assert await client.get("/_ping") == (200, "OK")
    assert fake.accepted == 1


async def test_garbled_streams_contain_invalid_events(fake: FakeEngine, client: Client) -> None:
    stream = await client.events()
    await fake.until(lambda: fake.streams == 1)
    fake.garble_events(b"{]\n")
    assert await stream.content.readline() == b"{]\n"
    stream.close()


async def test_events_are_dropped_doubled_and_reordered_on_demand(fake: FakeEngine, client: Client) -> None:
    stream = await client.events()
    await fake.until(lambda: fake.streams == 1)
    fake.drop_events()
    fake.pause("web")
    fake.duplicate_events()
    fake.unpause("web")
    fake.reorder_events(2)
    fake.pause("web")
    fake.unpause("web")
    assert await actions(stream, 4) == ["unpause", "unpause", "unpause", "pause"]
    stream.close()


async def test_a_stalled_engine_is_silent_until_it_resumes(fake: FakeEngine, client: Client) -> None:
    stream = await client.events()
    await fake.until(lambda: fake.streams == 1)
    fake.stall()
    fake.pause("web")
    asked = asyncio.create_task(client.get("/_ping"))
    await fake.until(lambda: fake.connections == 2)
    assert "ping" not in fake.calls
    fake.resume()
    assert await asked == (200, "OK")
    assert await actions(stream, 1) == ["pause"]
    stream.close()


async def test_an_engine_that_hangs_up_answers_nothing_until_healed(fake: FakeEngine, client: Client) -> None:
    fake.hang_up()
    with pytest.raises(aiohttp.ClientError):
        await client.get("/_ping")
    fake.heal()
    assert await client.get("/_ping") == (200, "OK")


@pytest.mark.parametrize(("missing", "error"), [(False, ConnectionRefusedError), (True, FileNotFoundError)])
async def test_an_engine_that_refuses_may_leave_its_socket_or_not(
    fake: FakeEngine, client: Client, missing: bool, error: type[OSError]
) -> None:
    fake.refuse(missing=missing)
    with pytest.raises(aiohttp.ClientConnectorError) as caught:
        await client.get("/_ping")
    assert isinstance(caught.value.os_error, error)
    await fake.listen()
    assert await client.get("/_ping") == (200, "OK")


async def test_a_spoilt_endpoint_returns_errors_a_given_number_of_times(fake: FakeEngine, client: Client) -> None:
    fake.spoil("list", status=500, message="disk on fire", times=1)
    assert await client.get("/containers/json") == (500, {"message": "disk on fire"})
    assert (await client.get("/containers/json"))[0] == 200


async def test_a_spoilt_response_can_be_anything(fake: FakeEngine, client: Client) -> None:
    fake.spoil("list", body=b"<html>", status=403, kind="text/html")
    assert await client.get("/containers/json") == (403, "<html>")
    fake.heal()
    assert (await client.get("/containers/json"))[0] == 200


async def test_a_response_can_be_cut_short(fake: FakeEngine, client: Client) -> None:
    fake.spoil("list", cut_after=10)
    with pytest.raises(aiohttp.ClientPayloadError):
        await client.get("/containers/json")


async def test_a_connection_can_be_reset(fake: FakeEngine, client: Client) -> None:
    fake.spoil("version", reset=True)
    with pytest.raises((aiohttp.ClientOSError, aiohttp.ServerDisconnectedError)):
        await client.get("/version")


async def test_a_response_can_be_withheld(fake: FakeEngine, client: Client) -> None:
    fake.spoil("version", hang=True)
    asked = asyncio.create_task(client.get("/version"))
    await fake.until(lambda: fake.calls["version"] == 1)
    assert (await client.get("/_ping"))[0] == 200  # others are answered meanwhile
    assert not asked.done()
    asked.cancel()


async def test_a_delayed_response_is_correct(fake: FakeEngine, client: Client) -> None:
    fake.spoil("version", delay=0.02)
    assert (await client.get("/version"))[0] == 200


async def test_a_crashed_docker_has_forgotten_its_events_and_may_come_back_as_another_version(
    fake: FakeEngine, client: Client
) -> None:
    fake.pause("web")
    url = fake.url
    stream = await client.events()
    fake.crash()
    with pytest.raises(aiohttp.ClientError):
        await stream.read()
    with pytest.raises(aiohttp.ClientConnectorError):
        await client.get("/_ping")
    await fake.recover(api="1.52")
    assert fake.url == url
    assert (await client.get("/version"))[1]["MinAPIVersion"] == "1.44"
    assert list(fake.hub.replay(0, None)) == []
    assert "Health" in (await client.get("/containers/json"))[1][0]


async def test_a_crashed_podman_remembers_its_events() -> None:
    async with FakeEngine([container("web")], flavour="podman") as fake:
        fake.pause("web")
        fake.crash()
        await fake.recover()
        assert [event.action for event in fake.hub.replay(0, None)] == ["pause"]


async def test_waiting_for_a_condition_times_out() -> None:
    async with FakeEngine() as fake:
        with pytest.raises(TimeoutError):
            await fake.until(lambda: fake.streams == 1, timeout=0.01)


def test_an_engine_says_what_it_is() -> None:
    assert repr(FakeEngine([container("web")])) == "<FakeEngine docker 20.10.24 with 1 containers>"


async def test_many_engines_and_many_containers_fit_into_one_process() -> None:
    engines = [FakeEngine([container(f"c{number}") for number in range(50)]) for _ in range(40)]
    try:
        await asyncio.gather(*(engine.listen() for engine in engines))
        clients = [Client(engine) for engine in engines]
        answers = await asyncio.gather(*(client.get("/containers/json") for client in clients))
        assert {len(entries) for _, entries in answers} == {50}
        await asyncio.gather(*(client.session.close() for client in clients))
    finally:
        await asyncio.gather(*(engine.close() for engine in engines))


def test_the_example_in_the_documentation_works(capsys: pytest.CaptureFixture[str]) -> None:
    page = (Path(__file__).parent.parent.parent / "docs" / "reference" / "testing.md").read_text()
    code, prints = re.findall(r"^```(?:python|text)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    exec(compile(code, "docs/reference/testing.md", "exec"), {})
    assert capsys.readouterr().out == prints
