"""Turns a container into its routes, or the reasons why it has none; does the same for routes in files.

Containers, decoded labels and the text of route files go in; frozen :class:`Route` values and all problems come out. A
route that must not be served is marked as excluded, with the reason. This package opens no sockets or files, does not
compare the routes of different containers, and does not know Envoy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pilotage.core.lazy import lazy_exports

if TYPE_CHECKING:
    from pilotage.routes.access_log import AccessLog, FieldFilter, LogFilters, LoggedFields
    from pilotage.routes.build import RESERVED_PORTS, Built, RouteBuilder, build_routes, decode_labels
    from pilotage.routes.claims import Claim, ContainerClaims
    from pilotage.routes.exclusion import ExclusionReason
    from pilotage.routes.fields import Duration, scalar_text
    from pilotage.routes.file import RouteFile, read_route_file
    from pilotage.routes.gate import Gate, Opening
    from pilotage.routes.hosts import (
        ANY_LABEL,
        DEFAULT,
        caught_by,
        clean_domains,
        first_label,
        is_host,
        is_stream_pool,
        mistake_in,
        served_name,
    )
    from pilotage.routes.idlewatcher import IDLEWATCHER, Idlewatcher
    from pilotage.routes.mappings import StructKind
    from pilotage.routes.middlewares import MIDDLEWARES, middleware_name
    from pilotage.routes.oidc import OIDC_OPTIONS, OidcDefaults, OidcOptions, audience, merge_oidc, read_oidc
    from pilotage.routes.port_syntax import PortPair
    from pilotage.routes.problems import unexpected
    from pilotage.routes.reach import nowhere
    from pilotage.routes.route import (
        Endpoint,
        EndpointHealth,
        EndpointState,
        HealthState,
        Route,
        bracketed,
        route_json,
        secrets_of,
    )
    from pilotage.routes.schema import PROTECTIVE, ROUTE, UNSUPPORTED, HealthCheck, Homepage, LoadBalance, RouteSettings
    from pilotage.routes.settings import read_settings
    from pilotage.routes.target import BY_FILE, BY_LABEL, Target, resolve_static_target, resolve_target

__all__ = [
    "ANY_LABEL",
    "BY_FILE",
    "BY_LABEL",
    "DEFAULT",
    "IDLEWATCHER",
    "MIDDLEWARES",
    "OIDC_OPTIONS",
    "PROTECTIVE",
    "RESERVED_PORTS",
    "ROUTE",
    "UNSUPPORTED",
    "AccessLog",
    "Built",
    "Claim",
    "ContainerClaims",
    "Duration",
    "Endpoint",
    "EndpointHealth",
    "EndpointState",
    "ExclusionReason",
    "FieldFilter",
    "Gate",
    "HealthCheck",
    "HealthState",
    "Homepage",
    "Idlewatcher",
    "LoadBalance",
    "LogFilters",
    "LoggedFields",
    "OidcDefaults",
    "OidcOptions",
    "Opening",
    "PortPair",
    "Route",
    "RouteBuilder",
    "RouteFile",
    "RouteSettings",
    "StructKind",
    "Target",
    "audience",
    "bracketed",
    "build_routes",
    "caught_by",
    "clean_domains",
    "decode_labels",
    "first_label",
    "is_host",
    "is_stream_pool",
    "merge_oidc",
    "middleware_name",
    "mistake_in",
    "not_served",
    "nowhere",
    "read_oidc",
    "read_route_file",
    "read_settings",
    "refused_settings",
    "resolve_static_target",
    "resolve_target",
    "route_json",
    "scalar_text",
    "secrets_of",
    "served_name",
    "unexpected",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "read_oidc": "oidc",
        "merge_oidc": "oidc",
        "audience": "oidc",
        "OidcOptions": "oidc",
        "OidcDefaults": "oidc",
        "OIDC_OPTIONS": "oidc",
        "unexpected": "problems",
        "Gate": "gate",
        "Opening": "gate",
        "ANY_LABEL": "hosts",
        "read_settings": "settings",
        "ContainerClaims": "claims",
        "Claim": "claims",
        "MIDDLEWARES": "middlewares",
        "PROTECTIVE": "schema",
        "RESERVED_PORTS": "build",
        "ROUTE": "schema",
        "UNSUPPORTED": "schema",
        "AccessLog": "access_log",
        "BY_FILE": "target",
        "BY_LABEL": "target",
        "Built": "build",
        "Duration": "fields",
        "Endpoint": "route",
        "EndpointHealth": "route",
        "EndpointState": "route",
        "ExclusionReason": "exclusion",
        "FieldFilter": "access_log",
        "HealthCheck": "schema",
        "HealthState": "route",
        "Homepage": "schema",
        "LoadBalance": "schema",
        "LogFilters": "access_log",
        "LoggedFields": "access_log",
        "IDLEWATCHER": "idlewatcher",
        "Idlewatcher": "idlewatcher",
        "PortPair": "port_syntax",
        "Route": "route",
        "RouteBuilder": "build",
        "RouteFile": "file",
        "RouteSettings": "schema",
        "StructKind": "mappings",
        "Target": "target",
        "bracketed": "route",
        "build_routes": "build",
        "decode_labels": "build",
        "is_stream_pool": "hosts",
        "served_name": "hosts",
        "DEFAULT": "hosts",
        "caught_by": "hosts",
        "is_host": "hosts",
        "mistake_in": "hosts",
        "first_label": "hosts",
        "clean_domains": "hosts",
        "middleware_name": "middlewares",
        "not_served": "support",
        "refused_settings": "support",
        "nowhere": "reach",
        "read_route_file": "file",
        "resolve_static_target": "target",
        "resolve_target": "target",
        "route_json": "route",
        "scalar_text": "fields",
        "secrets_of": "route",
    },
)
