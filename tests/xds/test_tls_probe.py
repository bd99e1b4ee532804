from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING

import pytest

from pilotage.routes.route import Endpoint
from pilotage.xds.tls_probe import TlsProber, speaks_plainly
from tests.support.gateway import route, server_context, target
from tests.support.ports import free_port
from tests.support.steps import same_cost, steps_of
from tests.support.waiting import pass_time, until

if TYPE_CHECKING:
    import trustme

    from tests.xds.conftest import Envoy


async def test_a_server_that_answers_a_handshake_in_plain_text_is_found(authority: trustme.CA) -> None:
    async with target() as plain, target(ssl_context=server_context(authority, "127.0.0.1")) as secure:
        assert await speaks_plainly("127.0.0.1", plain.port) is True
        assert await speaks_plainly("127.0.0.1", secure.port) is False
    assert await speaks_plainly("127.0.0.1", free_port()) is None
    assert await speaks_plainly("no host", 443) is None
    assert await speaks_plainly("", 0) is None


@pytest.mark.looptime
async def test_a_server_that_does_not_answer_a_handshake_is_given_up_after_five_seconds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def hang(*_: object, **_more: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncio, "open_connection", hang)
    probe = asyncio.create_task(speaks_plainly("10.0.0.1", 443))
    await pass_time(4.9)
    assert not probe.done()
    await pass_time(0.2)
    assert probe.result() is None


async def test_an_endpoint_is_probed_once_and_again_only_after_it_was_gone() -> None:
    found: list[str] = []
    async with target() as plain:
        here = Endpoint("127.0.0.1", plain.port)
        prober = TlsProber(found.append)
        assert prober.update("app", [here]) == frozenset()
        assert prober.update("other", [here]) == frozenset()
        await until(lambda: found)
        assert prober.update("app", []) == frozenset()  # the other alias still uses it
        assert prober.update("other", []) == {here.address}
        prober.update("app", [here])
        await until(lambda: len(found) == 2)
        assert found == [here.address] * 2
        await prober.close()


async def test_an_endpoint_that_goes_costs_the_same_however_many_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    async def hang(*_: object, **_more: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncio, "open_connection", hang)
    costs = []
    for size in (100, 10_000):
        prober = TlsProber(lambda _: None)
        for number in range(size):
            prober.update(f"app{number}", [Endpoint("10.0.0.1", number)])
        costs.append(steps_of(functools.partial(prober.update, "app7", [])))
        await prober.close()
    assert same_cost(*costs)


async def test_an_endpoint_that_does_not_listen_yet_is_probed_until_it_does() -> None:
    found: list[str] = []
    port = free_port()
    prober = TlsProber(found.append)
    prober.update("app", [Endpoint("127.0.0.1", port)])
    await asyncio.sleep(0)
    async with target(port=port):
        await until(lambda: found == [f"127.0.0.1:{port}"])
    await prober.close()


async def test_an_https_route_to_a_plain_target_is_served_as_http_and_reported(envoy: Envoy) -> None:
    async with target("plain") as plain, envoy() as gw:
        for verify in (False, True):
            await gw.publish(route("app", plain.port, scheme="https", no_tls_verify=not verify))
            await until(lambda: gw.ads.problems)
            await gw.ads.wait_for_acks()
            answer = await gw.ask("app")
            assert (answer.status, answer.by) == (200, "plain")
            (problem,) = gw.ads.problems
            assert (problem.severity, problem.path, problem.route) == ("warning", "scheme", "app")
            await gw.publish()
            assert gw.ads.problems == ()
        assert gw.ads.snapshot.downgrade.plain == set()


async def test_settings_that_say_who_the_target_has_to_be_forbid_plain_http(envoy: Envoy) -> None:
    async with target("plain") as plain, envoy() as gw:
        await gw.publish(route("app", plain.port, scheme="https", ssl_server_name="app.internal"))
        assert gw.ads.snapshot.downgrade.https == {}
        assert (await gw.ask("app")).status == 503
