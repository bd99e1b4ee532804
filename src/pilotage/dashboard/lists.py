"""Prepares the data of the pages with lists."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pilotage.api.details import route_detail, route_source
from pilotage.api.engines import describe_engines
from pilotage.api.routes import RouteFilter, RouteIndex, words_of
from pilotage.core.suggest import did_you_mean
from pilotage.core.text import shorten
from pilotage.dashboard.cards import MOST_CARDS, Card, card, grouped
from pilotage.dashboard.problems import shown_problem
from pilotage.dashboard.route_page import explanation_page, route_page
from pilotage.dashboard.states import CERTIFICATES, ENGINES, NAMES, envoy_state, route_state
from pilotage.output.corrections import correction_of
from pilotage.output.explain import explain_name, known_names
from pilotage.output.label_reference import entries, matching

if TYPE_CHECKING:
    from pilotage.api.routes import RouteEntry
    from pilotage.api.source import Source
    from pilotage.dashboard.icons import Icons
    from pilotage.dashboard.rates import Rates

__all__ = ["Lists"]

_PER_PAGE: Final = 100
_MOST_PROBLEMS: Final = 200
_MOST_EVENTS: Final = 200
_MOST_ENGINES: Final = 30
_KINDS: Final = "added updated draining removed health wakefulness stale live conflict problem resolved".split()


class Lists:
    """Collects the data of pages. Each method takes the parameters of the page's URL.

    Args:
        source: what the API serves.
        rates: the rates of requests.
        icons: the icons of routes.

    """

    def __init__(self, source: Source, rates: Rates, icons: Icons) -> None:
        self._icons = icons
        self._source = source
        self._rates = rates
        self._index = RouteIndex()

    async def home(self, query: dict[str, str]) -> dict[str, Any]:
        """Return the start page."""
        routes = route_source(self._source)
        text = query.get("q", "")
        page = self._index.page(routes, RouteFilter(text=text, states=_SERVED))
        cards: list[Card] = []
        more = 0
        for number, alias in enumerate(page.aliases, 1):
            if len(cards) == MOST_CARDS:
                more = len(page.aliases) - number + 1
                break
            if (made := card(routes.entry(alias), self._icons.path(routes.table.routes[alias]))) is not None:
                cards.append(made)
        waiting = not page.total and any(it.state == "pending" for it in routes.table.engines.values())
        return {"groups": grouped(cards), "more": more, "text": text, "waiting": waiting}

    async def routes(self, query: dict[str, str]) -> dict[str, Any]:
        """Return the list of routes."""
        routes = route_source(self._source)
        chosen, engine, after = query.get("state", ""), query.get("engine", ""), query.get("after", "")
        chosen = chosen if chosen in NAMES else ""
        wanted = RouteFilter(
            states=frozenset({chosen} - {""}), engine=engine, text=query.get("q", ""), limit=_PER_PAGE, after=after
        )
        page = self._index.page(routes, wanted)
        return {
            "found": page,
            "rows": [self._row(routes.entry(alias)) for alias in page.aliases],
            "text": wanted.text,
            "chosen": chosen,
            "engine": engine,
            "after": after,
            "names": NAMES,
            "engines": sorted({*routes.table.engines, *(file.name for file in self._source.discovery.files())})[
                :_MOST_ENGINES
            ],
        }

    def _row(self, route: RouteEntry) -> dict[str, Any]:
        rate = self._rates.of(route.pool or route.alias) or self._rates.of(route.alias)
        return {
            "alias": route.alias,
            "state": route_state(route),
            "listen": route.listen,
            "pool": route.pool,
            "target": shorten(route.target or "", 120),
            "container": route.container,
            "more": max(len(route.endpoints) - 1, 0),
            "engine": route.provider,
            "rate": rate,
        }

    async def route(self, name: str) -> dict[str, Any] | str:
        """Return the page of a route, container or pool; a hint (or ``""``) if nothing has this name."""
        detail = await route_detail(self._source, name)
        discovery = self._source.discovery
        if detail is not None:
            return route_page(detail, discovery.table, self._rates)
        snapshots, files = discovery.snapshots(), discovery.files()
        found = explain_name(name, snapshots, discovery.table, files)
        if not found.containers and not found.files:
            return did_you_mean(name, known_names(snapshots, files))
        return explanation_page(found)

    async def problems(self, query: dict[str, str]) -> dict[str, Any]:
        """Return the list of problems."""
        text, severity = query.get("q", ""), query.get("severity", "")
        severity = severity if severity in ("error", "warning") else ""
        found = [it for it in self._source.problems() if _has(text, str(it))]
        errors = sum(it.severity == "error" for it in found)
        chosen = [it for it in found if severity in ("", it.severity)]
        return {
            "problems": [shown_problem(it, correction_of(it)) for it in chosen[:_MOST_PROBLEMS]],
            "more": max(0, len(chosen) - _MOST_PROBLEMS),
            "errors": errors,
            "warnings": len(found) - errors,
            "severity": severity,
            "text": text,
        }

    async def events(self, query: dict[str, str]) -> dict[str, Any]:
        """Return the latest changes."""
        text, kind = query.get("q", ""), query.get("kind", "")
        kind = kind if kind in _KINDS else ""
        changes = list(self._source.history.select())
        chosen = [it for it in changes if kind in ("", it.kind)]
        found = [it for it in chosen if _has(text, f"{it.kind} {it.alias} {it.engine} {it.text} {it.cause}")]
        return {
            "changes": found[:_MOST_EVENTS],
            "more": len(found) > _MOST_EVENTS,
            "kinds": [it for it in _KINDS if any(it == change.kind for change in changes) or it == kind],
            "kind": kind,
            "text": text,
        }

    async def engines(self, _: dict[str, str]) -> dict[str, Any]:
        """Return the engines."""
        return {"engines": describe_engines(self._source.discovery), "kinds_of_engines": ENGINES}

    async def envoys(self, _: dict[str, str]) -> dict[str, Any]:
        """Return the Envoys."""
        return {"envoys": [{"it": state, "state": envoy_state(state)} for state in self._source.envoys()]}

    async def certificates(self, _: dict[str, str]) -> dict[str, Any]:
        """Return the certificates."""
        source = self._source.certificates
        return {
            "certificates": source.status() if source is not None else (),
            "events": list(reversed(source.events))[:_MOST_EVENTS] if source is not None else [],
            "kinds": CERTIFICATES,
        }

    async def labels(self, query: dict[str, str]) -> dict[str, Any]:
        """Return the reference of labels."""
        text = query.get("q", "")
        known = entries()
        named = [it for it in known if _has(text, " ".join((it.label, *it.spellings)))]
        names = {it.label for it in named}
        found = named + [it for it in known if it.label not in names and _has(text, f"{it.label} {it.meaning}")]
        near = "" if found else matching(text, {})[1]
        return {"labels": found, "near": near, "all": len(known), "text": text}


_SERVED: Final = frozenset(NAMES) - {"excluded", "refused"}


def _has(text: str, searched: str) -> bool:
    lower = searched.casefold()
    return all(word in lower for word in words_of(text))
