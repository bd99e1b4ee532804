"""Names the labels that cause problems between routes, which are found without the labels. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from pilotage.labels.container_options import ALIASES
from pilotage.labels.merge import AliasFields
from pilotage.routes.build import decode_labels
from pilotage.routes.file import RouteFile
from pilotage.routes.support import located

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pilotage.containers.container import Container
    from pilotage.core.problems import Problem
    from pilotage.routes.route import Route

__all__ = ["AsWritten"]

_MOST_KNOWN: Final = 20_000
"""Maximum number of problems to remember. Decoding a container's labels can take milliseconds."""


class AsWritten:
    """Gives problems the label, or the line and column of a route file, that sets the field named by their path.

    Only the container or the file of a problem's route is looked up. Its labels are decoded once for each problem, and
    again after it has changed.

    Args:
        routes: returns the table's routes, by alias.
        containers: returns an engine's containers by ID; ``None`` if there is no such engine, or it is not listed yet.
        files: returns the route files.

    """

    def __init__(
        self,
        routes: Callable[[], Mapping[str, Route]],
        containers: Callable[[str], Mapping[str, Container] | None],
        files: Callable[[], Iterable[RouteFile]],
    ) -> None:
        self._routes, self._containers, self._files = routes, containers, files
        self._known: dict[Problem, tuple[Container | RouteFile, Problem]] = {}

    def __call__(self, problems: Iterable[Problem], *, resolved: bool = False) -> tuple[Problem, ...]:
        """Return the problems with their labels. Those that have a label or line, or no path, stay as they are.

        Args:
            problems: the problems.
            resolved: whether they no longer exist. They then keep the labels that they were first given.

        """
        return tuple(
            self._written(it, resolved=resolved) if it.path and it.route and not (it.label or it.line) else it
            for it in problems
        )

    def _written(self, problem: Problem, *, resolved: bool) -> Problem:
        known = self._known.get(problem)
        if known is not None and resolved:
            return known[1]
        route = self._routes().get(problem.route)
        source = self._source(problem, route) if route is not None and route.provider == problem.provider else None
        if source is None or route is None:
            return problem if known is None else known[1]
        if known is not None and known[0] is source:
            return known[1]
        found = _in_file(problem, source) if isinstance(source, RouteFile) else _in_labels(problem, source)
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        self._known[problem] = source, found
        return found

    def _source(self, problem: Problem, route: Route) -> Container | RouteFile | None:
        if route.is_static:
            return next((file for file in self._files() if file.name == route.provider), None)
        ids = {endpoint.container: endpoint.container_id for endpoint in route.endpoints}
        ids[route.container] = route.container_id
        listed = self._containers(route.provider)
        return listed.get(ids.get(problem.container, "")) if listed is not None else None


def _in_labels(problem: Problem, container: Container) -> Problem:
    listed = ALIASES in container.actual_labels and problem.route in container.aliases
    return located(problem, decode_labels(container).find(problem.route), listed=listed)


def _in_file(problem: Problem, file: RouteFile) -> Problem:
    found = located(problem, AliasFields(problem.route, file.fields.get(problem.route, {})))
    return msgspec.structs.replace(found, file=file.name, provider="", label="") if found.line else problem
