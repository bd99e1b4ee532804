"""Routes that claim an alias, for tests of the table."""

from __future__ import annotations

from typing import Any, Final

from pilotage import DockerProviderConfig, Endpoint, Problem, Route
from pilotage.table.snapshot import build_snapshot
from tests.support.summaries import container

__all__ = ["SHOP", "claim", "engine_snapshots", "excluded", "static"]

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
