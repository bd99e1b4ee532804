"""Makes the cards of the start page. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from pilotage.core.text import shorten_value
from pilotage.dashboard.links import path_of, safe_url
from pilotage.dashboard.states import Shown, route_state

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pilotage.api.routes import RouteEntry

__all__ = ["MOST_CARDS", "Card", "Group", "card", "grouped"]

MOST_CARDS: Final = 300
"""Maximum number of cards on the page. Further services can be found with the search."""

_FAVORITES: Final = "Favorites"
_HUES: Final = 12


class Card(msgspec.Struct, frozen=True):
    """One service on the start page.

    Attributes:
        alias: the route's name.
        name: the displayed name.
        description: the text below the name; ``""`` if there is none.
        category: the group.
        icon: path of the icon on the dashboard; ``""`` if there is none.
        initial: the character that stands for a service without an icon.
        hue: number from 0 to 11 that chooses the color behind the character, the same for the same name.
        url: the URL that the card opens; ``""`` if the service has no URL that a browser can open.
        details: path of the route's page.
        state: the route's state.
        favorite: whether the service is among the favorites.

    """

    alias: str
    name: str
    description: str
    category: str
    icon: str
    initial: str
    hue: int
    url: str
    details: str
    state: Shown
    favorite: bool


class Group(msgspec.Struct, frozen=True):
    """Cards under one heading."""

    name: str
    cards: tuple[Card, ...]


def card(route: RouteEntry, icon: str = "") -> Card | None:
    """Return the card of a route; ``None`` if the start page does not show it.

    Args:
        route: the route.
        icon: path of the route's icon on the dashboard; ``""`` if there is none.

    """
    if not route.homepage.show or route.excluded or route.scheme in ("tcp", "udp"):
        return None
    name = shorten_value(route.homepage.name, 80)
    return Card(
        alias=route.alias,
        name=name,
        description=shorten_value(route.homepage.description, 200),
        category=shorten_value(route.homepage.category, 60),
        icon=icon,
        initial=next((char.upper() for char in name if char.isalnum()), "•"),
        hue=sum(name.encode(errors="replace")) % _HUES,
        url=safe_url(route.homepage.url) or safe_url(route.url or ""),
        details=path_of("routes", route.alias),
        state=route_state(route),
        favorite=route.homepage.favorite,
    )


def grouped(found: Iterable[Card]) -> list[Group]:
    """Return the cards by category, the favorites first."""
    ordered = sorted(found, key=lambda it: (it.name.casefold(), it.alias))
    groups = {_FAVORITES: [it for it in ordered if it.favorite]}
    for category in sorted({it.category for it in ordered}, key=str.casefold):
        groups.setdefault(category, []).extend(it for it in ordered if it.category == category and not it.favorite)
    return [Group(name, tuple(some)) for name, some in groups.items() if some]
