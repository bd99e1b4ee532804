"""Requests wait for as long as it takes."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import aiohttp
from envoy.service.discovery.v3 import discovery_pb2

from pilotage.routes.gate import Gate
from pilotage.routes.port_syntax import PortPair
from pilotage.xds.resources import CLUSTER
from pilotage.xds.session import Session
from pilotage.xds.waiting_cluster import WAITING_VERSION
from tests.support.gateway import route, target
from tests.support.ports import free_port
from tests.support.waiting import until

if TYPE_CHECKING:
    import pytest

    from tests.xds.conftest import Envoy


async def test_requests_wait_for_longer_than_envoy_waits_for_an_answer(
    envoy: Envoy, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = Session.keep_waiting

    def answer_others(session: Session, name: str) -> None:
        if "unanswered" not in name:
            answer(session, name)

    monkeypatch.setattr(Session, "keep_waiting", answer_others)
    async with target() as it, envoy() as gw:
        patient = aiohttp.ClientTimeout(120)
        gw.ads.gates.set_gate("app", Gate(7, "closed"))
        gw.ads.gates.set_gate("broken", Gate(8, "closed"))
        gw.ads.gates.set_gate("db", Gate(10, "closed"))
        gw.ads.gates.set_gate("unanswered", Gate(11, "closed"))
        port = free_port()
        tcp = {"scheme": "tcp", "bind": "127.0.0.1", "port": PortPair(port, it.port)}
        absent = [
            route("app", endpoints=()),
            route("broken", endpoints=()),
            route("held", endpoints=(), hold=300.0),
            route("db", endpoints=(), **tcp),
        ]
        await gw.publish(*absent, route("unanswered", endpoints=()))
        asking = [asyncio.create_task(gw.ask(name, timeout=patient)) for name in ("app", "held")]
        connecting = asyncio.create_task(_first_line(port))
        failing = asyncio.create_task(gw.ask("broken", timeout=patient))
        (session,) = gw.ads.envoys.sessions

        def kept() -> int:
            names = [name for name in session._subscriptions[CLUSTER].names if name != "*"]
            return sum(session.accepted_version((CLUSTER, name)) == WAITING_VERSION for name in names)

        await until(lambda: kept() == 4)
        # Envoy gives up a cluster after 15 s without an answer. It asks for this one last.
        assert (await gw.ask("unanswered", timeout=patient)).status == 503
        assert not any(it.done() for it in (*asking, connecting, failing))
        assert gw.log.count("initial fetch timed out") == 1
        await gw.publish(
            route("app", it.port), absent[1], route("held", it.port, hold=300.0), route("db", it.port, **tcp)
        )
        gw.ads.gates.set_gate("app", Gate(7, "open"))
        gw.ads.gates.set_gate("db", Gate(10, "open"))
        gw.ads.gates.set_gate("broken", Gate(9, "failed", "broken"))
        assert [(await task).status for task in asking] == [200, 200]
        assert await connecting == b"HTTP/1.1 200 OK\r\n"
        assert (await failing).status == 503
        assert (await gw.ask("app")).status == 200


async def _first_line(port: int) -> bytes:
    """Return the first line of a response to a connection that may have to wait, also for its listener."""
    async with asyncio.timeout(60):
        while True:
            with contextlib.suppress(ConnectionRefusedError):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                break
            await asyncio.sleep(0.05)
    writer.write(b"GET / HTTP/1.1\r\nHost: db\r\nConnection: close\r\n\r\n")
    line = await reader.readline()
    writer.close()
    return line


async def test_an_envoy_that_waits_asks_a_new_control_plane_again() -> None:
    session = Session({})
    names = ("*", "sleep/7/web", "sleep/8/other")
    had = {"sleep/7/web": WAITING_VERSION, "sleep/8/other": "a real one"}
    request = discovery_pb2.DeltaDiscoveryRequest(
        type_url=CLUSTER, resource_names_subscribe=names, initial_resource_versions=had
    )
    session.handle_request(request)
    assert session.asked == ["sleep/7/web"]
    assert session.accepted_version((CLUSTER, "sleep/7/web")) is None
