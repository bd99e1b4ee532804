from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from envoy.service.auth.v3 import external_auth_pb2

from pilotage.request_service import RequestService
from tests.support.waiting import until

if TYPE_CHECKING:
    import pytest

    from pilotage.request_service.asked import Asked


def check(service: str, route: str = "route/a") -> Any:
    return external_auth_pb2.CheckRequest(attributes={"context_extensions": {"service": service, "route": route}})


async def passes(_: Asked) -> Any:
    return external_auth_pb2.CheckResponse()


async def test_the_named_middleware_answers() -> None:
    assert await RequestService({"oidc": passes}).check(check("oidc")) == await passes(None)  # type: ignore[arg-type]


async def test_a_check_that_nobody_can_answer_is_refused() -> None:
    answer = await RequestService({"oidc": passes}).check(check("other"))
    assert answer.denied_response.status.code == 503
    assert answer.status.code != 0


async def test_a_failure_is_a_refusal_and_is_reported_once(caplog: pytest.LogCaptureFixture) -> None:
    async def fails(_: Asked) -> Any:
        raise RuntimeError("secret")

    service = RequestService({"oidc": fails})
    with caplog.at_level(logging.INFO):
        answers = [await service.check(check("oidc")) for _ in range(3)]
    assert [it.denied_response.status.code for it in answers] == [503] * 3
    assert [it.message for it in caplog.records] == [
        "requests are refused, because the middleware oidc failed: RuntimeError"
    ]


async def test_a_check_without_an_answer_in_time_is_refused() -> None:
    async def hangs(_: Asked) -> Any:
        await asyncio.Event().wait()

    answer = await RequestService({"oidc": hangs}, longest=0.01).check(check("oidc"))
    assert (answer.denied_response.status.code, "in time" in answer.denied_response.body) == (503, True)


async def test_checks_beyond_the_limit_are_refused_at_once() -> None:
    go = asyncio.Event()
    running: list[Asked] = []

    async def waits(asked: Asked) -> Any:
        running.append(asked)
        await go.wait()
        return external_auth_pb2.CheckResponse()

    service = RequestService({"oidc": waits}, most=4)
    tasks = [asyncio.create_task(service.check(check("oidc"))) for _ in range(2)]
    await until(lambda: len(running) == 2)
    refused = await service.check(check("oidc"))
    assert refused.denied_response.status.code == 503
    go.set()
    assert [(await task).status.code for task in tasks] == [0, 0]
    assert (await service.check(check("oidc"))).status.code == 0


async def test_checks_of_one_route_leave_places_for_others() -> None:
    go = asyncio.Event()
    running: list[str] = []

    async def waits(asked: Asked) -> Any:
        running.append(asked.route)
        await go.wait()
        return external_auth_pb2.CheckResponse()

    service = RequestService({"oidc": waits}, most=8)
    tasks = [asyncio.create_task(service.check(check("oidc", it))) for it in ["route/a"] * 20 + ["route/b"] * 20]
    tasks.append(asyncio.create_task(service.check(check("oidc", "route/c"))))
    await until(lambda: len(running) + sum(task.done() for task in tasks) == len(tasks))
    assert running == ["route/a"] * 4 + ["route/b"] * 2 + ["route/c"]
    go.set()
    assert [(await task).status.code for task in tasks].count(0) == 7
    assert (await service.check(check("oidc", "route/a"))).status.code == 0
