"""Puts file routes into the table. A route with ``idlewatcher`` has an endpoint only while its container runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from pilotage.core.problems import Problem
from pilotage.core.suggest import did_you_mean
from pilotage.routes.build import Built
from pilotage.routes.idlewatcher import IDLEWATCHER, Idlewatcher
from pilotage.routes.route import Route

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pilotage.containers.container import Container
    from pilotage.labels.container_options import IdleConfig
    from pilotage.routes.file import RouteFile
    from pilotage.table.store import RouteStore

__all__ = ["FileRoutes"]


class _Sleeping(msgspec.Struct):
    """A route that sleeps and wakes with a container.

    Attributes:
        route: the route as its file defines it.
        idle: the container that the route sleeps and wakes with, as defined in the file.
        shown: the route and its problems as they were last put into the table.
        container_id: ID of the container at the last look-up; ``""`` if there was no such container.

    """

    route: Route
    idle: Idlewatcher
    shown: Built
    container_id: str = ""


class FileRoutes:
    """The routes from all files.

    Args:
        store: receives the routes and their problems.
        containers: returns ID -> container for an engine; ``None`` if the engine has not been listed yet.
        engines: returns the names of all engines.

    Attributes:
        idle: engine and ID of a container without idle labels -> how a file lets it sleep and wake.

    """

    def __init__(
        self,
        store: RouteStore,
        containers: Callable[[str], Mapping[str, Container] | None],
        engines: Callable[[], Iterable[str]],
    ) -> None:
        self.idle: dict[tuple[str, str], IdleConfig] = {}
        self._store = store
        self._containers = containers
        self._engines = engines
        self._aliases: dict[str, tuple[str, ...]] = {}
        self._sleeping: dict[tuple[str, str], _Sleeping] = {}  # by file and alias

    def replace(self, name: str, file: RouteFile | None) -> None:
        """Replace the routes and problems of a file; ``None`` removes them."""
        routes = file.routes if file is not None else ()
        cause = f"{name} {'changed' if file is not None else 'removed'}"
        aliases = tuple(route.alias for route in routes)
        for alias in self._aliases.pop(name, ()):
            self._sleeping.pop((name, alias), None)
            if alias not in aliases:
                self._store.set_routes((name, alias), None, cause)
        for route in routes:
            built = Built((route,), route.problems)
            idle = file.idlewatchers.get(route.alias) if file is not None else None
            if idle is not None and not route.excluded:
                found = self._sleeping[name, route.alias] = _Sleeping(route, idle, built)
                built = found.shown = self._resolve(found)
            self._store.set_routes((name, route.alias), built, cause)
        if aliases:
            self._aliases[name] = aliases
        self._store.set_problems((name, ""), file.problems if file is not None else ())

    def refresh(self) -> None:
        """Look up the containers of routes with ``idlewatcher`` again, and update each route that this changes."""
        self.idle.clear()
        for key, found in self._sleeping.items():
            built = self._resolve(found)
            if built != found.shown:
                found.shown = built
                self._store.set_routes(key, built, f"change of {found.idle.container}")

    def _resolve(self, found: _Sleeping) -> Built:
        route, idle = found.route, found.idle
        containers = self._containers(idle.provider)
        if containers is None:
            engines = list(self._engines())
            if idle.provider in engines:
                return Built((route,), route.problems)  # not listed yet
            hint = did_you_mean(idle.provider, engines) or "name an engine of pilotage.yml"
            return _with_problem(found, f"no engine is called {idle.provider!r}, so the route does not sleep", hint)
        container = containers.get(found.container_id)
        if container is None or container.container_name != idle.container:
            container = next((it for it in containers.values() if it.container_name == idle.container), None)
        found.container_id = container.container_id if container is not None else ""
        if container is None:
            message = f"{idle.provider} has no container called {idle.container!r}, so the route does not sleep"
            hint = did_you_mean(idle.container, [it.container_name for it in containers.values()])
            return _with_problem(found, message, hint)
        config = container.idlewatcher_config or idle.config
        if config is None or not config.idle_timeout:
            message = f"neither the file nor {idle.container} has an idle timeout, so the route does not sleep"
            return _with_problem(found, message, "add idle_timeout: 30m here")
        key = (idle.provider, container.container_id)
        if container.idlewatcher_config is None:
            self.idle.setdefault(key, config)
        endpoints = route.endpoints if container.running else ()
        asleep = msgspec.structs.replace(route, endpoints=endpoints, idle_watcher=True, sleeps_with=key)
        return Built((asleep,), route.problems)


def _with_problem(found: _Sleeping, message: str, hint: str) -> Built:
    route, idle = found.route, found.idle
    problem = Problem(
        message=message,
        hint=hint,
        path=IDLEWATCHER,
        file=route.provider,
        route=route.alias,
        line=idle.line,
        column=idle.column,
    )
    problems = (*route.problems, problem)
    return Built((msgspec.structs.replace(route, problems=problems),), problems)
