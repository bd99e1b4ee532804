"""Makes Envoy log the requests of individual routes to standard output. Pure.

Listeners must not change with routes, because Envoy closes the connections of a listener that it replaces. Every
listener therefore has one access log for each format. At the beginning of a request, the route's configuration of the
filter that restricts access (RBAC) decides whether the request may be logged, and in which format. At the end of the
request, the access log compares the status with the statuses to log.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from envoy.config.accesslog.v3 import accesslog_pb2
from envoy.config.core.v3 import base_pb2, substitution_format_string_pb2
from envoy.config.rbac.v3 import rbac_pb2
from envoy.config.route.v3 import route_components_pb2
from envoy.extensions.access_loggers.filters.cel.v3 import cel_pb2
from envoy.extensions.access_loggers.stream.v3 import stream_pb2
from envoy.extensions.filters.http.rbac.v3 import rbac_pb2 as rbac_filter_pb2
from envoy.type.matcher.v3 import metadata_pb2, string_pb2, value_pb2

from pilotage.xds.log_problems import log_problems, network_of, values_of
from pilotage.xds.real_ip import CONNECTED, LOGGED_CLIENT
from pilotage.xds.resources import packed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pilotage.routes.access_log import AccessLog
    from pilotage.routes.route import Route

__all__ = ["LOGGED", "REQUEST_FIELDS", "access_rules", "logged", "route_logs"]

LOGGED: Final = "pilotage.log"
"""Namespace of a route's metadata about its log."""

_FILTER: Final = accesslog_pb2.AccessLogFilter
_RBAC: Final = "envoy.filters.http.rbac"
_POLICY: Final = "shadow_effective_policy_id"
"""Namespace and key of the metadata in which the filter names the format."""

_LOG: Final = f'xds.route_metadata.filter_metadata["{LOGGED}"]'
_STATUSES: Final = f"double(response.code) in {_LOG}.statuses"
_PATH: Final = f"%CEL({_LOG}.query ? request.path : request.url_path)%"
_COMMON: Final = (
    f"%REQ(:AUTHORITY)% {LOGGED_CLIENT} - - [%START_TIME(%d/%b/%Y:%H:%M:%S +0000)%] "
    f'"%REQ(:METHOD)% {_PATH} %PROTOCOL%" %RESPONSE_CODE% %BYTES_SENT%'
)
REQUEST_FIELDS: Final = {
    "time": "%START_TIME%",
    "client": CONNECTED,
    "method": "%REQ(:METHOD)%",
    "host": "%REQ(:AUTHORITY)%",
    "protocol": "%PROTOCOL%",
    "status": "%RESPONSE_CODE%",
    "flags": "%RESPONSE_FLAGS%",
    "received": "%BYTES_RECEIVED%",
    "sent": "%BYTES_SENT%",
    "milliseconds": "%DURATION%",
    "agent": "%REQ(USER-AGENT)%",
}
"""Fields of a log line in JSON, for all formats."""

_FORMATS: Final[dict[str, Any]] = {
    "common": {"text_format_source": base_pb2.DataSource(inline_string=_COMMON + "\n")},
    "combined": {
        "text_format_source": base_pb2.DataSource(inline_string=_COMMON + ' "%REQ(REFERER)%" "%REQ(USER-AGENT)%"\n')
    },
    "json": {
        "json_format": {
            **REQUEST_FIELDS,
            "client": LOGGED_CLIENT,
            "route": f"%METADATA(ROUTE:{LOGGED}:route)%",
            "path": _PATH,
            "referer": "%REQ(REFERER)%",
        }
    },
}


# ---- listeners -------------------------------------------------------------------------------------------------------


def route_logs() -> list[Any]:
    """Return the access logs for routes that configure one."""
    return [_access_log(name) for name in _FORMATS]


def _access_log(name: str) -> Any:
    path = [metadata_pb2.MetadataMatcher.PathSegment(key=_POLICY)]
    value = value_pb2.ValueMatcher(string_match=string_pb2.StringMatcher(exact=name))
    asked = accesslog_pb2.MetadataFilter(matcher=metadata_pb2.MetadataMatcher(filter=_RBAC, path=path, value=value))
    asked.match_if_key_not_found.value = False
    statuses = accesslog_pb2.ExtensionFilter(
        name="envoy.access_loggers.extension_filters.cel",
        typed_config=packed(cel_pb2.ExpressionFilter(expression=_STATUSES)),
    )
    both = [_FILTER(metadata_filter=asked), _FILTER(extension_filter=statuses)]
    formatted = substitution_format_string_pb2.SubstitutionFormatString(**_FORMATS[name])
    return accesslog_pb2.AccessLog(
        name="envoy.access_loggers.stdout",
        filter=_FILTER(and_filter=accesslog_pb2.AndFilter(filters=both)),
        typed_config=packed(stream_pb2.StdoutAccessLog(log_format=formatted)),
    )


# ---- routes ----------------------------------------------------------------------------------------------------------


def _log_of(route: Route) -> AccessLog | None:
    """Return the access log settings in effect for a route; ``None`` if its requests are not logged."""
    log = route.settings.access_log
    if log is None or route.is_stream or any(problem.blocking for problem in log_problems(log)):
        return None
    return log


def logged(route: Route) -> dict[str, Any]:
    """Return the metadata, by namespace, for everything that serves a route; empty if the route has no log."""
    log = _log_of(route)
    if log is None:
        return {}
    query = log.fields.query
    keeps_query = query.default == "keep" and not query.config
    return {LOGGED: {"route": route.alias, "query": keeps_query, "statuses": _statuses(log.filters.status_codes)}}


def access_rules(route: Route, rules: Any, client: Callable[[str], Any]) -> Any:
    """Return the per-route configuration of the filter that restricts access.

    Args:
        route: a route, which may have a log.
        rules: the rules by which the route refuses requests; ``None`` if it refuses no requests.
        client: returns the principal for the clients in a network.

    """
    shadow = _log_rules(route, client)
    return rbac_filter_pb2.RBACPerRoute(rbac=rbac_filter_pb2.RBAC(rules=rules, shadow_rules=shadow))


def _log_rules(route: Route, client: Callable[[str], Any]) -> Any:
    """Return the rules that decide whether, and in which format, a request is logged; ``None`` without a log."""
    log = _log_of(route)
    if log is None:
        return None
    wanted, kind = log.filters, rbac_pb2.Permission
    conditions = [
        *_condition(wanted.method, (_equal(":method", it) for it in values_of(wanted.method))),
        *_condition(wanted.host, (it for host in values_of(wanted.host) for it in _host(host))),
        *_condition(wanted.headers, map(_header, values_of(wanted.headers))),
    ]
    permission = kind(and_rules=kind.Set(rules=conditions)) if conditions else kind(any=True)
    policy = rbac_pb2.Policy(permissions=[permission], principals=[_clients(wanted.cidr, client)])
    return rbac_pb2.RBAC(action=rbac_pb2.RBAC.ALLOW, policies={log.format: policy})


def _statuses(wanted: Any) -> list[int]:
    """Return the response statuses that are logged; 0 stands for a request without a response."""
    everything = [0, *range(100, 600)]
    if not values_of(wanted):
        return everything
    ranges = [(int(first), int(last or first)) for first, _, last in (it.partition("-") for it in wanted.values)]
    return [it for it in everything if any(low <= it <= high for low, high in ranges) is not wanted.negative]


def _condition(wanted: Any, rules: Iterable[Any]) -> list[Any]:
    kind = rbac_pb2.Permission
    if not (found := list(rules)):
        return []
    either = kind(or_rules=kind.Set(rules=found))
    return [kind(not_rule=either) if wanted.negative else either]


def _clients(wanted: Any, client: Callable[[str], Any]) -> Any:
    kind = rbac_pb2.Principal
    ranges = [client(str(network)) for network in map(network_of, values_of(wanted)) if network is not None]
    if not ranges:
        return kind(any=True)
    either = kind(or_ids=kind.Set(ids=ranges))
    return kind(not_id=either) if wanted.negative else either


def _matching(name: str, match: Any) -> Any:
    return rbac_pb2.Permission(header=route_components_pb2.HeaderMatcher(name=name, **match))


def _equal(name: str, text: str) -> Any:
    return _matching(name, {"string_match": string_pb2.StringMatcher(exact=text, ignore_case=True)})


def _host(host: str) -> list[Any]:
    """Return the rules that match a host with or without a port."""
    prefix = string_pb2.StringMatcher(prefix=f"{host}:", ignore_case=True)
    return [_equal(":authority", host), _matching(":authority", {"string_match": prefix})]


def _header(wanted: str) -> Any:
    name, has_value, value = wanted.partition("=")
    if has_value:
        return _matching(name, {"string_match": string_pb2.StringMatcher(exact=value)})
    return _matching(name, {"present_match": True})
