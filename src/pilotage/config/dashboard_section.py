"""Reads the section ``dashboard`` of ``pilotage.yml``. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
from pydantic import BeforeValidator

from pilotage.config.dashboard import DashboardSettings
from pilotage.config.serve import ApiSettings, Section, ServeSections
from pilotage.config.validation import config_error, list_of_one
from pilotage.core.hostnames import ascii_host
from pilotage.core.text import shorten
from pilotage.routes.middlewares import middleware_name

if TYPE_CHECKING:
    from pilotage.config.serve import AddProblem, FileOf

__all__ = ["DashboardSection", "DashboardSections"]

_LABEL: Final = "[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST: Final = re.compile(rf"(?=.{{1,253}}$){_LABEL}(\.{_LABEL})*")
_RESERVED: Final = "request"
"""The middleware with which pilotage marks the requests that come through the route."""


def _host(value: Any) -> Any:
    text = ascii_host(value) if isinstance(value, str) else ""
    if not _HOST.fullmatch(text):
        raise config_error(f"{shorten(value)!r} is not a host name", "write one such as pilotage.example.com")
    return text


class DashboardSection(Section):
    """The section ``dashboard``."""

    host: Annotated[tuple[Annotated[str, BeforeValidator(_host)], ...], BeforeValidator(list_of_one)] = ()
    middlewares: dict[str, Any] | None = None


class DashboardSections(ServeSections):
    """The sections for serving, with ``dashboard``."""

    dashboard: DashboardSection | None = None

    def api_settings(self, file: FileOf, add_problem: AddProblem) -> ApiSettings:
        """Return the settings of the API, with those of the dashboard."""
        found, section = super().api_settings(file, add_problem), self.dashboard
        if section is None:
            return found
        dashboard = DashboardSettings(tuple(dict.fromkeys(section.host)), section.middlewares or {})
        for name in dashboard.middlewares:
            if middleware_name(name) == _RESERVED:
                message = "the dashboard cannot have this middleware, because pilotage uses it itself"
                add_problem(("dashboard", "middlewares", name), message, "remove it")
        if dashboard.middlewares and not dashboard.hosts:
            add_problem(("dashboard", "middlewares"), "has no effect without dashboard.host", "add host, or remove it")
        if dashboard.hosts and not found.token_file and not dashboard.signs_in:
            hint = "set api.token_file, or add the middleware oidc or forwardauth"
            add_problem(
                ("dashboard", "host"), "nobody could open the dashboard there, because nobody can sign in", hint
            )
        return msgspec.structs.replace(found, dashboard=dashboard)
