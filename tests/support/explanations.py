"""Explanations of containers of the example, and of the routes of a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pilotage.output.explain import ContainerExplanation, Explanation, RouteExplanation, explain_name
from pilotage.routes.file import read_route_file
from pilotage.table.store import build_table
from tests.support.example_engine import engine_snapshot, one

if TYPE_CHECKING:
    from pilotage.output.facts import Fact
    from pilotage.table.snapshot import EngineSnapshot


__all__ = [
    "ROUTE_FILE",
    "container_explanation",
    "explained",
    "facts_of",
    "file_route_explanation",
    "route_explanation",
]


def explained(name: str, *snapshots: EngineSnapshot) -> Explanation:
    found = snapshots or (engine_snapshot(),)
    return explain_name(name, found, build_table(found))


def container_explanation(name: str, *snapshots: EngineSnapshot) -> ContainerExplanation:
    return explained(name, *snapshots).containers[0]


def route_explanation(name: str, alias: str = "", *snapshots: EngineSnapshot) -> RouteExplanation:
    return next(each for each in container_explanation(name, *snapshots).routes if each.alias == (alias or name))


def facts_of(told: ContainerExplanation | RouteExplanation) -> dict[str, Fact]:
    return {fact.name: fact for fact in told.facts}


ROUTE_FILE = read_route_file(
    "nas:\n  host: 10.0.0.2\n  healthcheck: {path: /up, intervall: 5s}\n  middlewares: {oidc: {client_secret: x}}\n"
    "web: {scheme: tcp, host: h, port: 1}\nbad: x\n"
    "files: {scheme: fileserver, root: /srv, healthcheck: {disable: true}}\n",
    "own.yml",
)


def file_route_explanation(name: str) -> RouteExplanation:
    snapshots = [engine_snapshot([one("web")])]
    (file,) = explain_name(name, snapshots, build_table(snapshots, [ROUTE_FILE]), [ROUTE_FILE]).files
    (story,) = file.routes
    return story
