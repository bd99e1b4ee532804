from __future__ import annotations

import asyncio
import random
import re
from typing import TYPE_CHECKING

import pytest

from pilotage.core.errors import ConfigError, EngineError, EngineUnreachable
from pilotage.engine.address import parse_address
from pilotage.engine.config import DockerProviderConfig
from pilotage.engine.connection import Connection, Timeouts
from pilotage.engine.pool import Pool, SharedClient, clients, close_default_pool, default_pool, new_client
from tests.support.counting import A, B, CountingConnection, idle_connections_close, made, now
from tests.support.leaks import assert_no_leaks, descriptors
from tests.support.waiting import until

if TYPE_CHECKING:
    from tests.support.engines import Engine


pytestmark = pytest.mark.usefixtures("counting")

# ---- cancellation


@pytest.mark.looptime
async def test_a_cancelled_waiter_does_not_disturb_the_others(pool: Pool) -> None:
    tasks = [asyncio.create_task(pool.get(A)) for _ in range(3)]
    await asyncio.sleep(0.5)
    tasks[0].cancel()
    await asyncio.wait([tasks[0]])
    assert tasks[0].cancelled()
    for client in await asyncio.gather(*tasks[1:]):
        await client.close()
    assert made()[0].opened == 1
    await idle_connections_close(now())


@pytest.mark.looptime
async def test_cancelling_the_last_waiter_cancels_the_attempt(pool: Pool) -> None:
    tasks = [asyncio.create_task(pool.get(A)) for _ in range(3)]
    await asyncio.sleep(0.5)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    assert made()[0].closed
    assert asyncio.all_tasks() == {asyncio.current_task()}
    async with await pool.get(A):
        assert len(made()) == 2


@pytest.mark.looptime
async def test_a_waiter_cancelled_at_the_moment_of_success_holds_nothing(pool: Pool) -> None:
    for moment in (0.999, 1.0, 1.001):
        task = asyncio.create_task(pool.get(A))
        await asyncio.sleep(moment)
        task.cancel()
        await asyncio.wait([task])
        if task.cancelled():
            assert made()[-1].closed
        else:
            await task.result().close()
            await idle_connections_close(now())


@pytest.mark.looptime
async def test_a_waiter_cancelled_after_another_has_connected_and_left_lets_the_connection_rest(pool: Pool) -> None:
    async def leave_at_once() -> None:
        await (await pool.get(A)).close()
        late.cancel()

    quick, late = asyncio.create_task(leave_at_once()), asyncio.create_task(pool.get(A))
    await asyncio.wait([quick, late])
    assert late.cancelled()
    assert not made()[0].closed
    await idle_connections_close(now())


@pytest.mark.looptime
@pytest.mark.parametrize("seed", range(30))
async def test_no_order_of_acquiring_cancelling_and_releasing_leaks(pool: Pool, seed: int) -> None:
    dice = random.Random(seed)
    CountingConnection.failures = dice.randrange(4)

    async def user() -> None:
        await asyncio.sleep(dice.random() * 40)
        try:
            async with await pool.get(dice.choice([A, B]), unique=dice.random() < 0.1) as client:
                assert not client._connection.closed
                await asyncio.sleep(dice.random() * 15)
                assert not client._connection.closed
        except EngineError:
            pass

    tasks = [asyncio.create_task(user()) for _ in range(40)]
    for _ in range(20):
        await asyncio.sleep(dice.random() * 3)
        dice.choice(tasks).cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results if isinstance(result, Exception)] == []
    await until(lambda: all(connection.closed for connection in made()), patience=11)
    assert not pool._entries
    assert not pool._connections
    assert asyncio.all_tasks() == {asyncio.current_task()}


# ---- closing


@pytest.mark.looptime
async def test_closing_the_pool_closes_everything_and_refuses_more() -> None:
    pool = Pool(connect=CountingConnection)
    shared, unique = await pool.get(A), await pool.get(B, unique=True)
    await (await pool.get(B)).close()
    await pool.close()
    assert all(connection.closed for connection in made())
    with pytest.raises(RuntimeError, match="the pool is closed"):
        await pool.get(A)
    await shared.close()
    await unique.close()
    assert not pool._entries  # and so no timer of an idle connection
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.looptime
async def test_closing_the_pool_fails_clients_that_are_connecting() -> None:
    pool = Pool(connect=CountingConnection)
    tasks = [asyncio.create_task(pool.get(A)), asyncio.create_task(pool.get(B, unique=True))]
    await asyncio.sleep(0.5)
    await pool.close()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results] == [EngineUnreachable, EngineUnreachable]
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def _connected_by_the_second_attempt(pool: Pool) -> SharedClient:
    """Return a client whose connection a failed attempt had opened in vain."""
    CountingConnection.failures = 1
    failing = asyncio.create_task(pool.get(A))
    await CountingConnection.failed.wait()
    late = asyncio.create_task(pool.get(A))  # it arrives before the first caller learns of its failure
    with pytest.raises(EngineUnreachable):
        await failing
    return await late


@pytest.mark.looptime
async def test_a_connection_that_opens_at_the_second_attempt_belongs_to_the_pool(pool: Pool) -> None:
    client = await _connected_by_the_second_attempt(pool)
    async with await pool.get(A) as same:
        assert same._connection is client._connection
    assert len(made()) == 1
    await client.close()
    await idle_connections_close(now())


@pytest.mark.looptime
async def test_closing_the_pool_closes_a_connection_that_opened_at_the_second_attempt() -> None:
    pool = Pool(connect=CountingConnection)
    client = await _connected_by_the_second_attempt(pool)
    await pool.close()
    assert made()[0].closed
    await client.close()


@pytest.mark.looptime
async def test_a_pool_knows_only_connections_that_are_open(pool: Pool) -> None:
    CountingConnection.failures = 1
    with pytest.raises(EngineUnreachable):
        await pool.get(A)
    shared, unique = await pool.get(A), await pool.get(A, unique=True)
    assert pool._connections == {connection for connection in made() if not connection.closed}
    assert len(pool._connections) == 2
    await shared.close()
    await unique.close()
    await until(lambda: not pool._connections, patience=11)
    assert all(connection.closed for connection in made())


@pytest.mark.looptime
async def test_the_repr_of_a_client_reads_like_a_sentence(pool: Pool) -> None:
    client = await pool.get(A, "local")
    assert repr(client) == "<SharedClient of local at unix:///a.sock: docker, API unknown, shared>"
    await client.close()
    assert repr(client) == "<SharedClient of local at unix:///a.sock: released>"
    assert repr(pool) == "<Pool of 1 engine>"


# ---- new_client and the default pool


async def test_an_empty_address_is_a_configuration_error() -> None:
    with pytest.raises(ConfigError, match="write tcp://h:2375"):
        await new_client("h:2375")


async def test_an_unknown_agent_is_an_engine_error() -> None:
    with pytest.raises(EngineError, match=re.escape('agent "agent://127.0.0.1:8890" not found')):
        await new_client(DockerProviderConfig("agent://127.0.0.1:8890", name="far"))


async def test_the_default_pool_is_one_for_each_loop_and_can_be_closed() -> None:
    assert clients() == []
    pool = await default_pool()
    assert await default_pool() is pool
    await close_default_pool()
    assert await default_pool() is not pool
    await close_default_pool()
    await close_default_pool()


def test_clients_of_the_default_pool_close_with_its_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> Pool:
        pool = await default_pool()
        monkeypatch.setattr(pool, "_connect", CountingConnection)
        shared, unique = await new_client("unix:///a.sock"), await new_client("unix:///a.sock", unique=True)
        assert (shared.unique, unique.unique) == (False, True)
        async with clients() as held:
            assert len(held) == 1
        await shared.close()
        await unique.close()
        return pool

    CountingConnection.delay = 0.0
    assert asyncio.run(main())._closed
    assert [connection.closed for connection in made()] == [True, True]


@pytest.mark.looptime
async def test_a_new_client_has_the_name_and_the_limits_that_were_asked_for(pool: Pool) -> None:
    mine = Timeouts(connect=1, request=2)
    config = DockerProviderConfig("unix:///a.sock", name="local")
    for unique in (False, True):
        async with await new_client(config, pool=pool, unique=unique, timeouts=mine) as client:
            assert (client.name, client.timeouts, client.unique) == ("local", mine, unique)
    async with await new_client("unix:///a.sock", pool=pool) as client:
        assert (client.name, client.timeouts) == ("unix:///a.sock", pool.timeouts)
    async with clients(pool) as held:
        assert len(held) == 1


def test_the_default_pool_closes_with_its_loop(docker_engine: Engine) -> None:
    async def main() -> Connection:
        async with await new_client(docker_engine.host) as client:
            return client._connection

    before = descriptors()
    assert asyncio.run(main()).closed
    assert descriptors() == before


async def test_on_a_real_engine_ten_seconds_are_ten_seconds(docker_engine: Engine) -> None:
    async with assert_no_leaks(), Pool() as pool:
        client = await new_client(docker_engine.host, pool=pool)
        connection = client._connection
        await client.list_containers()
        await client.close()
        idle_since = now()
        await until(lambda: now() - idle_since > 3)
        async with clients(pool) as held:
            assert [c._connection for c in held] == [connection]
            await held[0].ping()
        released = now()
        await until(lambda: connection.closed)
        assert now() - released >= 10


async def test_the_timeouts_of_a_client_are_its_own(docker_engine: Engine) -> None:
    mine = Timeouts(connect=1, request=2)
    async with (
        Pool() as pool,
        await new_client(docker_engine.host, pool=pool, timeouts=mine) as one,
        await new_client(docker_engine.host, pool=pool) as other,
    ):
        assert (one.timeouts, other.timeouts) == (mine, Timeouts())
        assert one.key == parse_address(DockerProviderConfig(docker_engine.host)).key
