"""A hostile engine writes long and odd texts everywhere: none is reported whole, or taken for an error of pilotage."""

from __future__ import annotations

import asyncio
import io
from typing import TYPE_CHECKING

import pytest

from pilotage import DockerProviderConfig, discover
from pilotage.daemon import change_log
from pilotage.daemon import logging as logs
from pilotage.discovery.detect import candidates, probe_all
from pilotage.discovery.timing import Timing
from tests.support.engine_texts import ATTACKS, events, listed
from tests.support.faults import behave, json_answer, puppet
from tests.support.waiting import until

if TYPE_CHECKING:
    from tests.support.faults import Puppet


@pytest.fixture
def log() -> io.StringIO:
    stream = io.StringIO()
    logs.configure_logging("text", "debug", stream)
    return stream


def settled(engine: Puppet, state: str, *, has_events: bool) -> bool:
    """Return whether all that the engine sends has been read; after an event, its container is listed on its own."""
    if has_events and state == "live":
        return any("/containers/json" in line and "filters=" in line for line in engine.requests)
    return state != "pending"


@pytest.mark.parametrize("attack", ATTACKS)
async def test_texts_of_an_engine_are_cut_and_never_taken_for_errors_of_pilotage(attack: str, log: io.StringIO) -> None:
    usual = {"json": json_answer([listed()]), "events": events()}
    async with puppet(behave(**(usual | ATTACKS[attack]))) as engine:
        config = DockerProviderConfig(engine.url, name="hostile")
        async with discover([config], timing=Timing(first_pause=0.01)) as discovery:

            async def follow() -> None:
                async for update in discovery:
                    change_log.log_changes(update)

            following = asyncio.create_task(follow())
            has_events = "events" in ATTACKS[attack]
            await until(lambda: settled(engine, discovery.table.engines["hostile"].state, has_events=has_events))
            await until(log.getvalue)
            texts = [discovery.table.engines["hostile"].error, *map(str, discovery.table.problems)]
            following.cancel()
        (probe,) = await probe_all(candidates([config], "test"))
    texts += [probe.version, probe.api, probe.error, *log.getvalue().splitlines()]
    assert not [text[:300] for text in texts if "internal error" in text or "bug in pilotage" in text]
    assert not [text[:300] for text in texts if len(text) > 10_000]
    assert not [text[:300] for text in texts if not text.isprintable()]
