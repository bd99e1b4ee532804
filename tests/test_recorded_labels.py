"""Labels mean what they meant in 0.1.0: random containers give the recorded routes and problems.

``fixtures/labels-0.1.0.jsonl.xz`` has one JSON object per container of :func:`tests.support.label_sets.containers`. It
records everything but the words of messages: a problem is compared by its severity, place and value.

Accepted difference: if an alias is listed twice, 0.1.0 reported a forgotten alias twice.
"""

from __future__ import annotations

import json
import lzma
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from pilotage import build_routes, from_docker
from pilotage.routes.route import route_json
from tests.support.label_sets import containers
from tests.support.summaries import LOCAL, REMOTE

if TYPE_CHECKING:
    from pilotage import DockerProviderConfig, Problem

pytestmark = pytest.mark.slow

RECORDED = Path(__file__).parent / "fixtures" / "labels-0.1.0.jsonl.xz"
SEED, COUNT = 2026, 6000


def place(problem: Problem) -> list[Any]:
    where = [problem.container, problem.route, problem.label, problem.path, problem.line, problem.column]
    return [problem.severity, *where, problem.value]


def distinct(problems: list[Any]) -> list[Any]:
    return [problem for number, problem in enumerate(problems) if problem not in problems[:number]]


def outcome(summary: dict[str, Any], config: DockerProviderConfig) -> dict[str, Any]:
    container = from_docker(summary, config)
    built = build_routes(container)
    found = {
        "routes": [
            {**route_json(route), "labelled": route.labelled, "problems": distinct(sorted(map(place, route.problems)))}
            for route in built.routes
        ],
        "problems": sorted(map(place, built.problems)),
        "aliases": container.aliases,
        "network": container.network,
        "address": container.private_hostname,
        "explicit": container.is_explicit,
        "excluded": container.is_excluded,
        "oneoff": container.is_oneoff,
        "labels": sorted(container.labels),
        "errors": sorted(map(place, container.errors)),
        "idle": container.idlewatcher_config,
    }
    plain: dict[str, Any] = json.loads(json.dumps(msgspec.to_builtins(found)))
    return plain


def test_random_labels_give_the_routes_and_problems_that_0_1_0_gave() -> None:
    lines = lzma.decompress(RECORDED.read_bytes()).splitlines()
    assert len(lines) == COUNT
    for (summary, is_remote), line in zip(containers(SEED, COUNT), lines, strict=True):
        recorded = json.loads(line)
        for route in recorded["routes"]:
            route["problems"] = distinct(route["problems"])
        assert outcome(summary, REMOTE if is_remote else LOCAL) == recorded, summary
