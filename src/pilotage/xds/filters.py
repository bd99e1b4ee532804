"""Builds the HTTP filters and their per-route configuration. Pure.

Envoy creates a request's filter chain before the first filter runs. If the route is already known, the chain has only
the filters that this route enables. Otherwise, a filter may still find the route. The filters that restrict access are
therefore in the configuration twice: disabled, so that routes can enable them, and in a separate chain for requests
whose route is found later. Disabling that one chain takes 4 KiB less of Envoy's memory per route than disabling nine
filters.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from envoy.config.common.mutation_rules.v3 import mutation_rules_pb2
from envoy.config.core.v3 import (
    base_pb2,
    config_source_pb2,
    grpc_service_pb2,
    substitution_format_string_pb2,
)
from envoy.config.route.v3 import route_components_pb2
from envoy.extensions.filters.common.set_filter_state.v3 import value_pb2 as filter_state_pb2
from envoy.extensions.filters.http.cdn_loop.v3 import cdn_loop_pb2
from envoy.extensions.filters.http.custom_response.v3 import custom_response_pb2
from envoy.extensions.filters.http.ext_authz.v3 import ext_authz_pb2
from envoy.extensions.filters.http.header_mutation.v3 import header_mutation_pb2
from envoy.extensions.filters.http.local_ratelimit.v3 import local_rate_limit_pb2
from envoy.extensions.filters.http.lua.v3 import lua_pb2
from envoy.extensions.filters.http.on_demand.v3 import on_demand_pb2
from envoy.extensions.filters.http.rbac.v3 import rbac_pb2 as rbac_filter_pb2
from envoy.extensions.filters.http.router.v3 import router_pb2
from envoy.extensions.filters.http.set_filter_state.v3 import set_filter_state_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2
from envoy.type.matcher.v3 import metadata_pb2, string_pb2, value_pb2
from envoy.type.v3 import http_status_pb2

from pilotage.xds.acme_challenges import challenge_filter
from pilotage.xds.agents import unreached_page
from pilotage.xds.auth_requests import AGAIN, ask_route, matched_again
from pilotage.xds.body_filter import BODY_FILTER, body_filter, body_settings
from pilotage.xds.client_address import AUTH, WILDCARD, address_settings
from pilotage.xds.client_checks import CLIENTS, client_check, profile_of
from pilotage.xds.compression import compression_switch, compressor
from pilotage.xds.host_lookups import (
    AGAIN_SCRIPT,
    ASKS,
    FOLD_SCRIPT,
    LATE,
    PORT_SCRIPT,
    SIGNS_IN,
    SPARED,
    WILDCARD_SCRIPT,
    for_late_routes,
)
from pilotage.xds.login import (
    IDENTITY_HEADERS,
    LOGIN,
    LOGIN_FILTERS,
    login_filters,
    login_settings,
    rule_login_settings,
)
from pilotage.xds.own_ports import PORT_HEADER
from pilotage.xds.rate_limits import rate_limit
from pilotage.xds.real_ip import real_ip_metadata, real_principal
from pilotage.xds.request_checks import REFUSAL, access_check, connected_principal, host_check
from pilotage.xds.resources import OFF, ON, header, packed, seconds
from pilotage.xds.route_logs import access_rules, logged
from pilotage.xds.rule_script import EDITS, rule_script, script_settings
from pilotage.xds.waiting_limit import AS_CONFIGURED, waiting_filters, waiting_settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pilotage.xds.backend import Backend
    from pilotage.xds.options import GatewayOptions

__all__ = [
    "ACCESS",
    "ADDRESS",
    "AUTH",
    "AUTH_TIMEOUT",
    "CONTROL_CLUSTER",
    "FOUND",
    "PAGE_FILTER",
    "RATE",
    "TARGET",
    "backend_settings",
    "http_filters",
    "mark",
    "on_demand",
    "on_demand_settings",
    "require_login",
    "scope_settings",
]

CONTROL_CLUSTER: Final = "pilotage"
"""The control plane's name in Envoy's bootstrap."""

_FOLD: Final = "pilotage.fold"
_HOST: Final = "pilotage.host"
ACCESS: Final = "pilotage.access"
RATE: Final = "pilotage.rate"
_STRIP: Final = "pilotage.strip"
PAGE_FILTER: Final = "pilotage.page"
_ON_DEMAND: Final = "pilotage.on_demand"
_GZIP: Final = "pilotage.gzip"
TARGET: Final = "pilotage.target"
ADDRESS: Final = "address"
"""Namespace and key of the metadata of a plain route's virtual host that hold the address of its target."""

_DESTINATION: Final = "envoy.network.transport_socket.original_dst_address"
"""Key of the filter state from which Envoy's clusters of type ORIGINAL_DST take the address to connect to."""

_AGENT: Final = "pilotage.agent"
_HSTS: Final = "pilotage.hsts"

_MOST_GATEWAYS: Final = 8
"""Number of further pilotage gateways that a request may pass through. Without a limit, a loop of gateways would use up
all connections. The header CDN-Loop counts them (RFC 8586); clients that set it themselves limit only themselves."""

AUTH_TIMEOUT: Final = 10.0  # seconds that an auth service may take to answer
_LONGEST_CHECK: Final = 60.0
"""Seconds that Envoy waits for the control plane to make a page."""
_LATE: Final = 5.0
"""Seconds after which Envoy itself stops waiting for a cluster. A running control plane ends the wait earlier."""
FOUND: Final = "+"
"""Route name that many backends share."""

_ONLY_HELP: Final = frozenset(LOGIN_FILTERS) - {LOGIN}

_UNASKED: Final = packed(ext_authz_pb2.ExtAuthzPerRoute(disabled=True))
_ANYBODY: Final = packed(rbac_filter_pb2.RBACPerRoute())
_OFF: Final = packed(route_components_pb2.FilterConfig(disabled=True))


def http_filters(options: GatewayOptions, *, https: bool, trusted: bool = False, own_port: bool = False) -> list[Any]:
    """Return the filters of an HTTP listener in the order in which a request passes through them.

    Args:
        options: the gateway's settings.
        https: whether the listener is for HTTPS.
        trusted: whether the clients are trusted proxies.
        own_port: whether the listener is only for routes with this port.

    """
    login = login_filters(options.session_keys, https=None if trusted else https)
    loop = cdn_loop_pb2.CdnLoopConfig(cdn_id="pilotage", max_allowed_occurrences=_MOST_GATEWAYS)
    guards = [
        _filter(WILDCARD, _lua(WILDCARD_SCRIPT)),
        # Even without profiles: connections that are open when the first one is defined keep these filters.
        _filter(CLIENTS, rbac_filter_pb2.RBAC()),
        _filter(ACCESS, rbac_filter_pb2.RBAC()),
        _filter(RATE, local_rate_limit_pb2.LocalRateLimit(stat_prefix="rate")),
        _filter(_STRIP, header_mutation_pb2.HeaderMutation()),
        # Only the last one protects. Without the others, it asks about each request.
        *(_filter(name, it) for name, it in login.items()),
        _filter(AUTH, _approval()),
    ]
    all_limit, each_limit = (_filter(*it) for it in waiting_filters(options.max_waiting_in_all).items())
    waits = _filter(_ON_DEMAND, on_demand_pb2.OnDemand())
    edits = _filter(EDITS, rule_script())
    late = [
        _filter(_FOLD, _lua(PORT_SCRIPT if own_port else FOLD_SCRIPT)),
        *(it for it in guards if it.name not in _ONLY_HELP),
        _filter(_FOLD, _lua(AGAIN_SCRIPT)),
        *(each_limit, waits, edits),  # all_limit would also count requests that do not wait
    ]
    enabled_by_routes = [
        *guards,
        _filter(AGAIN, matched_again()),
        # This filter protects nothing: a request that bypasses it waits, like any request that is not a page load.
        _filter(PAGE_FILTER, _authorization("page", may_fail=True)),
        # After all filters that restrict access, so that refused requests wake nothing.
        *(all_limit, each_limit, waits),
        _filter(BODY_FILTER, body_filter(CONTROL_CLUSTER)),  # protects nothing, and sees responses before the others
        *([_filter(_AGENT, custom_response_pb2.CustomResponse())] if options.has_agents else []),
        edits,  # changes responses before other filters see them
    ]
    for each in enabled_by_routes:
        each.disabled = True
    chain = [
        _filter(_HOST, host_check()),
        _filter("envoy.filters.http.cdn_loop", loop),
        _filter(_GZIP, compressor(), disabled=not options.compression),  # sees responses last
        for_late_routes(late),
        *enabled_by_routes,
        _filter(TARGET, _destination()),
    ]
    if options.automatic_certificates and not (https or own_port):
        chain.insert(0, challenge_filter())
    if https and options.hsts_max_age:
        value = f"max-age={int(options.hsts_max_age)}"
        put = mutation_rules_pb2.HeaderMutation(append=header("strict-transport-security", value))
        mutations = header_mutation_pb2.Mutations(response_mutations=[put])
        chain.insert(0, _filter(_HSTS, header_mutation_pb2.HeaderMutation(mutations=mutations)))
    # Per-cluster statistics about response classes and times would take more instructions than all our other filters.
    counted = ON if options.report_errors else OFF
    router = router_pb2.Router(suppress_envoy_headers=True, dynamic_stats=counted)
    chain.append(_filter("envoy.filters.http.router", router))
    return chain


def _destination() -> Any:
    """Return the filter that passes the address of a plain route's target to the shared clusters.

    Unlike a header, this address is not sent to the target, and neither clients nor labels can set it.
    """
    address = substitution_format_string_pb2.SubstitutionFormatString(
        text_format_source=base_pb2.DataSource(inline_string=f"%METADATA(VIRTUAL_HOST:{TARGET}:{ADDRESS})%"),
        omit_empty_values=True,
    )
    value = filter_state_pb2.FilterStateValue(object_key=_DESTINATION, format_string=address, skip_if_empty=True)
    return set_filter_state_pb2.Config(on_request_headers=[value])


def _filter(name: str, config: Any, *, disabled: bool = False) -> Any:
    return http_connection_manager_pb2.HttpFilter(name=name, typed_config=packed(config), disabled=disabled)


def _lua(script: str) -> Any:
    return lua_pb2.Lua(default_source_code=base_pb2.DataSource(inline_string=script), clear_route_cache=OFF)


def _authorization(prefix: str, *, may_fail: bool = False) -> Any:
    """Return an ext_authz filter that asks the control plane.

    A route's own configuration can name a different server to ask.
    """
    patterns = [
        *(string_pb2.StringMatcher(exact=name, ignore_case=True) for name in _SHOWN),
        string_pb2.StringMatcher(prefix="x-", ignore_case=True),
    ]
    hidden = [string_pb2.StringMatcher(prefix=name, ignore_case=True) for name in _HIDDEN]
    service = grpc_service_pb2.GrpcService(
        envoy_grpc=grpc_service_pb2.GrpcService.EnvoyGrpc(cluster_name=CONTROL_CLUSTER),
        timeout=seconds(_LONGEST_CHECK),
    )
    return ext_authz_pb2.ExtAuthz(
        grpc_service=service,
        transport_api_version=2,
        status_on_error=http_status_pb2.HttpStatus(code=http_status_pb2.ServiceUnavailable),
        failure_mode_allow=may_fail,
        allowed_headers=string_pb2.ListStringMatcher(patterns=patterns),
        disallowed_headers=string_pb2.ListStringMatcher(patterns=hidden),
        stat_prefix=prefix,
    )


def _approval() -> Any:
    """Return the ext_authz filter for forwardauth and rules. It is skipped only for routes known not to need it.

    If the answer changes the request's headers, Envoy looks up the route again, because rules may test them.
    """
    filter_ = _authorization("auth")
    filter_.clear_route_cache = True
    spared = metadata_pb2.MetadataMatcher(
        filter=AUTH,
        path=[metadata_pb2.MetadataMatcher.PathSegment(key=SPARED)],
        value=value_pb2.ValueMatcher(bool_match=True),
        invert=True,
    )
    filter_.filter_enabled_metadata.CopyFrom(spared)
    return filter_


_SHOWN: Final = (
    ":authority :method :path accept accept-language authorization content-type cookie origin proxy-authorization "
    "referer user-agent"
).split()

_HIDDEN: Final = ("x-envoy-", PORT_HEADER, "x-original-", "x-rewrite-url")
"""Prefixes of headers that auth services do not get: Envoy's, the gateway's, and those that could contain a path that
was not requested."""


# ---- per-route configuration -----------------------------------------------------------------------------------------


def scope_settings(*, plain: bool) -> dict[str, Any]:
    """Return the default per-route configuration, which disables filters that a request with a known route passes.

    Args:
        plain: whether the scope (a route configuration) has plain routes, which need the filter that sets the address.

    """
    return dict.fromkeys((LATE,) if plain else (LATE, TARGET), _OFF)


def mark(route: Any, backend: Backend) -> None:
    """Name a route, so that the Lua filters know that it was found, and record which checks it needs."""
    # If a filter answers, the name tells which route the error belongs to: only the router assigns a virtual cluster.
    may_answer = backend.measured and (backend.is_closed or backend.route_policy.is_protected)
    route.name = route.name or (backend.name if may_answer else FOUND)
    policy = backend.route_policy
    redirects = route.redirect.https_redirect
    asks = policy.auth is not None or AUTH in route.typed_per_filter_config or bool(redirects and backend.rules.asked)
    for flag, needed in ((ASKS, asks), (SIGNS_IN, policy.signs_in or backend.rules.signs_in)):
        for script in (_FOLD, WILDCARD) if needed else ():
            route.metadata.filter_metadata[script].fields[flag].bool_value = True
    if redirects:
        # It reveals nothing; users sign in at its target, and send certificates there. But the filters must be in the
        # chain: once the client's address is known, another route may apply, which bypasses only the redirect.
        if backend.route.settings.inbound_mtls_profile:
            route.typed_per_filter_config[CLIENTS].CopyFrom(_ANYBODY)
        for name in [LOGIN] * policy.signs_in + [AUTH] * asks:
            route.typed_per_filter_config[name].CopyFrom(_UNASKED)
    if backend.route_policy.refusal.status:
        route.metadata.filter_metadata[REFUSAL].update({"message": backend.route_policy.refusal.message})
    if wanted := real_ip_metadata(backend.route_policy):
        route.metadata.filter_metadata[WILDCARD].update(wanted)
    for namespace, values in logged(backend.route).items():
        route.metadata.filter_metadata[namespace].update(values)


def require_login(route: Any, settings: Mapping[str, Any]) -> None:
    """Configure a route of a backend of which only some routes require signing in.

    Args:
        route: the Envoy route.
        settings: from :func:`~pilotage.xds.login.rule_login_settings`; empty if this route does not require signing in.
            The script that finds this route must not exempt its requests either, because another route may apply in the
            end.

    """
    for name, it in settings.items():
        route.typed_per_filter_config[name].CopyFrom(it)
    for script in (_FOLD, WILDCARD):
        route.metadata.filter_metadata[script].fields[SIGNS_IN].bool_value = True


def backend_settings(backend: Backend, options: GatewayOptions) -> dict[str, Any]:
    """Return the per-route filter configuration of a backend."""
    policy = backend.route_policy
    found = address_settings(backend)
    if (profile := profile_of(backend, options)) is not None:
        found[CLIENTS] = client_check(profile)
    limited = policy.prefix or backend.route.settings.path_patterns or backend.rules.cases or policy.has_bypass
    checks_path = limited or policy.auth is not None or backend.proxy is not None
    client = real_principal if (real_ip := policy.address_from is not None) else connected_principal
    bind = "" if backend.route.has_listener else backend.route.bind
    allowed = access_check(policy.allow, path=bool(checks_path), status=policy.refusal.status, bind=bind, client=client)
    rules = allowed if checks_path or policy.allow or bind else None
    if rules is not None or backend.route.settings.access_log is not None:
        found[ACCESS] = packed(access_rules(backend.route, rules, client))
    if backend.proxy is not None:
        found[_AGENT] = unreached_page()
    if policy.rate is not None:
        found[RATE] = packed(rate_limit(policy.rate, real_ip=real_ip))
    if policy.auth is not None:
        found[AUTH] = packed(ask_route(policy.auth, policy))
        found |= {AGAIN: AS_CONFIGURED} if backend.rules.cases else {}
    if names := (
        *(policy.auth.forgeable if policy.auth else ()),
        *(IDENTITY_HEADERS if policy.oidc or backend.rules.signs_in else ()),
    ):
        found[_STRIP] = packed(_strip(tuple(dict.fromkeys(names))))
    found |= login_settings(backend, options) | body_settings(backend)
    # A route that is found first may not be the one that applies, but it decides which filters are in the chain.
    found |= script_settings(backend.rules)
    if backend.rules.signs_in and LOGIN not in found:
        found |= rule_login_settings(backend, options) | {LOGIN: _UNASKED}
    for other in (*backend.others.values(), backend):
        found |= on_demand_settings(other, options) if other is not None else {}
    if (switch := compression_switch(backend.route.settings, options)) is not None:
        found[_GZIP] = switch
    return found


def on_demand_settings(backend: Backend, options: GatewayOptions) -> dict[str, Any]:
    """Return the settings that let requests wait for a backend; empty if its cluster exists."""
    if not backend.is_closed:
        return {}
    return {_ON_DEMAND: _ask(backend.longest_wait), **waiting_settings(options.max_waiting_requests)}


def on_demand(patience: float) -> tuple[Any, Any]:
    """Return the settings with which Envoy requests a cluster that it does not have.

    Args:
        patience: maximum number of seconds that a request waits.

    """
    never = seconds(0)  # by default, Envoy gives up after 15 s and rejects the requests that wait
    ads, version = config_source_pb2.AggregatedConfigSource(), config_source_pb2.V3  # its stream to the control plane
    source = config_source_pb2.ConfigSource(ads=ads, resource_api_version=version, initial_fetch_timeout=never)
    return source, seconds(patience + _LATE)


@lru_cache(maxsize=256)
def _ask(patience: float) -> Any:
    source, timeout = on_demand(patience)
    return packed(on_demand_pb2.PerRouteConfig(odcds=on_demand_pb2.OnDemandCds(source=source, timeout=timeout)))


def _strip(names: tuple[str, ...]) -> Any:
    """Return settings that remove the headers that only the gateway or an auth service may set, not clients."""
    gone = [mutation_rules_pb2.HeaderMutation(remove=name) for name in names]
    return header_mutation_pb2.HeaderMutationPerRoute(mutations=header_mutation_pb2.Mutations(request_mutations=gone))
