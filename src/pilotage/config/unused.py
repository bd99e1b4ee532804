"""Finds settings for serving that have no effect. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pilotage.config.dashboard_section import DashboardSections
    from pilotage.config.serve import ServeSections
    from pilotage.config.substitute import Path as DocumentPath
    from pilotage.xds.options import GatewayOptions

__all__ = ["local_settings", "unused_settings"]

_LOCAL: Final = ("drain", "envoy", "workers", "max_connections", "log_level")


def local_settings(sections: DashboardSections) -> tuple[str, ...]:
    """Return the names of the settings in the file that affect only an Envoy run by pilotage itself."""
    given = sections.gateway.model_fields_set if sections.gateway is not None else ()
    found = [f"gateway.{name}" for name in _LOCAL if name in given]
    return (*found, "dashboard.host") if sections.dashboard is not None and sections.dashboard.host else tuple(found)


def unused_settings(sections: ServeSections, options: GatewayOptions) -> Iterator[tuple[DocumentPath, str, str]]:
    """Yield document path, message and hint for each setting that has no effect because of another one.

    Args:
        sections: the sections of the file.
        options: what Envoys get in addition to the routes, according to these sections.

    """
    gateway, api = sections.gateway, sections.api
    if gateway is not None and gateway.tls and not options.https_port:
        yield ("gateway", "tls"), "has no effect, because gateway.https is off", "remove one of them"
    elif gateway is not None and gateway.hsts and not options.serves_https:
        yield ("gateway", "hsts"), "has no effect without HTTPS", "add gateway.tls, or remove it"
    if api is not None and api.token_file and api.listen == []:
        yield ("api", "token_file"), "has no effect, because api.listen is empty", "remove one of them"
