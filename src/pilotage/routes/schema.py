"""Defines the fields that labels can set on a route: name, spellings, kind, default and meaning. Pure.

A field is an attribute of a struct in this module or in :mod:`pilotage.routes.access_log`. It is annotated with
:class:`~pilotage.routes.mappings.Field`, and the attribute's default is the field's default. Parsing, suggestions,
``pilotage labels`` and the documentation all use this table. The fields are GoDoxy's (LABELS II.6.2);
:data:`UNSUPPORTED` lists the fields that only GoDoxy supports.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec

from pilotage.core.values import FALSE
from pilotage.labels.key_schema import fold
from pilotage.labels.keys import CONTAINER_OPTIONS
from pilotage.routes.access_log import AccessLog, AccessLogKind
from pilotage.routes.fields import (
    Boolean,
    Choice,
    Duration,
    FieldContext,
    Host,
    Integer,
    IPAddress,
    Name,
    Path,
    RequestPath,
    Text,
)
from pilotage.routes.formats import Folder, Icon, Index, NoEffect
from pilotage.routes.mappings import Field, FreeMapping, ListOf, StructKind
from pilotage.routes.middlewares import Middlewares
from pilotage.routes.path_patterns import PathPatterns
from pilotage.routes.port_syntax import Port, PortPair
from pilotage.routes.rules import Rules

if TYPE_CHECKING:
    from pilotage.core.yaml import Located

__all__ = [
    "PROTECTIVE",
    "ROUTE",
    "ROUTE_KEYS",
    "UNSUPPORTED",
    "HealthCheck",
    "Homepage",
    "LoadBalance",
    "RouteSettings",
]


_BOOLEAN: Final = Boolean()
_TEXT: Final = Text()
_PATH: Final = Path()
_SECONDS: Final = Duration(0)


_MEANT_SCHEMES: Final = {
    "grpc": "h2c",
    "h2": "h2c",
    "http2": "h2c",
    "grpcs": "https",
    "ws": "http",
    "wss": "https",
    "tls": "tcp",
    "ssl": "tcp",
    "file": "fileserver",
    "static": "fileserver",
}


class HealthCheck(msgspec.Struct, frozen=True, kw_only=True):
    """How the target of a route is probed."""

    disable: Annotated[bool, Field(_BOOLEAN, "Do not probe the target.", "true", ("disabled",))] = False
    path: Annotated[str, Field(RequestPath(), "Path of the probe.", "/healthz")] = "/"
    use_get: Annotated[bool, Field(_BOOLEAN, "Probe with GET instead of HEAD.", "true")] = False
    interval: Annotated[float, Field(Duration(1), "Time between two probes, at least 1s.", "10s")] = 5.0
    timeout: Annotated[float, Field(Duration(1), "Time limit of a probe, at least 1s.", "3s")] = 5.0
    retries: Annotated[
        int | None,
        Field(
            Integer(),
            "Consecutive failures before the target is unhealthy; if negative, one is enough.",
            "3",
            default="as many as fit in 15s",
        ),
    ] = None

    @property
    def failures(self) -> int:
        """How many probes in a row must fail before an endpoint counts as unhealthy."""
        if not self.retries:
            return max(1, int(15 // self.interval))
        return max(1, self.retries)


class _HealthCheckKind(StructKind):
    def dump(self, name: str, value: HealthCheck) -> tuple[str, Any]:
        shown = msgspec.structs.replace(value, retries=value.failures if not value.retries else value.retries)
        return super().dump(name, shown)


class LoadBalance(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of a pool. Routes with the same ``link`` form a pool of that name."""

    link: Annotated[str, Field(Name(), "Name of the pool; its members share the requests for this name.", "shop")] = ""
    mode: Annotated[
        str,
        Field(_TEXT, "round_robin, least_conn or ip_hash.", "least_conn"),
    ] = ""
    weight: Annotated[
        int, Field(Integer(0, 10_000), "Share of the pool's requests, at most 10000; 0 for an equal share.", "20")
    ] = 0
    sticky: Annotated[bool, Field(_BOOLEAN, "Keep each client on one member, with a cookie.", "true")] = False
    sticky_max_age: Annotated[float, Field(_SECONDS, "How long that cookie lasts.", "2h", default="1h")] = 0.0
    options: Annotated[
        dict[str, Any] | None,
        Field(
            FreeMapping(),
            "For ip_hash: the header with the client's address, and the networks (from) that may send it.",
            "{header: X-Real-IP, from: [10.0.0.0/8]}",
        ),
    ] = None


class Homepage(msgspec.Struct, frozen=True, kw_only=True):
    """How the route is shown on a dashboard. This does not affect traffic."""

    show: Annotated[bool, Field(_BOOLEAN, "Whether to show the route.", "false")] = True
    name: Annotated[str, Field(_TEXT, "Displayed name.", "Photos", default="made from the alias")] = ""
    icon: Annotated[str, Field(Icon(), "A URL, a path, or @selfhst/name.svg.", "@selfhst/immich.svg")] = ""
    category: Annotated[str, Field(_TEXT, "Displayed group.", "Media")] = ""
    description: Annotated[str, Field(_TEXT, "Text below the name.", "Family pictures", ("desc",))] = ""
    url: Annotated[str, Field(_TEXT, "Address to open.", "", default="the route's own")] = ""
    favorite: Annotated[bool, Field(_BOOLEAN, "Show the route among the favorites.", "true")] = False
    widget_config: Annotated[dict[str, Any] | None, Field(FreeMapping(), "Settings of a widget.", "", ("widget",))] = (
        None
    )


class RouteSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings that labels can give a route. Times are in seconds."""

    alias: Annotated[str, Field(NoEffect(), "Has no effect: the alias in the label's key is the route's name.")] = ""
    scheme: Annotated[
        str,
        Field(
            Choice(("http", "https", "h2c", "tcp", "udp", "fileserver"), meant=_MEANT_SCHEMES),
            "Protocol used to connect to the target.",
            "https",
            default="by image, alias and port",
        ),
    ] = ""
    host: Annotated[
        str,
        Field(Host(), "Host name or address of the target.", "10.1.2.3", default="the container's address"),
    ] = ""
    port: Annotated[
        PortPair,
        Field(
            Port(),
            "Port of the target, or listening:target if the route has a port of its own.",
            "8080",
            default="by image and alias, or else 80, 8080, 3000, 8000, 443, 8443, or else the lowest exposed",
        ),
    ] = PortPair()
    bind: Annotated[
        str,
        Field(
            IPAddress(),
            "The only address of the gateway at which the route answers.",
            "127.0.0.1",
            protective=True,
            default="the gateway's",
        ),
    ] = ""
    root: Annotated[str, Field(Folder(), "Folder for scheme fileserver.", "/srv/www")] = ""
    spa: Annotated[bool, Field(_BOOLEAN, "fileserver: respond with the index for unknown paths.", "true")] = False
    index: Annotated[str, Field(Index(), "fileserver: file to return for a folder.", "/index.html")] = "/index.html"
    hold: Annotated[
        float, Field(_SECONDS, "How long requests wait instead of failing while the route has no endpoint.", "5s")
    ] = 0.0
    no_tls_verify: Annotated[bool, Field(_BOOLEAN, "Do not verify the target's certificate.", "true")] = False
    response_header_timeout: Annotated[
        float,
        Field(
            _SECONDS,
            "Time limit until the response begins. The default does not apply to retryable requests, e.g. GET.",
            "2m",
            default="1m",
        ),
    ] = 0.0
    max_conns_per_host: Annotated[
        int, Field(Integer(0), "Maximum connections to the target; 0 for no limit.", "100")
    ] = 0
    compression: Annotated[bool, Field(_BOOLEAN, "Compress text responses, for clients that accept it.", "true")] = (
        False
    )
    disable_compression: Annotated[
        bool, Field(_BOOLEAN, "Do not compress responses, even if gateway.compression is on.", "true")
    ] = False
    ssl_server_name: Annotated[
        str | None,
        Field(_TEXT, "Server name sent to the target; off sends none.", "app.internal", default="the target's host"),
    ] = None
    ssl_trusted_certificate: Annotated[str, Field(_PATH, "CA file that verifies the target's certificate.")] = ""
    ssl_certificate: Annotated[str, Field(_PATH, "Client certificate for the target.")] = ""
    ssl_certificate_key: Annotated[str, Field(_PATH, "Key of the client certificate.")] = ""
    ssl_protocols: Annotated[
        tuple[str, ...],
        Field(
            ListOf(Choice(("TLSv1.0", "TLSv1.1", "TLSv1.2", "TLSv1.3"), fold=True)),
            "TLS versions for the target; only the lowest and the highest matter.",
            "TLSv1.2, TLSv1.3",
            strict=True,
        ),
    ] = ()
    inbound_mtls_profile: Annotated[
        str,
        Field(
            _TEXT,
            "Profile in `pilotage.yml` for the certificates that clients must send.",
            "staff",
            protective=True,
        ),
    ] = ""
    path_patterns: Annotated[
        tuple[str, ...],
        Field(
            PathPatterns(),
            "Paths that are served, as patterns of Go's ServeMux; others get 404.",
            "GET /public/, /login",
            protective=True,
            default="all paths",
        ),
    ] = ()
    rules: Annotated[
        Any,
        Field(Rules(), "Rules for requests: conditions and commands.", "path /old { redirect /new }", protective=True),
    ] = None
    rule_file: Annotated[
        str, Field(_PATH, "File with rules, instead of the field rules.", "/srv/rules/shop.txt", protective=True)
    ] = ""
    healthcheck: Annotated[
        HealthCheck, Field(_HealthCheckKind(HealthCheck), "How the target is probed.", "{path: /healthz}")
    ] = HealthCheck()
    load_balance: Annotated[
        LoadBalance, Field(StructKind(LoadBalance), "Pool to which the route belongs.", "{link: shop}")
    ] = LoadBalance()
    middlewares: Annotated[
        dict[str, Any],
        Field(
            Middlewares(),
            "Middlewares that check or change requests and responses.",
            "{cidr_whitelist: {allow: [10.0.0.0/8]}}",
            protective=True,
        ),
    ] = {}
    homepage: Annotated[
        Homepage,
        Field(
            StructKind(Homepage),
            "How the dashboard shows the route. The page of a sleeping service shows name and icon (a path), too.",
            "{name: Photos}",
        ),
    ] = Homepage()
    access_log: Annotated[
        AccessLog | None,
        Field(
            AccessLogKind(AccessLog),
            "How requests of this route are logged.",
            "{stdout: true}",
            default="off",
        ),
    ] = None
    relay_proxy_protocol_header: Annotated[
        bool, Field(_BOOLEAN, "tcp: send the client's address to the target with the PROXY protocol.", "true")
    ] = False
    tls_termination: Annotated[
        bool,
        Field(_BOOLEAN, "tcp: terminate TLS at the gateway, with the gateway's certificates.", "true", protective=True),
    ] = False


_UNSUPPORTED_HERE: Final = "a GoDoxy field that pilotage does not support"
UNSUPPORTED: Final = {
    "agent": ("agent cannot be set, because a route uses the agent of its container's engine", True),
    "idlewatcher": (f"idlewatcher is {_UNSUPPORTED_HERE}; use proxy.idle_timeout and the other idle labels", False),
    "proxmox": (f"proxmox is {_UNSUPPORTED_HERE}", False),
}
"""Folded name of a field that only GoDoxy supports -> message, and whether it takes the route out of service."""


_CONTAINER_OPTIONS: Final = {fold(option): option for option in CONTAINER_OPTIONS}


class _RouteKind(StructKind):
    def read_field(self, name: str | None, key: str, value: Located, context: FieldContext) -> Any:
        """Read one field. If ``proxy.*`` sets a value for several aliases, it is read only once."""
        if context.known is None:
            return super().read_field(name, key, value, context)
        known = context.known.get((key, id(value)))
        if known is not None:
            _, read, problems, refused = known
            context.problems += problems
        else:
            before, was_refused = len(context.problems), context.refused
            context.refused = False
            read = super().read_field(name, key, value, context)
            refused = context.refused
            context.refused = was_refused
            # The value is kept alive, so that no other value gets its id.
            context.known[key, id(value)] = value, read, tuple(context.problems[before:]), refused
        context.refused = context.refused or refused
        return read

    def unknown(self, key: str, value: Located, context: FieldContext) -> None:
        unsupported = UNSUPPORTED.get(fold(key))
        if unsupported is not None:
            message, refused = unsupported
            context.error(value, message, "remove it", at_key=True)
        elif (option := _CONTAINER_OPTIONS.get(fold(key))) is not None:
            # A container that was meant to be excluded must not be reachable.
            refused = option == "exclude" and value.value is not False and value.value not in FALSE
            context.error(value, f"{option} is a setting of the whole container", f"write proxy.{option}", at_key=True)
        else:
            super().unknown(key, value, context)
            near = context.budget.nearest(key, tuple(self.fields)) if key else ""
            refused = near is None or near in PROTECTIVE  # None: not looked up, because the budget is used up
        context.refused = context.refused or refused


ROUTE: Final = _RouteKind(RouteSettings)
"""All fields of a route."""

ROUTE_KEYS: Final = ROUTE.schema
"""The spellings of all keys below an alias."""

PROTECTIVE: Final = ROUTE.schema.protective
"""Names of the fields that restrict access. An error in one takes the route out of service (decision 10)."""
