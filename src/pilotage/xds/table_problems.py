"""Finds what keeps the routes of a table from being served together, for commands that ask no daemon."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from pilotage.xds.middlewares import route_policy
from pilotage.xds.options import GatewayOptions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pilotage.core.problems import Problem
    from pilotage.routes.route import Route
    from pilotage.table.table import Table

__all__ = ["problems_of_table"]

_SOURCES: Final = ("auth/", "listener/", "pool/")
"""Where a snapshot keeps the problems between routes: with auth services, ports and pools."""


def problems_of_table(table: Table) -> tuple[Problem, ...]:
    """Return the problems that depend on other routes: with ports, pools and auth services.

    The problems of single routes are in the table. A daemon's gateway finds the same problems when it serves the table.
    Without the extra ``gateway``, nothing is served, and there are none.
    """
    routes = {it.alias: it for it in _related(table)}
    if not routes:
        return ()
    try:
        from pilotage.xds.snapshot import Snapshot  # noqa: PLC0415  slow, and needs optional packages
    except ImportError:
        return ()
    snapshot = Snapshot(GatewayOptions())
    snapshot.replace(msgspec.structs.replace(table, routes=routes))
    found = (snapshot.problems[source] for source in sorted(snapshot.problems) if source.startswith(_SOURCES))
    return tuple(problem for problems in found for problem in problems)


def _related(table: Table) -> Iterator[Route]:
    """Yield the routes that may depend on other routes, and the routes on which they depend."""
    for route in table.routes.values():
        if route.excluded:
            continue
        if route.has_listener or route.settings.load_balance.link:
            yield route
        elif route.middlewares and (auth := route_policy(route.middlewares).auth) is not None:
            yield route
            if (service := table.routes.get(auth.route)) is not None:
                yield service
