"""The one table of fields: name, spellings, kind, default and meaning of all that a label can set on a route.

A field is an attribute of a struct below, annotated with :class:`Field`; the attribute's default is the field's.
Parsing, suggestions, ``pilotage labels`` and the documentation all come from here and from nowhere else. The fields are
the reference's (LABELS II.6.2); :data:`UNSUPPORTED` are those that only the reference has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final, get_type_hints

import msgspec

from pilotage.core.suggest import did_you_mean, nearest
from pilotage.core.yaml import Located
from pilotage.routes.fields import (
    UNSET,
    Boolean,
    Choice,
    Duration,
    FieldContext,
    FreeMapping,
    Host,
    Integer,
    IPAddress,
    Kind,
    ListOf,
    Name,
    Nested,
    Path,
    RequestPath,
    Text,
    as_mapping,
)
from pilotage.routes.formats import Icon, Retention, StatusRange
from pilotage.routes.middlewares import Middlewares
from pilotage.routes.ports import Port, PortPair
from pilotage.routes.rules import Rules

if TYPE_CHECKING:
    from pilotage.labels.decode import Spelling

__all__ = [
    "PROTECTIVE",
    "ROUTE",
    "UNSUPPORTED",
    "AccessLog",
    "Field",
    "HealthCheck",
    "Homepage",
    "LoadBalance",
    "RouteSettings",
    "StructKind",
    "fold",
]


class Field(msgspec.Struct, frozen=True):
    """What is known about one field besides its name and default.

    Attributes:
        kind: the kind of value it takes.
        meaning: one sentence.
        example: a value fit for a label.
        spellings: other names of it.
        protective: an error in it takes the route out of service, for it may have kept people out (decision 10).
        strict: a value it refuses takes the route out of service too, as it does in the reference.
        default: how documentation puts the default, where the attribute's own does not say it.

    """

    kind: Kind
    meaning: str
    example: str = ""
    spellings: tuple[str, ...] = ()
    protective: bool = False
    strict: bool = False
    default: str = ""


def fold(name: str) -> str:
    """Return the form by which field names are compared: lower case, no underscores (LABELS II.6.1)."""
    return name.lower().replace("_", "")


_MOST_SPELLINGS: Final = 1024


class StructKind(Nested):
    """A mapping with known fields, read into a struct."""

    name = "mapping"
    eager = True

    def __init__(self, struct: type[msgspec.Struct]) -> None:
        self.struct = struct
        hints = get_type_hints(struct, include_extras=True)
        self.fields: dict[str, Field] = {name: hints[name].__metadata__[0] for name in struct.__struct_fields__}
        self._names: dict[str, str] = {}
        self._children: dict[str, tuple[str, Spelling | None, bool]] = {}
        for name, field in self.fields.items():
            for spelling in (name, *field.spellings):
                self._names[fold(spelling)] = name

    def canonical(self, name: str) -> str | None:
        """Return the field that a key names, in whatever spelling."""
        return self._names.get(fold(name))

    def child(self, name: str) -> tuple[str, Spelling | None, bool]:
        known = self._children.get(name)
        if known is None:
            canonical = self.canonical(name)
            if canonical is None:
                return name, None, False
            kind = self.fields[canonical].kind
            known = (canonical, kind if isinstance(kind, Nested) else None, kind.eager)
            if len(self._children) < _MOST_SPELLINGS:
                self._children[name] = known
        return known

    def read(self, value: Located, to: FieldContext) -> Any:
        mapping = as_mapping(self, value, to)
        return UNSET if mapping is UNSET else self.struct(**self.read_fields(mapping, to))

    def read_fields(self, mapping: dict[str, Located], to: FieldContext) -> dict[str, Any]:
        """Read every field of a mapping; unknown keys are reported, with the nearest known name."""
        path = to.path
        found: dict[str, Any] = {}
        for key, value in mapping.items():
            name = self.canonical(key)
            to.path = f"{path}.{name or key}" if path else name or key
            if name is None:
                self._unknown(key, value, to)
                continue
            field = self.fields[name]
            before = len(to.problems)
            read = field.kind.read(value, to)
            if (field.protective or field.strict) and len(to.problems) > before:
                to.fatal = True
            if read is not UNSET:
                found[name] = read
        to.path = path
        return found

    def _unknown(self, key: str, value: Located, to: FieldContext) -> None:
        if not key:
            to.fault(value, "empty field name", "write proxy.<alias>.<field>", at_key=True)
        elif self.struct is RouteSettings and fold(key) in UNSUPPORTED:
            message, fatal = UNSUPPORTED[fold(key)]
            to.fault(value, message, "remove it", at_key=True)
            to.fatal = to.fatal or fatal
        else:
            to.fault(value, "unknown field", did_you_mean(key, self.fields), at_key=True)
            for label in sorted(_sources(value) - {value.source}):
                to.fault(Located(value.value, label), "unknown field", did_you_mean(key, self.fields))
            if self.struct is RouteSettings and nearest(key, self.fields) in PROTECTIVE:
                to.fatal = True

    def dump(self, name: str, value: Any) -> tuple[str, Any]:
        answer: dict[str, Any] = {}
        for key, field in self.fields.items():
            item = getattr(value, key)
            if item is not None:
                dumped, content = field.kind.dump(key, item)
                answer[dumped] = content
        return name, answer


def _sources(value: Located) -> set[str]:
    """Return the labels that put something below a value, each of which may have to be told of."""
    found = {value.source}
    if isinstance(value.value, dict):
        found = found.union(*map(_sources, value.value.values()))
    return found


_BOOLEAN: Final = Boolean()
_TEXT: Final = Text()
_PATH: Final = Path()
_SECONDS: Final = Duration(0)


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
            "Consecutive failures until the target is unhealthy; negative: the first one.",
            "3",
            default="as many as fit in 15s",
        ),
    ] = None

    @property
    def failures(self) -> int:
        """How many probes in a row must fail."""
        if not self.retries:
            return max(1, int(15 // self.interval))
        return max(1, self.retries)


class _HealthCheckKind(StructKind):
    def dump(self, name: str, value: HealthCheck) -> tuple[str, Any]:
        shown = msgspec.structs.replace(value, retries=value.failures if not value.retries else value.retries)
        return super().dump(name, shown)


class LoadBalance(msgspec.Struct, frozen=True, kw_only=True):
    """Routes with one ``link`` form a pool of that name."""

    link: Annotated[str, Field(Name(), "Name of the pool; routes with the same name share its requests.", "shop")] = ""
    mode: Annotated[
        str,
        Field(_TEXT, "round_robin, least_conn or ip_hash; anything else is round_robin.", "least_conn"),
    ] = ""
    weight: Annotated[int, Field(Integer(0), "Share of the pool's requests; 0 is an equal share.", "20")] = 0
    sticky: Annotated[bool, Field(_BOOLEAN, "Keep a client on one member by a cookie.", "true")] = False
    sticky_max_age: Annotated[float, Field(_SECONDS, "How long such a cookie lasts.", "2h", default="1h")] = 0.0
    options: Annotated[dict[str, Any] | None, Field(FreeMapping(), "Settings of the mode. Not in effect yet.")] = None


class Homepage(msgspec.Struct, frozen=True, kw_only=True):
    """How the route is shown on a dashboard; has no effect on traffic."""

    show: Annotated[bool, Field(_BOOLEAN, "Show the route at all.", "false")] = True
    name: Annotated[str, Field(_TEXT, "Displayed name.", "Photos", default="made from the alias")] = ""
    icon: Annotated[str, Field(Icon(), "A URL, a path, or @selfhst/name.svg.", "@selfhst/immich.svg")] = ""
    category: Annotated[str, Field(_TEXT, "Displayed group.", "Media")] = ""
    description: Annotated[str, Field(_TEXT, "Text below the name.", "Family pictures", ("desc",))] = ""
    url: Annotated[str, Field(_TEXT, "Address to open.", "", default="the route's own")] = ""
    favorite: Annotated[bool, Field(_BOOLEAN, "Show it among the favourites.", "true")] = False
    widget_config: Annotated[dict[str, Any] | None, Field(FreeMapping(), "Settings of a widget.", "", ("widget",))] = (
        None
    )


class FieldFilter(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of one group of logged fields."""

    default: Annotated[str, Field(Choice(("keep", "drop", "redact")), "keep, drop or redact.", "drop")] = "drop"
    config: Annotated[dict[str, Any] | None, Field(FreeMapping(), "The same for single names.")] = None


class LoggedFields(msgspec.Struct, frozen=True, kw_only=True):
    """Which details of a request are logged."""

    headers: Annotated[FieldFilter, Field(StructKind(FieldFilter), "Request headers.", "", ("header",))] = FieldFilter()
    query: Annotated[FieldFilter, Field(StructKind(FieldFilter), "Query parameters.", "", ("queries",))] = FieldFilter(
        default="keep"
    )
    cookies: Annotated[FieldFilter, Field(StructKind(FieldFilter), "Cookies.", "", ("cookie",))] = FieldFilter()


def _log_filter(kind: Kind) -> Any:
    """Make the struct of a log filter over one kind of value."""
    return msgspec.defstruct(
        "LogFilter",
        [
            ("negative", Annotated[bool, Field(_BOOLEAN, "Log all but these.", "true")], False),
            ("values", Annotated[tuple[Any, ...], Field(ListOf(kind), "What to log.")], ()),
        ],
        frozen=True,
        kw_only=True,
    )


_StatusFilter = _log_filter(StatusRange())
_TextFilter = _log_filter(_TEXT)


class LogFilters(msgspec.Struct, frozen=True, kw_only=True):
    """Which requests are logged."""

    status_codes: Annotated[Any, Field(StructKind(_StatusFilter), "By status: 404, 400-499.")] = None
    method: Annotated[Any, Field(StructKind(_TextFilter), "By method.")] = None
    host: Annotated[Any, Field(StructKind(_TextFilter), "By host.")] = None
    headers: Annotated[Any, Field(StructKind(_TextFilter), "By header: Name or Name=value.")] = None
    cidr: Annotated[Any, Field(StructKind(_TextFilter), "By client address.")] = None


class AccessLog(msgspec.Struct, frozen=True, kw_only=True):
    """Where and how requests of the route are logged."""

    path: Annotated[str, Field(_PATH, "File to log to.", "/var/log/app.log")] = ""
    stdout: Annotated[bool, Field(_BOOLEAN, "Log to standard output.", "true")] = False
    format: Annotated[str, Field(Choice(("common", "combined", "json")), "common, combined or json.", "json")] = (
        "combined"
    )
    retention: Annotated[
        dict[str, int] | None, Field(Retention(), "What is kept.", "7 days", ("keep",), default="30 days")
    ] = None
    rotate_interval: Annotated[float | None, Field(_SECONDS, "Time between rotations.", "1h")] = None
    filters: Annotated[LogFilters, Field(StructKind(LogFilters), "Which requests are logged.")] = LogFilters()
    fields: Annotated[LoggedFields, Field(StructKind(LoggedFields), "Which details are logged.")] = LoggedFields()


class _AccessLogKind(StructKind):
    def read(self, value: Located, to: FieldContext) -> Any:
        read = super().read(value, to)
        if read is not UNSET and not read.path and not read.stdout:
            to.fault(value, "path or stdout is required", "set access_log.stdout to true, or access_log.path to a file")
            return UNSET
        return read

    def dump(self, name: str, value: AccessLog) -> tuple[str, Any]:
        return super().dump(name, msgspec.structs.replace(value, retention=value.retention or {"days": 30}))


class RouteSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What labels ask of a route. Times are in seconds."""

    alias: Annotated[str, Field(_TEXT, "Has no effect: the label's own alias names the route.")] = ""
    scheme: Annotated[
        str,
        Field(
            Choice(("http", "https", "h2c", "tcp", "udp", "fileserver")),
            "Protocol spoken with the target.",
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
            "Port of the target, or listening:target.",
            "8080",
            default="by image and alias, else 80, 8080, 3000, 8000, 443, 8443, else the lowest exposed",
        ),
    ] = PortPair()
    bind: Annotated[
        str,
        Field(IPAddress(), "Address to listen on.", "127.0.0.1", protective=True, default="0.0.0.0 for tcp and udp"),
    ] = ""
    root: Annotated[str, Field(_PATH, "Folder for scheme fileserver. Not in effect yet.", "/srv/www")] = ""
    spa: Annotated[
        bool, Field(_BOOLEAN, "fileserver: respond with the index for unknown paths. Not in effect yet.", "true")
    ] = False
    index: Annotated[
        str, Field(_PATH, "fileserver: the index. Not in effect yet.", "/index.html", default="/index.html")
    ] = ""
    hold: Annotated[
        float, Field(_SECONDS, "How long requests wait instead of failing while the route has no endpoint.", "5s")
    ] = 0.0
    no_tls_verify: Annotated[bool, Field(_BOOLEAN, "Do not verify the target's certificate.", "true")] = False
    response_header_timeout: Annotated[
        float,
        Field(
            _SECONDS,
            "Time until the response begins; unless set, GET and other retried requests have no limit.",
            "2m",
            default="1m",
        ),
    ] = 0.0
    max_conns_per_host: Annotated[int, Field(Integer(0), "Maximum connections to the target; 0: no limit.", "100")] = 0
    disable_compression: Annotated[bool, Field(_BOOLEAN, "Do not compress responses.", "true")] = False
    ssl_server_name: Annotated[
        str | None,
        Field(_TEXT, "Server name sent to the target; off: none.", "app.internal", default="the target's host"),
    ] = None
    ssl_trusted_certificate: Annotated[str, Field(_PATH, "CA file that verifies the target's certificate.")] = ""
    ssl_certificate: Annotated[str, Field(_PATH, "Client certificate for the target.")] = ""
    ssl_certificate_key: Annotated[str, Field(_PATH, "Key of that certificate.")] = ""
    ssl_protocols: Annotated[
        tuple[str, ...],
        Field(
            ListOf(Choice(("TLSv1.0", "TLSv1.1", "TLSv1.2", "TLSv1.3"), fold=True)),
            "TLS versions for the target; the lowest and the highest count.",
            "TLSv1.2, TLSv1.3",
            strict=True,
        ),
    ] = ()
    inbound_mtls_profile: Annotated[
        str, Field(_TEXT, "Profile of allowed client certificates. Not in effect yet.", "staff", protective=True)
    ] = ""
    rules: Annotated[Any, Field(Rules(), "Rules for requests. Not in effect yet.", protective=True)] = None
    rule_file: Annotated[
        str, Field(_PATH, "File or embed:// preset with rules. Not in effect yet.", protective=True)
    ] = ""
    healthcheck: Annotated[
        HealthCheck, Field(_HealthCheckKind(HealthCheck), "How the target is probed.", "{path: /healthz}")
    ] = HealthCheck()
    load_balance: Annotated[
        LoadBalance, Field(StructKind(LoadBalance), "Pool the route belongs to.", "{link: shop}")
    ] = LoadBalance()
    middlewares: Annotated[
        dict[str, Any],
        Field(
            Middlewares(),
            "What happens to requests and responses.",
            "{cidr_whitelist: {allow: [10.0.0.0/8]}}",
            protective=True,
        ),
    ] = {}
    homepage: Annotated[
        Homepage,
        Field(StructKind(Homepage), "How the route is shown on a dashboard. Not in effect yet.", "{name: Photos}"),
    ] = Homepage()
    access_log: Annotated[
        AccessLog | None,
        Field(
            _AccessLogKind(AccessLog),
            "Where requests of this route are logged. Not in effect yet.",
            "{stdout: true}",
            default="off",
        ),
    ] = None
    relay_proxy_protocol_header: Annotated[
        bool, Field(_BOOLEAN, "tcp: send the client's address to the target with the PROXY protocol.", "true")
    ] = False
    tls_termination: Annotated[
        bool, Field(_BOOLEAN, "tcp: terminate TLS on the shared HTTPS port. Not in effect yet.", "true")
    ] = False


ROUTE: Final = StructKind(RouteSettings)
PROTECTIVE: Final = frozenset(name for name, field in ROUTE.fields.items() if field.protective)

_ELSEWHERE: Final = "known to GoDoxy, not supported by pilotage"
UNSUPPORTED: Final = {
    "agent": ("an agent cannot be chosen for routes of containers: their engine decides", True),
    "idlewatcher": (f"idlewatcher is {_ELSEWHERE}; the labels proxy.idle_timeout and others do it", False),
    "pathpatterns": (f"path_patterns is {_ELSEWHERE}", False),
    "proxmox": (f"proxmox is {_ELSEWHERE}", False),
}
"""Folded name of a field that only the reference has -> what to say of it, and whether the route is refused."""
