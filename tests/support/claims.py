"""Routes that claim an alias, for tests of the table."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from pilotage import DockerProviderConfig, Endpoint, Problem, Route
from pilotage.policy import Policy
from pilotage.routes.build import Built
from pilotage.routes.schema import LoadBalance, RouteSettings
from pilotage.table.snapshot import build_snapshot
from pilotage.table.store import RouteStore
from tests.support.summaries import container

__all__ = [
    "ENGINES",
    "SHOP",
    "claim",
    "engine_snapshots",
    "excluded",
    "linked",
    "owner_of",
    "put",
    "static",
    "stopped",
    "store_of",
]

SHOP: Final = ("local", "shop", "web")


def claim(name: str = "web", created: int = 1, **fields: Any) -> Route:
    """A route for alias ``app`` of a container that runs."""
    endpoint = Endpoint(f"10.0.0.{created}", 80, name, f"id-{name}")
    usual: dict[str, Any] = {
        "alias": "app",
        "provider": "local",
        "container": name,
        "container_id": f"id-{name}",
        "created": created,
    }
    return Route(**(usual | {"host": endpoint.host, "endpoints": (endpoint,)} | fields))


def excluded(name: str, created: int = 1) -> Route:
    return claim(name, created, excluded=True, excluded_reason="Container not running", endpoints=())


def static(file: str = "own.yml", **fields: Any) -> Route:
    """A route for alias ``app`` of a file."""
    return Route(alias="app", provider=file, host="10.0.0.9", endpoints=(Endpoint("10.0.0.9", 80),), **fields)


def engine_snapshots(*names: str) -> list[Any]:
    configs = [DockerProviderConfig(url="unix:///var/run/docker.sock", name=name) for name in names]
    return [
        build_snapshot(
            config,
            [
                container(f"{config.name}-b", {"proxy.aliases": f"{config.name}-b,shared"}, Id="b", config=config),
                container(f"{config.name}-a", {"proxy.a.bogus": "1"}, Id="a", config=config),
            ],
            problems=[Problem(message="slow", provider=config.name)],
        )
        for config in configs
    ]


ENGINES: Final = ["local", "far"]


def store_of(*routes: Route, keep: bool = False, domains: tuple[str, ...] = ()) -> RouteStore:
    """A store with these claims; ``keep`` if clients are being served."""
    store = RouteStore()
    store.configure(engines=ENGINES, policy=Policy(domains=domains))
    put(store, *routes)
    if keep:
        store.keep_holders()
    return store


def put(store: RouteStore, *routes: Route) -> RouteStore:
    """Set the claims of the containers of these routes, and commit."""
    by_owner: dict[tuple[str, str], list[Route]] = {}
    for route in routes:
        by_owner.setdefault(owner_of(route), []).append(route)
    for owner, own in by_owner.items():
        store.set_routes(owner, Built(tuple(own)), f"start of {owner[1]}")
    store.commit()
    return store


def owner_of(route: Route) -> tuple[str, str]:
    return (route.provider, route.container_id or route.alias)


def linked(alias: str, name: str, created: int = 1, link: str = "shop", **fields: Any) -> Route:
    """A route in a pool."""
    return claim(name, created, alias=alias, settings=RouteSettings(load_balance=LoadBalance(link=link)), **fields)


def stopped(route: Route) -> Route:
    return msgspec.structs.replace(route, excluded=True, excluded_reason="Container not running", endpoints=())
