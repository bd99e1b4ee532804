"""Labels mean what they meant in 0.1.0: random containers give the recorded routes and problems.

``fixtures/labels-0.1.0.jsonl.xz`` has one JSON object per container of :func:`tests.support.label_sets.containers`. It
records everything but the words of messages: a problem is compared by its severity, place and value.

Accepted differences: 0.1.0 reported a forgotten alias twice if an alias was listed twice. It was silent about
``Proxy.``, the field ``alias``, and ``proxy.network`` on a container that is attached to no network. Half of a refused
port stayed in force, ``proxy.<alias>.exclude`` excluded nothing, ``root`` and ``index`` were kept as written, and a
host could have any length.
"""

from __future__ import annotations

import json
import lzma
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from pilotage import build_routes, from_docker
from pilotage.core.secrets import redact
from pilotage.policy.target_addresses import leads_here
from pilotage.routes.json import route_json
from pilotage.routes.reach import nowhere
from pilotage.routes.schema import ROUTE
from tests.support.label_sets import containers
from tests.support.summaries import LENIENT, LOCAL, REMOTE

if TYPE_CHECKING:
    from pilotage import DockerProviderConfig, Problem

pytestmark = pytest.mark.slow

RECORDED = Path(__file__).parent / "fixtures" / "labels-0.1.0.jsonl.xz"
SEED, COUNT = 2026, 6000
RESERVED = frozenset({80, 443, 8888})
"""0.1.0 reserved these ports whatever the configuration said."""


def without_newer(shown: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON of a route without the keys that 0.1.0 did not have."""
    return {key: value for key, value in shown.items() if key not in {"pool", "refused"}}


def place(problem: Problem) -> list[Any]:
    where = [problem.container, problem.route, problem.label, problem.path, problem.line, problem.column]
    return [problem.severity, *where, problem.value]


def distinct(problems: list[Any]) -> list[Any]:
    return [problem for number, problem in enumerate(problems) if problem not in problems[:number]]


def outcome(summary: dict[str, Any], config: DockerProviderConfig) -> dict[str, Any]:
    container = from_docker(summary, config)
    built = build_routes(container, reserved_ports=RESERVED, policy=LENIENT)
    found = {
        "routes": [
            {
                **without_newer(route_json(route)),
                "labelled": route.labelled,
                "problems": distinct(sorted(map(place, route.problems))),
            }
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


def is_new(problem: list[Any]) -> bool:
    """Return whether 0.1.0 was silent about this."""
    severity, label, path = problem[0], problem[3], problem[4]
    is_idle_in_vain = label == "proxy.idle_timeout" and not path  # the container has no route that could wake it
    return severity == "warning" and (label.startswith("Proxy.") or path == "alias" or is_idle_in_vain)


def is_decided_anew(summary: dict[str, Any], recorded: dict[str, Any]) -> bool:
    """Return whether the rules for this container's labels are others than in 0.1.0."""
    is_detached = not summary["NetworkSettings"]["Networks"] and summary["State"] == "running"
    names = {problem[4].partition(".")[0] for problem in recorded["problems"]}
    fields = {name for route in recorded["routes"] for name in route["labelled"]}
    is_detached_by_name = is_detached and "proxy.network" in summary["Labels"]
    hosts = {route["host"] for route in recorded["routes"]} - {"127.0.0.1"}
    if any(len(host) > 253 or leads_here(host, nowhere) for host in hosts):  # 0.1.0 did not know other spellings
        return True
    # 0.1.0 had no ``path_patterns``, and checked only the outer form of ``rules``
    folded = {"".join(key.split("_")).lower() for key in (*summary["Labels"], *summary["Labels"].values())}
    is_about_requests = "rules" in fields | names or any("pathpatterns" in text for text in folded)
    # nor did it serve routes with ``inbound_mtls_profile``, or terminate TLS: a slip in the field had no consequences
    is_about_requests = is_about_requests or any(text.startswith("proxy.tlstermin") for text in folded)
    changed = not names.isdisjoint(
        {"port", "exclude", "inbound_mtls_profile", "tls_termination"}
    ) or not fields.isdisjoint({"index", "root"})
    return is_detached_by_name or is_about_requests or changed


TARGET = frozenset(
    {"scheme", "host", "port", "bind", "target", "listen", "endpoints", "excluded", "excluded_reason", "health_check"}
)


def has_new_target(summary: dict[str, Any], recorded: dict[str, Any]) -> bool:
    """Return whether the target is found by other rules than in 0.1.0.

    Where only published ports can be reached, they come first, at the address on which they are published. A container
    on the host's network that has an address is reached there.
    """
    is_published = any(port.get("PublicPort") for port in summary["Ports"])
    return summary["HostConfig"]["NetworkMode"] == "host" or (not recorded["address"] and is_published)


def is_of_target(problem: list[Any]) -> bool:
    """Return whether a problem is about the target, or about a field that only some targets allow."""
    label, path = problem[3], problem[4]
    return not label or path in {"relay_proxy_protocol_header", "tls_termination", "healthcheck.disable", "root"}


def test_random_labels_give_the_routes_and_problems_that_0_1_0_gave() -> None:
    lines = lzma.decompress(RECORDED.read_bytes()).splitlines()
    assert len(lines) == COUNT
    anew = 0
    for (summary, is_remote), line in zip(containers(SEED, COUNT), lines, strict=True):
        recorded = json.loads(line)
        if is_decided_anew(summary, recorded):
            anew += 1
            continue
        for route in recorded["routes"]:
            route["problems"] = distinct(route["problems"])
            for name in {"middlewares", "rules"} & route.keys():  # 0.1.0 hid no secrets
                route[name] = redact(route[name], ROUTE.visible.at((name,)))
        found = outcome(summary, REMOTE if is_remote else LOCAL)
        for part in (found, *found["routes"]):
            part["problems"] = [problem for problem in part["problems"] if not is_new(problem)]
        if has_new_target(summary, recorded):
            for part in (found, recorded, *found["routes"], *recorded["routes"]):
                part["problems"] = [problem for problem in part["problems"] if not is_of_target(problem)]
                for key in TARGET:
                    part.pop(key, None)
        for part in (found, recorded, *found["routes"], *recorded["routes"]):  # nor the values in problems
            part["problems"] = distinct(sorted(problem[:-1] for problem in part["problems"]))
        assert found == recorded, summary
    assert anew < COUNT / 3
