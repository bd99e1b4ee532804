"""Gathers everything about one route, for ``/v1/routes/NAME`` and the dashboard.

:func:`route_detail` takes the source of the API and the name of a route. It returns a :class:`RouteDetail`, or ``None``
if there is no such route. The API sends the result of :meth:`RouteDetail.to_json`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from pilotage.api.certificates import explain_certificates
from pilotage.api.history import ChangeFilter, RecordedChange
from pilotage.api.routes import RouteEntry, RouteSource
from pilotage.api.traffic import TrafficJson, route_traffic
from pilotage.output.corrections import LabelCorrection, correction_of
from pilotage.output.explain import Explanation, explain_name
from pilotage.output.json import ProblemJson, problem_properties
from pilotage.sleep.status import SleepStatus
from pilotage.table.envoys import RouteState
from pilotage.xds.rule_files import read_rule_file

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from pilotage.api.source import Source
    from pilotage.core.problems import Problem
    from pilotage.table.snapshot import EngineSnapshot

__all__ = ["ProblemDetail", "RouteDetail", "route_detail", "route_source"]

_MOST_CHANGES: Final = 50


class ProblemDetail(ProblemJson, frozen=True, kw_only=True):
    """A problem with a route.

    Attributes:
        correction: the label to write instead of the wrong one; null if pilotage does not know what was meant.

    """

    correction: LabelCorrection | None = None


class RouteDetail(msgspec.Struct, frozen=True, kw_only=True):
    """Everything about one route.

    Attributes:
        version: version of the table.
        route: the route, as ``/v1/routes`` lists it.
        explanation: each container and file that claims the name. The facts about the route say which label or default
            each setting comes from, and which labels that label overrides.
        envoys: node ID -> state of the route, for each connected Envoy.
        traffic: requests and errors since Envoy's start; null if there were no requests.
        sleep: whether the route's containers are awake; null if they never sleep.
        changes: the route's latest changes, the newest first.
        problems: the problems with the route and with its container as a whole.

    """

    version: int
    route: RouteEntry
    explanation: Explanation
    envoys: dict[str, RouteState]
    traffic: TrafficJson | None
    sleep: SleepStatus | None
    changes: tuple[RecordedChange, ...]
    problems: tuple[ProblemDetail, ...]

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data for JSON."""
        found: dict[str, Any] = msgspec.to_builtins(self)
        return found | {"route": self.route.to_json()}


def route_source(source: Source) -> RouteSource:
    """Return the routes of the API's source at this moment."""
    table = explain_certificates(source.discovery.table, source.certificates)
    return RouteSource(table, source.problems(), source.gateway_ports, source.route_states)


async def route_detail(source: Source, name: str) -> RouteDetail | None:
    """Return everything about a route; ``None`` if there is no such route.

    Args:
        source: the source of the API.
        name: alias of the route.

    """
    traffic = (await source.traffic()) if name in source.discovery.table.routes else {}
    routes = route_source(source)
    if name not in routes.table.routes:
        return None
    route = routes.entry(name)
    counted = traffic.get(route.pool or name) or traffic.get(name)
    discovery = source.discovery
    explanation = explain_name(
        name, discovery.snapshots(), routes.table, discovery.files(), only_alias=True, with_rules=read_rule_file
    )
    return RouteDetail(
        version=routes.table.version,
        route=route,
        explanation=explanation,
        envoys=dict(sorted(source.route_states(name).items())),
        traffic=None if counted is None else route_traffic(counted),
        sleep=_sleep(source, name),
        changes=tuple(source.history.select(ChangeFilter(alias=name, limit=_MOST_CHANGES))),
        problems=tuple(_corrected(discovery.snapshots(), _problems(routes, name, explanation))),
    )


def _sleep(source: Source, name: str) -> SleepStatus | None:
    if source.sleeper is None or name not in source.discovery.table.wakefulness:
        return None
    unit = source.sleeper.find(name)
    return None if unit is None else source.sleeper.status(unit)


def _problems(routes: RouteSource, name: str, explanation: Explanation) -> dict[Problem, None]:
    """Return the problems with a route, each once: those in its explanation, then others such as those of Envoys."""
    owner = routes.table.routes[name]
    others = (
        problem
        for problem in routes.problems
        if problem.route == name
        or (not problem.route and problem.container and _place(problem) == (owner.provider, owner.container))
    )
    return dict.fromkeys((*explanation.problems, *others))


def _place(problem: Problem) -> tuple[str, str]:
    return problem.provider, problem.container


def _corrected(snapshots: Iterable[EngineSnapshot], problems: Collection[Problem]) -> Iterator[ProblemDetail]:
    """Yield each problem with the label to write instead, if it is known."""
    places = set(map(_place, problems))
    labels = {
        place: container.actual_labels
        for snapshot in snapshots
        for container in snapshot.containers
        if (place := (container.provider, container.container_name)) in places
    }
    for problem in problems:
        correction = correction_of(problem, labels.get(_place(problem), {}))
        yield ProblemDetail(**problem_properties(problem), correction=correction)
