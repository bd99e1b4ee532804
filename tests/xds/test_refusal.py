from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pilotage.xds.refusal import STATUSES, Refusal, read_refusal
from tests.support.gateway import route, target

if TYPE_CHECKING:
    from tests.xds.conftest import Envoy


def read(**options: Any) -> tuple[Refusal, list[str]]:
    found: list[str] = []
    return read_refusal(options, lambda _message, _hint, option: found.append(option)), found


@pytest.mark.parametrize(
    ("options", "refusal", "wrong"),
    [
        ({}, Refusal(), []),
        ({"status": 404}, Refusal(404, "IP not allowed"), []),
        ({"statuscode": "451"}, Refusal(451, "IP not allowed"), []),
        ({"message": "no"}, Refusal(403, "no"), []),
        ({"status": 200, "message": "no"}, Refusal(403, "no"), ["status_code"]),
        ({"status": "x"}, Refusal(403, "IP not allowed"), ["status_code"]),
        ({"message": "x" * 1_001}, Refusal(403, "IP not allowed"), ["message"]),
        ({"message": ["x"]}, Refusal(403, "IP not allowed"), []),
    ],
    ids=str,
)
def test_the_response_follows_the_options(options: dict[str, Any], refusal: Refusal, wrong: list[str]) -> None:
    assert read(**options) == (refusal, wrong)


@pytest.mark.proves(
    "middlewares.cidr_whitelist.allow",
    "middlewares.cidr_whitelist.status",
    "middlewares.cidr_whitelist.status_code",
    "middlewares.cidr_whitelist.message",
)
async def test_refused_clients_get_the_response_of_the_route(envoy: Envoy) -> None:
    nowhere = {"allow": "10.0.0.0/8, fd00::/8"}
    async with target() as it, envoy() as gw:
        routes = [
            route(f"s{status}", it.port, middlewares={"cidr_whitelist": {**nowhere, "status_code": status}})
            for status in STATUSES
        ]
        message = {**nowhere, "status": 404, "message": '100% "%REQ(:path)%" <no> $x'}
        prefixed: dict[str, Any] = {"cidr_whitelist": message, "request": {"add_prefix": "/in"}}
        here = {"allow": "127.0.0.0/8", "status": 404}
        await gw.publish(
            *routes,
            route("text", it.port, middlewares=prefixed),
            route("usual", it.port, middlewares={"cidr_whitelist": nowhere}),
            route("open", it.port, middlewares={"cidr_whitelist": here, "request": {"add_prefix": "/in"}}),
        )
        for status in STATUSES:
            for accept in ("text/html", "application/json", "*/*"):
                answer = await gw.ask(f"s{status}", headers={"Accept": accept})
                assert (answer.status, answer.body) == (status, b"IP not allowed\n")
        answer = await gw.ask("TEXT")
        assert (answer.status, answer.body) == (404, b'100% "%REQ(:path)%" <no> $x\n')
        assert answer.headers["Content-Type"].startswith("text/plain")
        assert (await gw.ask("usual")).status == 403
        assert (await gw.ask("open")).status == 200
        refused = await gw.client.get(f"{gw.url}/a%2f..%2fb", headers={"Host": "open"})
        assert refused.status in (400, 403)
        assert it.seen[-1][1] == "/in/"
