from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pilotage.dashboard.icons import Icons
from pilotage.dashboard.lists import Lists
from pilotage.dashboard.rates import Rates
from tests.support.dashboard import HOSTILE, Shown, dashboard

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def source() -> AsyncIterator[Shown]:
    async with dashboard() as site:
        yield site.source


def lists(source: Shown) -> Lists:
    return Lists(source, Rates(), Icons())


async def test_routes_are_filtered_by_words_state_and_engine(source: Shown) -> None:
    async def names(**query: str) -> list[str]:
        return [row["alias"] for row in (await lists(source).routes(query))["rows"]]

    assert await names() == ["api", "closed", "db", "hostile", "plain", "shop", "wiki"]
    assert await names(q="sho") == ["shop"]
    assert await names(state="asleep") == ["wiki"]
    assert await names(state="unknown") == await names()
    assert await names(engine="other") == []
    assert await names(after="plain") == ["shop", "wiki"]


async def test_a_route_that_is_not_served_says_why(source: Shown) -> None:
    found = await lists(source).routes({})
    states = {row["alias"]: row["state"] for row in found["rows"]}
    assert (states["db"].words, states["db"].detail) == ("not served", "Blacklisted (backend service or database)")
    assert states["closed"].words == "not served"
    assert states["closed"].detail.endswith("is not a network")
    assert states["api"].words == "1 of 2 ready"
    assert states["wiki"].words == "asleep"


async def test_a_stale_engine_makes_its_routes_stale() -> None:
    async with dashboard() as site:
        await site.engine.close()
        await site.until_state("stale")
        (row,) = (await lists(site.source).routes({"q": "shop"}))["rows"]
        assert (row["state"].kind, row["state"].words) == ("stale", "ready")
        assert row["state"].detail.startswith("stale since ")


async def test_problems_are_filtered_by_severity_and_words(source: Shown) -> None:
    found = await lists(source).problems({})
    assert found["errors"] == len(source.problems())
    assert (await lists(source).problems({"severity": "warning"}))["problems"] == []
    (one,) = (await lists(source).problems({"q": "sheme"}))["problems"]
    assert (one.about, one.hint, one.corrected) == ("plain", "did you mean 'scheme'?", "proxy.plain.scheme")


async def test_events_are_the_latest_changes(source: Shown) -> None:
    found = await lists(source).events({"kind": "added", "q": "wiki"})
    assert [change.alias for change in found["changes"]] == ["wiki"]
    assert {"added", "problem"} <= set(found["kinds"])
    assert "removed" not in found["kinds"]


async def test_labels_are_found_by_name_before_meaning(source: Shown) -> None:
    found = await lists(source).labels({"q": "idle_timeout"})
    assert found["labels"][0].label == "proxy.idle_timeout"
    assert (await lists(source).labels({"q": "HEALTHCHECK path"}))["labels"][
        0
    ].label == "proxy.<alias>.healthcheck.path"
    missing = await lists(source).labels({"q": "shceme"})
    assert (missing["labels"], missing["near"]) == ([], "did you mean 'scheme'?")


async def test_services_are_found_by_their_displayed_texts(source: Shown) -> None:
    found = await lists(source).home({"q": "buy things"})
    assert [card.alias for group in found["groups"] for card in group.cards] == ["shop"]


async def test_an_unknown_name_gets_a_suggestion(source: Shown) -> None:
    assert await lists(source).route("shpo") == "did you mean 'shop'?"
    assert await lists(source).route(HOSTILE) == ""


async def test_a_container_that_is_no_route_is_explained(source: Shown) -> None:
    found = await lists(source).route("api-2")
    assert isinstance(found, dict)
    assert [part["title"] for part in found["parts"]] == ["Container api-2 on local"]
