"""The stream of events of an API, and of a running daemon whose own CA issues certificates."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from cryptography import x509

from pilotage.certificates import requests
from pilotage.config.engines import EngineChoice
from pilotage.daemon.settings import Flags
from pilotage.routes.route import EndpointHealth
from pilotage.testing import FakeEngine
from tests.support import serving as daemons
from tests.support.api_server import Caller, serving
from tests.support.leaks import assert_no_leaks

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable
    from pathlib import Path

    from tests.support.commandline import Said


async def events(caller: Caller, query: str = "") -> AsyncGenerator[tuple[str, Any]]:
    async with caller.session.get(f"{caller.url}/v1/events{query}") as answer:
        assert answer.content_type == "text/event-stream"
        kind = ""
        async for line in answer.content:
            name, _, value = line.decode().rstrip("\n").partition(": ")
            if name == "event":
                kind = value
            elif name == "data":
                yield kind, json.loads(value)


async def test_who_wants_only_versions_gets_no_routes() -> None:
    async with serving() as caller, contextlib.aclosing(events(caller, "?only=table")) as stream:
        version = caller.source.discovery.table.version
        assert await anext(stream) == ("table", {"version": version})
        caller.engine.add("new", labels={"proxy.new.port": "80"})
        assert await anext(stream) == ("table", {"version": version + 1})


async def test_events_begin_with_all_there_is_and_go_on_with_every_change() -> None:
    async with serving() as caller, contextlib.aclosing(events(caller)) as stream:
        first = {}
        async for kind, data in stream:
            if kind == "table":
                assert data == {"version": caller.source.discovery.table.version}
                break
            first[kind, data["alias"] or data["engine"]] = data
        assert first["added", "web"]["route"]["container"] == "web"
        assert ("live", "local") in first
        caller.engine.add("new", labels={"proxy.new.port": "81"})
        kind, data = await anext(stream)
        assert (kind, data["alias"], data["engine"]) == ("added", "new", "local")
        assert (await anext(stream))[0] == "table"


async def test_probe_results_are_part_of_routes_and_events() -> None:
    async with serving() as caller:
        discovery = caller.source.discovery
        address = discovery.table.routes["web"].endpoints[0].address
        discovery.set_health({"web": {address: EndpointHealth("healthy", 5.0)}})
        async with contextlib.aclosing(events(caller)) as stream:
            async for kind, _ in stream:
                if kind == "table":
                    break
            discovery.set_health({"web": {address: EndpointHealth("unhealthy", 7.5)}})
            kind, data = await anext(stream)
        assert (kind, data["alias"]) == ("health", "web")
        assert data["cause"] == f"web at {address} fails the gateway's probe"
        assert data["route"]["endpoints"][0]["health"] == {"state": "unhealthy", "since": 7.5}
        routes = (await caller.json("/v1/routes"))["routes"]
        assert routes["web"]["endpoints"][0]["health"] == {"state": "unhealthy", "since": 7.5}
        (story,) = (await caller.json("/v1/explain/web"))["containers"]
        assert any("fails the gateway's probe" in note for note in story["routes"][0]["notes"])


async def test_open_event_streams_do_not_hold_up_the_end() -> None:
    async with assert_no_leaks(), contextlib.AsyncExitStack() as stack:
        caller = await stack.enter_async_context(serving())
        host, port = "127.0.0.1", caller.api.places[0].port
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(b"GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await reader.readuntil(b"event: table")
        await stack.aclose()
        await reader.read()  # to its end
        writer.close()
        await writer.wait_closed()


async def certificate_events(answer: aiohttp.ClientResponse) -> AsyncIterator[dict[str, Any]]:
    kind = ""
    async for line in answer.content:
        name, _, value = line.decode().rstrip("\n").partition(": ")
        if name == "event":
            kind = value
        elif name == "data" and kind == "certificate":
            yield json.loads(value)


@pytest.mark.process
async def test_certificates_are_renewed_on_request_and_every_stream_says_so(
    tmp_path: Path, pilotage: Callable[..., Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with FakeEngine() as engine:
        engine.add("nas", labels={"proxy.aliases": "nas.home.lan", "proxy.#1.port": "80"})
        config = tmp_path / "pilotage.yml"
        config.write_text(daemons.configured(engine, more="gateway: {tls: internal}\n"))
        flags = Flags(choice=EngineChoice(config=str(config)), gateway=False)
        async with daemons.serving(flags, tmp_path, STATE_DIRECTORY=str(tmp_path)):
            connector = aiohttp.UnixConnector(f"{tmp_path}/api.sock")
            async with aiohttp.ClientSession("http://pilotage", connector=connector) as session:
                async with asyncio.timeout(30), session.get("/v1/events") as answer:
                    events = certificate_events(answer)
                    first = await anext(events)
                    assert (first["kind"], first["names"]) == ("issued", ["nas.home.lan"])
                    assert first["text"].startswith("by pilotage internal CA")

                    monkeypatch.setenv("PILOTAGE_SOCKET", f"{tmp_path}/api.sock")
                    said = await asyncio.to_thread(pilotage, "certificates", "renew", "nas.home.lan")
                    assert said.status == 0
                    assert "requested a new certificate for nas.home.lan\nnas.home.lan: valid\n" in said.out
                    second = await anext(events)
                    assert (second["kind"], second["names"]) == ("renewed", ["nas.home.lan"])

                listed = await (await session.get("/v1/certificates")).json()
                assert listed["events"] == [first, second]

                again = await session.post("/v1/certificates/NAS.home.lan/renew")
                assert again.status == 429
                assert 0 < int(again.headers["Retry-After"]) <= requests._PAUSE
                unknown = await session.post("/v1/certificates/nas.hme.lan/renew")
                assert (unknown.status, (await unknown.json())["hint"]) == (404, "did you mean 'nas.home.lan'?")

                said = await asyncio.to_thread(pilotage, "certificates", "root")
                assert (said.status, "update-ca-certificates" in said.err) == (0, True)
                (status,) = listed["certificates"]
                root = x509.load_pem_x509_certificate(said.out.encode())
                leaf = x509.load_pem_x509_certificate(
                    (tmp_path / "certificates/live/nas.home.lan/cert.pem").read_bytes()
                )
                assert f"{leaf.serial_number:x}" == status["serial"].lower()
                leaf.verify_directly_issued_by(root)
