"""A backend: what answers for one name, an alias or a pool; with the endpoints that take its requests now."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from pilotage.core.problems import Problem
from pilotage.routes.route import Endpoint, Route
from pilotage.xds.middlewares import PLAIN, RoutePolicy, route_policy

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["Backend", "Member", "pool_backend", "route_backend", "usable"]

Backing = Literal["none", "shared", "own"]


class Member(msgspec.Struct, frozen=True, gc=False):
    """An endpoint that takes requests, and its share of them."""

    endpoint: Endpoint
    weight: int = 1


class Backend(msgspec.Struct, frozen=True, kw_only=True):
    """What answers for one name.

    Attributes:
        name: the alias or the pool's name; tells both apart by ``pool``.
        pool: it is a pool.
        route: the route whose settings hold; of a pool, its first member's.
        members: what takes requests now; empty: nothing does.
        route_policy: what middlewares ask for.
        backing: ``own``: a cluster of its own; ``shared``: the one of all plain routes, which are told apart by the
            address that each of them sets; ``none``: no endpoint.

    """

    name: str
    route: Route
    members: tuple[Member, ...] = ()
    route_policy: RoutePolicy = PLAIN
    backing: Backing = "none"
    pool: bool = False

    @property
    def cluster(self) -> str:
        """Name of its own cluster."""
        return f"{'pool' if self.pool else 'route'}/{self.name}"

    @property
    def held(self) -> bool:
        """Requests have to wait: there is no endpoint, and the route asks for patience."""
        return not self.members and bool(self.route.settings.hold)


_RANKS: Final = (("ready",), ("unhealthy",), ("draining",))


def usable(endpoints: Iterable[Endpoint], *, patient: bool = False) -> tuple[Endpoint, ...]:
    """Return the endpoints that take requests now, each address once.

    Those that are ready; where there is none, those that were; where there is none, those that are about to stop, which
    may still answer. One that has never been ready gets nothing.

    Args:
        endpoints: of a route.
        patient: rather none than one that may not answer, for requests can wait.

    """
    found = list(endpoints)
    for states in _RANKS[:1] if patient else _RANKS:
        chosen = {endpoint.address: endpoint for endpoint in found if endpoint.state in states}
        if chosen:
            return tuple(chosen.values())
    return ()


def route_backend(route: Route, *, asked: bool = False) -> Backend:
    """Make the backend of a route.

    Args:
        route: a route that may be served.
        asked: other routes send their requests to it for approval, so it needs a cluster that they can name.

    """
    members = tuple(Member(e) for e in usable(route.endpoints, patient=bool(route.settings.hold)))
    return Backend(
        name=route.alias,
        route=route,
        members=members,
        route_policy=route_policy(route.settings.middlewares),
        backing=_backing(route, members, asked=asked),
    )


def pool_backend(link: str, routes: Sequence[Route]) -> tuple[Backend, tuple[Problem, ...]]:
    """Make the backend of a pool.

    Args:
        link: its name.
        routes: its members, at least one.

    Returns:
        The backend, and a problem for each route that cannot join, since it is to be treated differently.

    """
    leader, *others = sorted(routes, key=lambda route: route.alias)
    joined, problems = [leader], []
    for route in others:
        different = [name for name in _COMMON if getattr(route.settings, name) != getattr(leader.settings, name)]
        if route.scheme != leader.scheme:
            different.insert(0, "scheme")
        if not different:
            joined.append(route)
            continue
        problems.append(
            Problem(
                message=f"it cannot join the pool {link!r}, which {leader.alias} leads with a different {different[0]}",
                hint=f"give all members of the pool the same {different[0]}",
                provider=route.provider,
                container=route.container,
                route=route.alias,
                path="load_balance.link",
            )
        )
    patient = bool(leader.settings.hold)
    chosen = set(usable((e for route in joined for e in route.endpoints), patient=patient))
    members = tuple(Member(e, share) for route, share in _shares(joined) for e in route.endpoints if e in chosen)
    asked = route_policy(leader.settings.middlewares)
    backing: Backing = "own" if members or patient else "none"
    return Backend(name=link, route=leader, members=members, route_policy=asked, backing=backing, pool=True), tuple(
        problems
    )


_COMMON: Final = (
    "middlewares",
    "hold",
    "no_tls_verify",
    "ssl_server_name",
    "ssl_trusted_certificate",
    "ssl_certificate",
    "ssl_certificate_key",
    "ssl_protocols",
    "response_header_timeout",
    "max_conns_per_host",
    "disable_compression",
    "healthcheck",
)


def _shares(routes: Sequence[Route]) -> list[tuple[Route, int]]:
    """Return each member's share: what it asks for, else the mean of what the others ask for."""
    asked = [route.settings.load_balance.weight for route in routes if route.settings.load_balance.weight]
    mean = max(1, round(sum(asked) / len(asked))) if asked else 1
    return [(route, route.settings.load_balance.weight or mean) for route in routes]


def _backing(route: Route, members: tuple[Member, ...], *, asked: bool) -> Backing:
    settings = route.settings
    if not members:
        return "own" if settings.hold else "none"
    plain = (
        len(route.endpoints) == 1
        and not route.service  # it may get replicas at any time, and requests under way must find them by its cluster
        and not route.contested  # so must they find a successor
        and not asked
        and (route.scheme == "http" or (route.scheme == "https" and settings.no_tls_verify))
        and not settings.hold
        and "healthcheck" not in route.labelled
        and not settings.max_conns_per_host
        and settings.ssl_server_name is None
        and not settings.ssl_certificate
        and not settings.ssl_protocols
        and is_address(members[0].endpoint.host)
    )
    return "shared" if plain else "own"


_BYTE: Final = r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
_IPV4: Final = re.compile(rf"{_BYTE}(?:\.{_BYTE}){{3}}", re.ASCII)


def is_address(host: str) -> bool:
    """Tell an IP address from a host name."""
    if _IPV4.fullmatch(host):  # nearly all
        return True
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
