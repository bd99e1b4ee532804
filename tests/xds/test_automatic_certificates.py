"""Challenges and certificates, with a real Envoy."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from pilotage.core.errors import GatewayError
from pilotage.xds.acme_challenges import MOST_CHALLENGES
from pilotage.xds.options import GatewayOptions
from pilotage.xds.server import AdsServer
from tests.support.gateway import becomes, route, target

if TYPE_CHECKING:
    from tests.xds.conftest import Envoy

_PATH = "/.well-known/acme-challenge/"


async def test_envoy_answers_a_challenge_before_everything_else(envoy: Envoy) -> None:
    async with envoy(automatic_certificates=True) as gw, target() as app:
        guarded = {"redirect_http": None, "cidr_whitelist": {"allow": ["192.0.2.0/24"]}}
        await gw.publish(route("app", app.port), route("shut", app.port, middlewares=guarded), route("gone"))
        certificates = gw.ads.certificates
        await asyncio.gather(*(certificates.set_http_challenge(f"one{it}", f"one{it}.mine") for it in range(20)))
        for host in ("app", "shut", "gone", "nowhere.example.org"):
            answer = await gw.ask(host, f"{_PATH}one7")
            assert (answer.status, answer.body) == (200, b"one7.mine")
            assert answer.headers["content-type"] == "text/plain"
        assert (await gw.ask("app", f"{_PATH}one7?x=1")).body == b"one7.mine"
        assert not app.seen
        # A container that obtains its own certificates gets every other token, and every other method.
        for path, method in (("one", "GET"), ("one7x", "GET"), ("one7/", "GET"), ("one7", "POST")):
            assert (await gw.ask("app", _PATH + path, method)).by == "target", path
        certificates.remove_http_challenge("one7")
        certificates.remove_http_challenge("unknown")
        await gw.ads.wait_for_acks()
        await becomes(lambda: _by(gw, "app", f"{_PATH}one7"), "target")
        assert (await gw.ask("app", f"{_PATH}one8")).body == b"one8.mine"


async def _by(gw: object, host: str, path: str) -> str:
    answer = await gw.ask(host, path)  # type: ignore[attr-defined]
    return str(answer.by)


async def test_a_challenge_that_cannot_be_answered_is_an_error() -> None:
    server = AdsServer(GatewayOptions(http_port=0, automatic_certificates=True))
    with pytest.raises(GatewayError, match="plain HTTP listener"):
        await server.certificates.set_http_challenge("a", "a.b")
    server = AdsServer(GatewayOptions(automatic_certificates=True))
    with pytest.raises(GatewayError, match="RFC 8555"):
        await server.certificates.set_http_challenge("a", "b")
    with pytest.raises(TimeoutError):
        await server.certificates.set_http_challenge("a", "a.b", timeout=0)  # no Envoy is connected
    server.snapshot.listeners.http_challenges |= {f"a{it}": "a.b" for it in range(MOST_CHALLENGES)}
    with pytest.raises(GatewayError, match=f"{MOST_CHALLENGES:,}"):
        await server.certificates.set_http_challenge("b", "b.b")
