"""Builds the scope (route configuration) of a first DNS label even if some backends cannot be built. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pilotage.xds.problems import build_failed
from pilotage.xds.scoped_routes import scope

if TYPE_CHECKING:
    from pilotage.core.problems import Problem
    from pilotage.xds.backend import Backend
    from pilotage.xds.options import GatewayOptions
    from pilotage.xds.resources import Resource

__all__ = ["build_scope"]


def build_scope(label: str, backends: list[Backend], options: GatewayOptions) -> tuple[Resource | None, list[Problem]]:
    """Return a scope of all backends that can be built (``None`` if none can), and problems with the others.

    Args:
        label: see :func:`~pilotage.xds.scoped_routes.scope_label`.
        backends: the backends whose names have this label.
        options: the gateway's settings.

    """
    try:
        return (scope(label, backends, options) if backends else None), []
    except Exception as error:  # noqa: BLE001  an error in one route must not block the others
        if len(backends) == 1:
            return None, [build_failed(backends[0].route, error)]
    valid: list[Backend] = []
    problems: list[Problem] = []
    for backend in backends:
        made, found = build_scope(label, [backend], options)
        if made is not None:
            valid.append(backend)
        problems += found
    made = build_scope(label, valid, options)[0] if len(valid) < len(backends) else None
    return made, problems
