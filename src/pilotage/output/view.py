"""Holds the data that a command shows: the engines' containers, the route table, and errors. Pure."""

from __future__ import annotations

import msgspec

from pilotage.core.errors import EngineError
from pilotage.routes.file import RouteFile
from pilotage.routes.support import refused_settings
from pilotage.table.envoys import RouteState
from pilotage.table.snapshot import EngineSnapshot
from pilotage.table.table import Table

__all__ = ["View"]


class View(msgspec.Struct, frozen=True):
    """Containers, routes and problems at one moment.

    Attributes:
        snapshots: the engines that responded.
        table: their routes, and all problems, including those of engines that failed.
        errors: the error of each engine that failed.
        is_demo: whether this is the demonstration, which contains errors on purpose.
        files: the route files.
        is_local: whether the files that routes name are, as far as is known, on this machine.
        config_file: absolute path of the running daemon's configuration file; ``""`` if there is none.
        on_envoys: alias -> node ID -> state of the route on this Envoy; ``None`` if no daemon was asked for it.

    """

    snapshots: tuple[EngineSnapshot, ...]
    table: Table
    errors: tuple[EngineError, ...] = ()
    is_demo: bool = False
    files: tuple[RouteFile, ...] = ()
    on_envoys: dict[str, dict[str, RouteState]] | None = None
    is_local: bool = False
    config_file: str = ""

    @property
    def refused(self) -> dict[str, tuple[str, ...]]:
        """Alias or pool that the gateway does not serve, or that an Envoy rejected -> the settings that prevent it."""
        problems = (problem for found in self.table.problems_by_key.values() for problem in found)
        return refused_settings(problems)

    @property
    def is_sound(self) -> bool:
        """Whether no engine failed and no problem is an error. The demonstration always counts as sound."""
        if self.is_demo:
            return True
        return not self.errors and not any(
            problem.severity == "error" for found in self.table.problems_by_key.values() for problem in found
        )
