"""The pool's promises: on virtual time with a connection that only counts, and once in real time on a real engine."""

from __future__ import annotations

import asyncio

import pytest

from pilotage.core.errors import EngineUnreachable
from pilotage.engine.address import Address
from pilotage.engine.config import TLSFiles
from pilotage.engine.connection import Timeouts
from pilotage.engine.pool import Pool, SharedClient
from tests.support.counting import A, B, CountingConnection, made, now
from tests.support.waiting import pass_time

pytestmark = pytest.mark.usefixtures("counting")

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


@pytest.mark.looptime
@pytest.mark.parametrize("unique", [False, True])
async def test_a_client_has_its_own_limits_or_else_those_of_the_pool(counting: None, *, unique: bool) -> None:
    common, own = Timeouts(connect=3, request=7), Timeouts(request=9)
    async with Pool(common, connect=CountingConnection) as pool:
        assert pool.timeouts is common
        for address, limits in ((A, None), (B, own)):
            async with await pool.get(address, "me", unique=unique, timeouts=limits) as client:
                assert client.timeouts is (limits or common)
                assert client.name == "me"
                assert made()[-1]._timeouts is (limits or common)  # also for the first contact
        async with pool.all() as held:
            assert {client.timeouts for client in held} == (set() if unique else {common})
    async with Pool(connect=CountingConnection) as pool:
        assert pool.timeouts == Timeouts()


@pytest.mark.looptime
async def test_without_a_name_an_engine_is_called_by_its_url(pool: Pool) -> None:
    for unique in (False, True):
        CountingConnection.failures = 1
        with pytest.raises(EngineUnreachable, match=r"^unix:///a\.sock: no luck"):
            await pool.get(A, unique=unique)
    CountingConnection.failures = 1
    with pytest.raises(EngineUnreachable, match=r"^me: no luck"):
        await pool.get(A, "me", unique=True)


# ---- failures


@pytest.mark.looptime
async def test_a_failed_connection_fails_all_waiters_and_is_not_kept(pool: Pool) -> None:
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
async def test_a_caller_that_arrives_at_the_moment_of_failure_starts_a_new_attempt(pool: Pool) -> None:
    CountingConnection.failures = 1
    first = asyncio.create_task(pool.get(A))
    await pass_time(0.5)
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
    await pass_time(1000)
    assert not made()[0].closed
    await client.close()
    released = now()
    await pass_time(9.99)
    assert not made()[0].closed
    await pass_time(0.02)
    closed = made()[0].closed_at
    assert closed is not None
    assert closed - released == pytest.approx(10)


@pytest.mark.looptime
async def test_a_request_in_time_revives_an_idle_connection_and_the_ten_seconds_start_again(pool: Pool) -> None:
    await (await pool.get(A)).close()
    await pass_time(9.9)
    revived = await pool.get(A)
    assert len(made()) == 1
    await pass_time(20)
    assert not made()[0].closed
    await revived.close()
    await pass_time(9.9)
    assert not made()[0].closed
    await pass_time(0.2)
    assert made()[0].closed


@pytest.mark.looptime
async def test_only_the_last_release_starts_the_idle_time(pool: Pool) -> None:
    first, second = await pool.get(A), await pool.get(A)
    await first.close()
    await pass_time(60)
    assert not made()[0].closed
    await second.close()
    await pass_time(11)
    assert made()[0].closed


@pytest.mark.looptime
async def test_a_request_after_the_idle_time_opens_a_new_connection(pool: Pool) -> None:
    await (await pool.get(A)).close()
    await pass_time(11)
    await (await pool.get(A)).close()
    assert [connection.closed for connection in made()] == [True, False]


@pytest.mark.looptime
async def test_releasing_twice_raises_and_does_not_release_for_others(pool: Pool) -> None:
    keeper, client = await pool.get(A), await pool.get(A, "me")
    await client.close()
    with pytest.raises(RuntimeError, match="the client of me was released twice"):
        await client.close()
    await pass_time(60)
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
async def test_a_client_that_is_never_released_is_reported(pool: Pool) -> None:
    held = [await pool.get(A, "lost")]
    with pytest.warns(ResourceWarning, match="lost") as caught:
        held.clear()
    assert isinstance(caught[0].source, SharedClient)  # tracemalloc then shows where it was made


# ---- all clients


@pytest.mark.looptime
async def test_clients_returns_a_reference_to_each_engine_including_idle_ones(pool: Pool) -> None:
    await (await pool.get(A)).close()
    busy = await pool.get(B)
    await pass_time(5)
    async with pool.all() as held:
        assert [client.key for client in held] == ["unix:///a.sock", "unix:///b.sock"]
        await pass_time(60)
        assert not any(connection.closed for connection in made())
    await pass_time(11)
    assert [connection.closed for connection in made()] == [True, False]
    await busy.close()


@pytest.mark.looptime
async def test_clients_released_one_by_one_are_not_released_again(pool: Pool) -> None:
    await (await pool.get(A)).close()
    async with pool.all() as held:
        await held[0].close()


@pytest.mark.looptime
async def test_a_client_that_still_connects_is_not_among_all(pool: Pool) -> None:
    task = asyncio.create_task(pool.get(A))
    await pass_time(0.5)
    assert pool.all() == []
    await (await task).close()
