"""The pool's promises: on virtual time with a connection that only counts, and once in real time on a real engine."""

from __future__ import annotations

import asyncio
import random
import re
from typing import TYPE_CHECKING

import pytest

from pilotage.core.errors import ConfigError, EngineError, EngineUnreachable
from pilotage.engine.address import Address, DockerProviderConfig, TLSFiles, parse_address
from pilotage.engine.connection import Connection, Timeouts
from pilotage.engine.pool import Pool, SharedClient, clients, close_default_pool, default_pool, new_client
from tests.support.counting import CountingConnection
from tests.support.leaks import assert_no_leaks, descriptors
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.engines import Engine

A = Address("unix", path="/a.sock")
B = Address("unix", path="/b.sock")


@pytest.fixture(autouse=True)
def _fresh() -> None:
    CountingConnection.made = []
    CountingConnection.delay = 1.0
    CountingConnection.failures = 0
    CountingConnection.failed = asyncio.Event()


@pytest.fixture
async def pool() -> AsyncIterator[Pool]:
    async with Pool(connect=CountingConnection) as pool:
        yield pool


def made() -> list[CountingConnection]:
    return CountingConnection.made


def now() -> float:
    return asyncio.get_running_loop().time()


# ---- sharing


@pytest.mark.looptime
async def test_the_same_address_shares_one_connection(pool: Pool) -> None:
    async with await pool.get(A) as first, await pool.get(A) as second:
        assert first is not second
        assert first._connection is second._connection
    assert len(made()) == 1


@pytest.mark.looptime
async def test_different_addresses_and_different_certificate_files_share_nothing(pool: Pool) -> None:
    plain = Address("tls", host="h", port=2376)
    files = Address("tls", host="h", port=2376, tls=TLSFiles(ca_file="/ca.pem"))
    others = Address("tls", host="h", port=2376, tls=TLSFiles(ca_file="/other.pem"))
    held = [await pool.get(address) for address in (A, B, plain, files, others)]
    assert len({client.key for client in held}) == len(made()) == 5
    for client in held:
        await client.close()


@pytest.mark.looptime
async def test_a_unique_client_is_never_shared_and_closes_at_once(pool: Pool) -> None:
    async with await pool.get(A), await pool.get(A, unique=True) as one, await pool.get(A, unique=True) as two:
        assert len(made()) == 3
        assert one.unique
        assert two.unique
        async with pool.all() as held:
            assert len(held) == 1
    assert [connection.closed for connection in made()] == [False, True, True]


@pytest.mark.looptime
async def test_concurrent_first_calls_connect_once(pool: Pool) -> None:
    held = await asyncio.gather(*(pool.get(A) for _ in range(50)))
    assert len(made()) == 1
    assert made()[0].opened == 1
    for client in held:
        await client.close()


@pytest.mark.looptime
async def test_each_handle_reports_errors_under_the_name_it_was_asked_by(pool: Pool) -> None:
    CountingConnection.failures = 1
    one, two = await asyncio.gather(pool.get(A, "one"), pool.get(A, "two"), return_exceptions=True)
    assert str(one) == "one: no luck"
    assert str(two) == "two: no luck"


# ---- failures


@pytest.mark.looptime
async def test_a_failed_creation_fails_all_who_wait_and_is_not_kept(pool: Pool) -> None:
    CountingConnection.failures = 1
    results = await asyncio.gather(*(pool.get(A) for _ in range(3)), return_exceptions=True)
    assert all(isinstance(result, EngineUnreachable) for result in results)
    assert made()[0].closed
    async with await pool.get(A):
        assert len(made()) == 2


@pytest.mark.looptime
async def test_a_failed_unique_creation_leaves_nothing_open(pool: Pool) -> None:
    CountingConnection.failures = 1
    with pytest.raises(EngineUnreachable):
        await pool.get(A, unique=True)
    assert made()[0].closed


@pytest.mark.looptime
async def test_who_comes_in_the_moment_of_a_failure_starts_anew(pool: Pool) -> None:
    CountingConnection.failures = 1
    first = asyncio.create_task(pool.get(A))
    await asyncio.sleep(0.5)
    second = asyncio.create_task(_get_when_failed(pool))
    with pytest.raises(EngineUnreachable):
        await first
    async with await second:
        assert not made()[-1].closed


async def _get_when_failed(pool: Pool) -> SharedClient:
    await CountingConnection.failed.wait()
    return await pool.get(A)


# ---- counting and idling


@pytest.mark.looptime
async def test_the_connection_closes_when_ten_seconds_idle_have_passed_and_no_sooner(pool: Pool) -> None:
    client = await pool.get(A)
    await asyncio.sleep(1000)
    assert not made()[0].closed
    await client.close()
    released = now()
    await asyncio.sleep(9.99)
    assert not made()[0].closed
    await asyncio.sleep(0.02)
    closed = made()[0].closed_at
    assert closed is not None
    assert closed - released == pytest.approx(10)


@pytest.mark.looptime
async def test_a_request_in_time_revives_an_idle_connection_and_the_ten_seconds_start_again(pool: Pool) -> None:
    await (await pool.get(A)).close()
    await asyncio.sleep(9.9)
    revived = await pool.get(A)
    assert len(made()) == 1
    await asyncio.sleep(20)
    assert not made()[0].closed
    await revived.close()
    await asyncio.sleep(9.9)
    assert not made()[0].closed
    await asyncio.sleep(0.2)
    assert made()[0].closed


@pytest.mark.looptime
async def test_only_the_last_release_starts_the_idle_time(pool: Pool) -> None:
    first, second = await pool.get(A), await pool.get(A)
    await first.close()
    await asyncio.sleep(60)
    assert not made()[0].closed
    await second.close()
    await asyncio.sleep(11)
    assert made()[0].closed


@pytest.mark.looptime
async def test_a_request_after_the_idle_time_connects_anew(pool: Pool) -> None:
    await (await pool.get(A)).close()
    await asyncio.sleep(11)
    await (await pool.get(A)).close()
    assert [connection.closed for connection in made()] == [True, False]


@pytest.mark.looptime
async def test_releasing_twice_raises_and_does_not_release_for_others(pool: Pool) -> None:
    keeper, client = await pool.get(A), await pool.get(A, "me")
    await client.close()
    with pytest.raises(RuntimeError, match="the client of me was released twice"):
        await client.close()
    await asyncio.sleep(60)
    assert not made()[0].closed
    await keeper.close()


@pytest.mark.looptime
async def test_a_unique_client_released_twice_raises(pool: Pool) -> None:
    client = await pool.get(A, unique=True)
    await client.close()
    with pytest.raises(RuntimeError, match="released twice"):
        await client.close()


@pytest.mark.looptime
async def test_a_released_client_refuses_to_work(pool: Pool) -> None:
    client = await pool.get(A)
    await client.close()
    for use in (client.ping, client.list_containers, client.check_connection):
        with pytest.raises(RuntimeError, match="used after its release"):
            await use()
    with pytest.raises(RuntimeError, match="used after its release"):
        client.events()


@pytest.mark.looptime
async def test_a_client_that_is_forgotten_is_reported(pool: Pool) -> None:
    held = [await pool.get(A, "lost")]
    with pytest.warns(ResourceWarning, match="lost"):
        held.clear()


# ---- all clients


@pytest.mark.looptime
async def test_all_clients_come_with_a_reference_each_idle_ones_included(pool: Pool) -> None:
    await (await pool.get(A)).close()
    busy = await pool.get(B)
    await asyncio.sleep(5)
    async with pool.all() as held:
        assert [client.key for client in held] == ["unix:///a.sock", "unix:///b.sock"]
        await asyncio.sleep(60)
        assert not any(connection.closed for connection in made())
    await asyncio.sleep(11)
    assert [connection.closed for connection in made()] == [True, False]
    await busy.close()


@pytest.mark.looptime
async def test_of_all_clients_those_released_one_by_one_are_not_released_again(pool: Pool) -> None:
    await (await pool.get(A)).close()
    async with pool.all() as held:
        await held[0].close()


@pytest.mark.looptime
async def test_a_client_that_still_connects_is_not_among_all(pool: Pool) -> None:
    task = asyncio.create_task(pool.get(A))
    await asyncio.sleep(0.5)
    assert pool.all() == []
    await (await task).close()


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
    await asyncio.sleep(11)
    assert made()[0].closed


@pytest.mark.looptime
async def test_when_the_last_waiter_is_cancelled_so_is_the_attempt_and_nothing_is_left(pool: Pool) -> None:
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
async def test_a_waiter_cancelled_in_the_moment_of_success_holds_nothing(pool: Pool) -> None:
    for moment in (0.999, 1.0, 1.001):
        task = asyncio.create_task(pool.get(A))
        await asyncio.sleep(moment)
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            await task.result().close()
        await asyncio.sleep(11)
        assert made()[-1].closed


@pytest.mark.looptime
async def test_a_waiter_cancelled_after_another_has_connected_and_left_lets_the_connection_rest(pool: Pool) -> None:
    async def leave_at_once() -> None:
        await (await pool.get(A)).close()
        late.cancel()

    quick, late = asyncio.create_task(leave_at_once()), asyncio.create_task(pool.get(A))
    await asyncio.wait([quick, late])
    assert late.cancelled()
    assert not made()[0].closed
    await asyncio.sleep(11)
    assert made()[0].closed


@pytest.mark.looptime
@pytest.mark.parametrize("seed", range(30))
async def test_whatever_the_order_of_getting_cancelling_and_releasing_nothing_stays_open(pool: Pool, seed: int) -> None:
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
    await asyncio.sleep(11)
    assert all(connection.closed for connection in made())
    assert not pool._entries
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
    await asyncio.sleep(11)
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.looptime
async def test_who_is_connecting_when_the_pool_closes_is_told_so() -> None:
    pool = Pool(connect=CountingConnection)
    tasks = [asyncio.create_task(pool.get(A)), asyncio.create_task(pool.get(B, unique=True))]
    await asyncio.sleep(0.5)
    await pool.close()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results] == [EngineUnreachable, EngineUnreachable]
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.looptime
async def test_the_repr_of_a_client_reads_like_a_sentence(pool: Pool) -> None:
    client = await pool.get(A, "local")
    assert repr(client) == "<SharedClient of local at unix:///a.sock: docker, API unknown, shared>"
    await client.close()
    assert repr(client) == "<SharedClient of local at unix:///a.sock: released>"
    assert repr(pool) == "<Pool of 1 engine>"


# ---- new_client and the default pool


async def test_a_client_of_no_address_is_a_configuration_error() -> None:
    with pytest.raises(ConfigError, match="write tcp://h:2375"):
        await new_client("h:2375")


async def test_an_unknown_agent_is_an_error_in_our_words() -> None:
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
        await asyncio.sleep(3)
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
