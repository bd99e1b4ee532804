"""Defines the responses that list containers, problems, engines, Envoys, statistics and sleeping containers. Pure."""

from __future__ import annotations

import msgspec

from pilotage.api.engines import EngineJson
from pilotage.api.envoys import EnvoyJson
from pilotage.api.traffic import TrafficJson
from pilotage.output.json import ContainerJson, ProblemJson
from pilotage.sleep.status import SleepStatus
from pilotage.table.envoys import RouteState

__all__ = ["ContainerList", "EngineList", "EnvoyList", "ProblemList", "SleepList", "TrafficList"]


class ContainerList(msgspec.Struct, frozen=True):
    """All containers of all engines."""

    containers: list[ContainerJson]


class ProblemList(msgspec.Struct, frozen=True):
    """All current problems."""

    problems: list[ProblemJson]


class EngineList(msgspec.Struct, frozen=True):
    """All engines."""

    engines: list[EngineJson]


class EnvoyList(msgspec.Struct, frozen=True):
    """The Envoys, and what each has accepted.

    Attributes:
        version: version of the table.
        envoys: the Envoys, connected ones first.
        routes: alias -> node ID -> state of the route on this Envoy.

    """

    version: int
    envoys: list[EnvoyJson]
    routes: dict[str, dict[str, RouteState]]


class TrafficList(msgspec.Struct, frozen=True):
    """The statistics of each route and pool that has had requests."""

    routes: dict[str, TrafficJson]


class SleepList(msgspec.Struct, frozen=True):
    """All containers that can sleep, those that sleep together as one unit."""

    units: list[SleepStatus]
