"""A hostile engine writes long and odd texts everywhere, and a running daemon shows none of them whole."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from pilotage.testing import FakeEngine
from tests.support.command import pilotage_serve
from tests.support.engine_texts import ATTACKS, events, listed
from tests.support.faults import behave, json_answer, puppet
from tests.support.gateway import becomes, target
from tests.support.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.process, pytest.mark.slow]

_LONGEST = 10_000


async def test_no_text_of_an_engine_floods_the_log_or_a_problem(tmp_path: Path) -> None:
    """Each attack is an engine; another one, whose container is served all the while, is the victim."""
    async with contextlib.AsyncExitStack() as stack:
        shop = await stack.enter_async_context(target("mine"))
        victim = await stack.enter_async_context(FakeEngine())
        labels = {"proxy.aliases": "shop", "proxy.shop.port": str(shop.port)}
        victim.add("shop", networks=(), ports=(f"{shop.port}:{shop.port}",), labels=labels)
        attacks = [{"json": json_answer([listed()]), "events": events(), **attack} for attack in ATTACKS.values()]
        engines = [await stack.enter_async_context(puppet(behave(**handlers))) for handlers in attacks]
        served = await stack.enter_async_context(pilotage_serve(tmp_path, victim, *engines))
        asked = engines[list(ATTACKS).index("long events")].requests
        await until(lambda: any("/containers/json" in it and "filters=" in it for it in asked))  # its events were read

        async def are_settled() -> bool:
            states = {engine["state"] for engine in (await served.get("/v1/engines"))["engines"]}
            return "pending" not in states and len((await served.get("/v1/problems"))["problems"]) > len(ATTACKS)

        await becomes(are_settled, expected=True)
        assert await served.status("shop.localhost") == 200
        lines = (tmp_path / "log").read_text().splitlines()
        problems = (await served.get("/v1/problems"))["problems"]
        states = (await served.get("/v1/engines"))["engines"]
    said = [text for it in (*problems, *states) for text in it.values() if isinstance(text, str)]
    assert len(states) == len(ATTACKS) + 1
    assert not [text[:300] for text in (*lines, *said) if "internal error" in text or "bug in pilotage" in text]
    assert not [text[:300] for text in (*lines, *said) if len(text) > _LONGEST]
    assert not [line[:300] for line in lines if not line.isprintable()]
