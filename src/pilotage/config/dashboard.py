"""Holds how the gateway serves the dashboard. Pure. :mod:`pilotage.config.dashboard_section` reads it."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from pilotage.routes.middlewares import middleware_name

__all__ = ["DashboardSettings"]

_SIGN_IN: Final = frozenset({"oidc", "forwardauth"})


class DashboardSettings(msgspec.Struct, frozen=True):
    """How the gateway serves the dashboard.

    Attributes:
        hosts: the aliases under which it answers, such as ``pilotage.example.com``; empty if the gateway does not serve
            it.
        middlewares: the middlewares of the dashboard's route, in the form that labels have.

    """

    hosts: tuple[str, ...] = ()
    middlewares: dict[str, Any] = {}

    @property
    def signs_in(self) -> bool:
        """Whether a middleware lets only users see the dashboard who have signed in elsewhere."""
        return any(middleware_name(name) in _SIGN_IN for name in self.middlewares)
