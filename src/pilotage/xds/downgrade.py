"""Serves https routes as http while their targets speak plain HTTP (decision 39). Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from pilotage.core.index import Index
from pilotage.xds.backend import insists_on_tls
from pilotage.xds.problems import speaks_plain_http

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from collections.abc import Set as AbstractSet

    from pilotage.core.problems import Problem
    from pilotage.routes.route import Endpoint, Route

__all__ = ["Downgrade", "addressed"]


def addressed(endpoints: Iterable[Endpoint]) -> Iterator[Endpoint]:
    """Yield the endpoints; for an endpoint with resolved addresses, one endpoint for each address instead."""
    for endpoint in endpoints:
        if endpoint.addresses:
            yield from (msgspec.structs.replace(endpoint, host=it, addresses=()) for it in endpoint.addresses)
        else:
            yield endpoint


class Downgrade:
    """The https targets that speak plain HTTP.

    Attributes:
        https: alias of an https route whose settings do not require the target to prove its identity -> its endpoints.
        plain: addresses of those endpoints that speak plain HTTP.

    """

    def __init__(self) -> None:
        self.https: dict[str, tuple[Endpoint, ...]] = {}
        self.plain: set[str] = set()
        self._users: Index[str, str] = Index()  # address -> aliases

    def set_plain(self, address: str, *, plain: bool) -> AbstractSet[str]:
        """Record whether an endpoint's address speaks plain HTTP; return the aliases of its https routes."""
        (self.plain.add if plain else self.plain.discard)(address)
        return set(self._users[address])

    def apply(self, alias: str, route: Route | None) -> tuple[Route | None, tuple[Problem, ...]]:
        """Return an https route as http, with a warning, if all its endpoints speak plain HTTP.

        All other routes are returned unchanged, such as those through an agent or with settings that require TLS.
        """
        before = self.https.pop(alias, ())
        if route is None or route.scheme != "https" or not route.endpoints or route.agent or insists_on_tls(route):
            if before:
                self._users.replace(alias, _addresses(before), ())
            return route, ()
        self.https[alias] = endpoints = tuple(addressed(route.endpoints))
        self._users.replace(alias, _addresses(before), _addresses(endpoints))
        if not all(endpoint.address in self.plain for endpoint in endpoints):
            return route, ()
        return msgspec.structs.replace(route, scheme="http"), (speaks_plain_http(route),)


def _addresses(endpoints: Iterable[Endpoint]) -> list[str]:
    return [endpoint.address for endpoint in endpoints]
