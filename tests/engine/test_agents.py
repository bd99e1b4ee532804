"""An engine behind an agent, through the real client; and what agents say about themselves."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from pilotage.core.errors import EngineError, EngineIncompatible, EngineRefused, EngineUnreachable
from pilotage.engine.agents import AgentInfo, ask_agent, distinct_name, is_before, tunnel_header
from pilotage.engine.config import DockerProviderConfig
from pilotage.engine.pool import Pool, new_client
from pilotage.testing import FakeEngine
from tests.support.agents import AgentCertificates, agent
from tests.support.waiting import until
from tests.testing.test_fake_agent import header

if TYPE_CHECKING:
    from pathlib import Path


async def test_the_engine_answers_through_its_agent(tmp_path: Path) -> None:
    async with FakeEngine() as engine, agent(engine.url, tmp_path, name="far") as (running, config), Pool() as pool:
        engine.add("web", state="exited")
        async with await new_client(config, pool=pool) as client:
            assert client.agent == AgentInfo("far", "v0.31.0", "docker")
            assert len(await client.list_containers()) == 1
            (container_id,) = engine.containers
            assert (await client.inspect(container_id)).Id == container_id
            await client.start(container_id)
            assert engine.calls["start"] == 1
            assert running.calls["info"] == 1
            assert client.daemon_host == f"tcp://{running.address}"


async def test_a_list_does_not_wait_for_the_first_event(tmp_path: Path) -> None:
    async with FakeEngine() as engine, agent(engine.url, tmp_path) as (_, config), Pool() as pool:
        async with await new_client(config, pool=pool) as client, client.events() as stream:
            assert not stream.is_confirmed
            assert await client.list_containers() == []
            await engine.until(lambda: engine.streams == 1)
            engine.add("web")
            event = await anext(stream)
            assert event.Action == "create"
            assert stream.is_confirmed


async def test_a_subscription_without_an_event_ends_cleanly(tmp_path: Path) -> None:
    async with FakeEngine() as engine, agent(engine.url, tmp_path) as (_, config), Pool() as pool:
        async with await new_client(config, pool=pool) as client, client.events():
            await engine.until(lambda: engine.streams == 1)
        await engine.until(lambda: engine.streams == 0)


async def test_a_subscription_that_is_cancelled_while_it_begins_is_not_left_open(tmp_path: Path) -> None:
    async with FakeEngine() as engine, agent(engine.url, tmp_path) as (_, config), Pool() as pool:
        async with await new_client(config, pool=pool) as client:
            before = asyncio.all_tasks()
            beginning = asyncio.create_task(client.events().__aenter__())
            await asyncio.sleep(0)
            beginning.cancel()
            await asyncio.wait([beginning])
            await until(lambda: asyncio.all_tasks() <= before)


async def test_the_loss_of_an_agent_ends_a_subscription_that_has_had_no_event(tmp_path: Path) -> None:
    async with FakeEngine() as engine, agent(engine.url, tmp_path) as (running, config), Pool() as pool:
        async with await new_client(config, pool=pool) as client, client.events() as stream:
            await engine.until(lambda: engine.streams == 1)
            waiting = asyncio.ensure_future(anext(stream))
            await asyncio.sleep(0)
            await running.crash()
            with pytest.raises(EngineUnreachable):
                await waiting


async def test_the_agent_checks_a_target(tmp_path: Path) -> None:
    async with FakeEngine(tcp=True) as engine, agent(engine.url, tmp_path) as (running, config), Pool() as pool:
        async with await new_client(config, pool=pool) as client:
            query = {"scheme": "tcp", "host": engine.url.removeprefix("tcp://"), "path": "/"}
            assert (await client.agent_health(query, timeout=5)).healthy
            await client.list_containers()
            assert running.calls["info"] == 1  # its own response does not look like another engine's


async def test_an_agent_that_never_answers_is_unreachable(tmp_path: Path) -> None:
    from pilotage.engine.connection import Timeouts

    async with FakeEngine() as engine, agent(engine.url, tmp_path) as (running, config):
        async with Pool(Timeouts(connect=0.5, request=0.5)) as pool:
            running.is_silent = True
            with pytest.raises(EngineUnreachable, match="no response"):
                await new_client(config, pool=pool)


async def test_an_agent_of_another_ca_is_not_trusted(tmp_path: Path) -> None:
    async with FakeEngine() as engine, agent(engine.url, tmp_path) as (running, config), Pool() as pool:
        path = AgentCertificates().write_zip(tmp_path / "other.zip")
        assert config.tls is not None
        other = msgspec.structs.replace(config, tls=msgspec.structs.replace(config.tls, zip_file=str(path)))
        with pytest.raises(EngineUnreachable, match=r"was not issued by the CA in .*other.zip.*use the archive"):
            await new_client(other, pool=pool)
        assert running.calls["engine"] == 0


async def test_an_expired_ca_is_not_taken_for_an_expired_certificate(tmp_path: Path) -> None:
    async with FakeEngine() as engine, agent(engine.url, tmp_path) as (running, config):
        AgentCertificates(expired=True).write_zip(tmp_path / "certs" / f"{running.address}.zip")
        async with Pool() as pool:
            with pytest.raises(EngineUnreachable, match=r"^[^;]*a CA of the certificate of .* expired; renew the CA"):
                await new_client(config, pool=pool)


async def test_an_archive_that_is_replaced_is_used_for_the_next_connection(tmp_path: Path) -> None:
    first, second = AgentCertificates(), AgentCertificates()
    async with FakeEngine() as engine, agent(engine.url, tmp_path, certificates=first) as (running, config):
        async with Pool() as pool:
            async with await new_client(config, pool=pool) as client:
                await client.ping()
                await running.crash()
                assert config.tls is not None
                from pathlib import Path

                second.write_zip(Path(config.tls.zip_file))
                running.use(second.server_context(tmp_path))
                await running.listen()
                await client.ping()


# ---- what an agent says about itself


async def ask(answers: dict[str, bytes]) -> AgentInfo:
    async def get(path: str) -> bytes:
        name = path.removeprefix("/godoxy/agent/")
        if name not in answers:
            raise EngineRefused("far", "page not found", status=404)
        return answers[name]

    return await ask_agent(get, "far")


async def test_an_old_agent_is_asked_in_three_questions() -> None:
    found = await ask({"name": b"old\n", "version": b"v0.17.2", "runtime": b"podman"})
    assert found == AgentInfo("old", "v0.17.2", "podman", tunnels=False)
    assert not found.has_options


async def test_the_first_agents_knew_only_docker() -> None:
    assert (await ask({"name": b"old", "version": b"v0.10.0"})).runtime == "docker"


@pytest.mark.parametrize(
    ("answers", "why"),
    [
        ({}, "it has neither /info nor /name"),
        ({"info": b"<html>"}, "its response to /info does not come from one"),
        ({"info": b'{"name":"a","version":"v1.0.0","runtime":"nerdctl"}'}, "its runtime is 'nerdctl'"),
    ],
)
async def test_a_server_that_is_no_agent_is_incompatible(answers: dict[str, bytes], why: str) -> None:
    with pytest.raises(EngineIncompatible, match=why):
        await ask(answers)


async def test_an_error_of_an_agent_is_not_taken_for_an_old_one() -> None:
    async def get(_: str) -> bytes:
        raise EngineRefused("far", "out of order", status=500)

    with pytest.raises(EngineError, match="out of order"):
        await ask_agent(get, "far")


@pytest.mark.parametrize("name", ["a\u001b[31m", "x" * 65, "", "a/b"])
async def test_a_name_that_cannot_be_shown_counts_as_none(name: str) -> None:
    assert (await ask({"info": msgspec.json.encode({"name": name, "version": "?", "runtime": "docker"})})).name == ""


@pytest.mark.parametrize(
    ("version", "expected"), [("v0.18.5", True), ("0.18.6", False), ("v0.31.0-rc1", False), ("dev", False)]
)
def test_versions_are_compared_as_numbers(version: str, expected: bool) -> None:
    assert is_before(version, (0, 18, 6)) is expected


@pytest.mark.parametrize(("wanted", "expected"), [("free", "free"), ("one", "one@h:1"), ("one!", "one@h:1!")])
def test_two_agents_with_one_name_get_different_names(wanted: str, expected: str) -> None:
    config: Any = DockerProviderConfig("agent://h:1")
    assert distinct_name(wanted, config, {"one", "one!"}) == expected


@pytest.mark.parametrize(("wanted", "taken"), [("one", "one!"), ("one!", "one")])
def test_an_agent_does_not_pass_for_an_engine_whose_name_ends_in_an_exclamation_mark(wanted: str, taken: str) -> None:
    config: Any = DockerProviderConfig("agent://h:1")
    assert distinct_name(wanted, config, {taken}) == wanted.replace("one", "one@h:1")


def test_the_header_of_a_tunnel_is_the_one_that_agents_expect() -> None:
    assert tunnel_header("10.0.0.3", 22) == header("10.0.0.3", 22)
    assert len(tunnel_header("x" * 255, 65535, probe=True)) == 275
