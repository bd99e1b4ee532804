"""Prepares the page of one route."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from pilotage.core.problems import Problem
from pilotage.dashboard.links import safe_url
from pilotage.dashboard.problems import shown_problem
from pilotage.dashboard.states import endpoint_state, route_state, state_on_envoy
from pilotage.output.corrections import correction_of
from pilotage.output.json import ProblemJson
from pilotage.sleep.status import describe

if TYPE_CHECKING:
    from pilotage.api.details import ProblemDetail, RouteDetail
    from pilotage.dashboard.rates import Rates
    from pilotage.output.explain import ContainerExplanation, Explanation, FileExplanation, RouteExplanation
    from pilotage.table.table import Table

__all__ = ["explanation_page", "route_page"]


def route_page(detail: RouteDetail, table: Table, rates: Rates) -> dict[str, Any]:
    """Return the template's data for a route.

    Args:
        detail: everything about the route.
        table: the table of the same moment.
        rates: the rates of requests.

    """
    route = table.routes[detail.route.alias]
    health = table.health_of(route.alias)
    found = explanation_page(detail.explanation)
    return found | {
        "name": route.alias,
        "current": route_state(detail.route),
        "address": safe_url(detail.route.url or ""),
        "sleep": describe(detail.sleep, wall=time.time()) if detail.sleep is not None else "",
        "problems": [shown_problem(_problem(it), it.correction) for it in detail.problems],
        "endpoints": [
            {"address": it.address, "container": it.container, "state": endpoint_state(it, health.get(it.address))}
            for it in route.endpoints
        ],
        "envoys": [{"node": node, "state": state_on_envoy(state)} for node, state in detail.envoys.items()],
        "traffic": _traffic(detail, rates),
        "changes": detail.changes,
    }


def explanation_page(explanation: Explanation) -> dict[str, Any]:
    """Return the template's data for the explanation of a container or a pool."""
    return {
        "name": explanation.name,
        "current": None,
        "address": "",
        "sleep": "",
        "problems": [shown_problem(it, correction_of(it)) for it in dict.fromkeys(explanation.problems)],
        "endpoints": [],
        "envoys": [],
        "traffic": None,
        "changes": (),
        "parts": [*map(_container, explanation.containers), *map(_file, explanation.files)],
    }


def _problem(detail: ProblemDetail) -> Problem:
    return Problem(**{name: getattr(detail, name) for name in ProblemJson.__struct_fields__})


def _container(container: ContainerExplanation) -> dict[str, Any]:
    about = ", ".join(it for it in (container.image, container.status or container.state) if it)
    return {
        "title": f"Container {container.name or container.id[:12]} on {container.provider}",
        "about": about,
        "notes": container.notes,
        "facts": container.facts,
        "routes": [_route(it) for it in container.routes],
    }


def _file(file: FileExplanation) -> dict[str, Any]:
    routes = [_route(it) for it in file.routes]
    return {"title": f"File {file.name}", "about": "", "notes": (), "facts": (), "routes": routes}


def _route(route: RouteExplanation) -> dict[str, Any]:
    return {
        "alias": route.alias,
        "reason": route.reason,
        "remedy": route.remedy,
        "facts": route.facts,
        "notes": route.notes,
        "rules": route.rules,
    }


def _traffic(detail: RouteDetail, rates: Rates) -> dict[str, Any] | None:
    counted = detail.traffic
    if counted is None:
        return None
    rate = rates.of(detail.route.pool or detail.route.alias) or rates.of(detail.route.alias)
    durations = counted.duration_s
    return {
        "rate": rate.words if rate is not None else "0",
        "points": rate.points if rate is not None else "",
        "requests": counted.requests,
        "errors": counted.errors,
        "share": f"{counted.errors / counted.requests:.1%}" if counted.errors and counted.requests else "",
        "in_progress": counted.in_progress,
        "mean": f"{1000 * durations.sum / durations.count:.3g} ms" if durations.count else "",
    }
