"""The stream of events, from a running daemon whose own CA issues certificates."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from cryptography import x509

from pilotage.certificates import requests
from pilotage.config.engines import EngineChoice
from pilotage.daemon.settings import Flags
from pilotage.testing import FakeEngine
from tests.support.serving import configured, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from tests.support.commandline import Said


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
        settings = f"autocert: {{provider: internal, domains: auto, folder: {tmp_path}/certificates}}\n"
        config.write_text(configured(engine, more=settings))
        flags = Flags(choice=EngineChoice(config=str(config)), gateway=False)
        async with serving(flags, tmp_path):
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
