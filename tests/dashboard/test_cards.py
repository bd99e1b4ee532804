from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pilotage.api.details import route_source
from pilotage.dashboard.cards import card, grouped
from tests.support.dashboard import dashboard

if TYPE_CHECKING:
    from pilotage.dashboard.cards import Card


async def cards_of(**homepage: str) -> list[Card]:
    """Return the cards of routes with these settings below ``homepage``."""
    async with dashboard(containers=False) as site:
        for name, settings in homepage.items():
            labels = {f"proxy.{name}.port": "80", f"proxy.{name}.homepage": f"{{{settings}}}"}
            site.engine.add(name, labels=labels)
        await site.until_routes(len(homepage))
        source = route_source(site.source)
        found = [card(source.entry(alias)) for alias in sorted(source.table.routes)]
    return [it for it in found if it is not None]


@pytest.mark.proves("homepage.name", "homepage.category", "homepage.description", "homepage.url")
async def test_a_card_shows_what_its_labels_say() -> None:
    (found,) = await cards_of(a="name: Photos, category: Media, description: Family, url: 'https://p.example.com/x'")
    assert (found.name, found.category, found.description) == ("Photos", "Media", "Family")
    assert (found.url, found.initial, found.details) == ("https://p.example.com/x", "P", "/routes/a")


@pytest.mark.proves("homepage.show")
async def test_a_route_can_be_left_out() -> None:
    assert [it.alias for it in await cards_of(a="show: false", b="show: true")] == ["b"]


@pytest.mark.proves("homepage.favorite")
async def test_favorites_come_first_and_then_categories_by_name() -> None:
    found = await cards_of(a="category: Work", b="category: Home", c="category: Work, favorite: true")
    groups = [(group.name, [it.alias for it in group.cards]) for group in grouped(found)]
    assert groups == [("Favorites", ["c"]), ("Home", ["b"]), ("Work", ["a"])]


async def test_an_address_that_could_run_a_script_is_not_used() -> None:
    (found,) = await cards_of(a="url: 'javascript:alert(1)'")
    assert found.url == "http://a.localhost:8080"


async def test_a_name_without_letters_has_a_dot() -> None:
    (found,) = await cards_of(a="name: '!!'")
    assert found.initial == "•"
