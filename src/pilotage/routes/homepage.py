"""Completes the dashboard settings of a route that its labels do not set. Pure.

Rule: LABELS II.6.2, without GoDoxy's catalogue of icons.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from pilotage.routes.schema import ROUTE

if TYPE_CHECKING:
    from pilotage.routes.route import Route

__all__ = ["HomepageJson", "homepage_json"]

_POOLED: Final = "Load-balanced"
_OF_CONTAINERS: Final = "Docker"
_OF_FILES: Final = "Other"


class HomepageJson(msgspec.Struct, frozen=True, kw_only=True):
    """The dashboard settings of a route. Secrets are hidden.

    Attributes:
        show: whether the route is shown.
        name: the displayed name; by default, the first part of the alias with capital letters.
        icon: a URL, a path of the service, or ``@selfhst/name.svg``; ``""`` if there is none.
        category: the displayed group.
        description: the text below the name.
        url: the address to open; ``""`` for the route's own.
        favorite: whether the route is among the favorites.

    """

    show: bool = True
    name: str
    icon: str = ""
    category: str
    description: str = ""
    url: str = ""
    favorite: bool = False


_FIELD: Final = ROUTE.fields["homepage"].kind


def homepage_json(route: Route) -> HomepageJson:
    """Return how a route is shown on a dashboard, from its ``homepage`` labels and the defaults."""
    shown = {}
    if "homepage" in route.labelled:
        _, written = _FIELD.dump("homepage", route.settings.homepage)
        shown = {name: written[name] for name in HomepageJson.__struct_fields__ if written.get(name) not in ("", None)}
    return HomepageJson(**({"name": _name(route.pool or route.alias), "category": _category(route)} | shown))


def _name(alias: str) -> str:
    """Return a name for people: ``photo-album.example.com`` is ``Photo Album``."""
    first = next((part for part in alias.rpartition("/")[2].split(".") if part not in ("", "*")), alias)
    words = first.replace("-", " ").replace("_", " ").split()
    return " ".join(word[:1].upper() + word[1:] for word in words) or alias


def _category(route: Route) -> str:
    if route.pool:
        return _POOLED
    return _OF_FILES if route.is_static else _OF_CONTAINERS
