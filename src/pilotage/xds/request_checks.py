"""Builds filters that remove forged headers and refuse ambiguous hosts and paths before requests are routed. Pure."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any, Final

from envoy.config.accesslog.v3 import accesslog_pb2
from envoy.config.common.mutation_rules.v3 import mutation_rules_pb2
from envoy.config.core.v3 import base_pb2, extension_pb2
from envoy.config.rbac.v3 import rbac_pb2
from envoy.config.route.v3 import route_components_pb2
from envoy.extensions.access_loggers.filters.cel.v3 import cel_pb2
from envoy.extensions.filters.http.fault.v3 import fault_pb2
from envoy.extensions.http.early_header_mutation.header_mutation.v3 import header_mutation_pb2 as early_mutation_pb2
from envoy.type.matcher.v3 import path_pb2, regex_pb2, string_pb2
from envoy.type.v3 import percent_pb2

from pilotage.xds.client_profiles import SUBJECT_HEADER
from pilotage.xds.options import FORGEABLE
from pilotage.xds.own_ports import PORT_HEADER
from pilotage.xds.refusal import STATUSES
from pilotage.xds.resources import header, number, packed
from pilotage.xds.rule_tests import OWN_HEADERS

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "FORGEABLE",
    "REFUSAL",
    "access_check",
    "bad_host",
    "bad_path",
    "connected_principal",
    "elsewhere",
    "forget_headers",
    "host_check",
    "refusals",
    "set_header",
]

REFUSAL: Final = "pilotage.refusal"
"""Namespace of a route's metadata about refused clients. Its key ``message`` has the text that they get."""

_REFUSED: Final = "refused/"
_ELSEWHERE: Final = "elsewhere"
_FORBIDDEN: Final = accesslog_pb2.AccessLogFilter(
    status_code_filter=accesslog_pb2.StatusCodeFilter(
        comparison=accesslog_pb2.ComparisonFilter(
            op=accesslog_pb2.ComparisonFilter.EQ,
            value=base_pb2.RuntimeUInt32(default_value=403, runtime_key="pilotage.refused"),
        )
    )
)

_NEVER: Final = ("x-envoy-", "proxy", *OWN_HEADERS, PORT_HEADER, SUBJECT_HEADER)
"""Headers removed from all requests: those of Envoy and the gateway, and ``Proxy``, which CGI misreads (httpoxy)."""

_PORT: Final = r"[1-5]?\d{0,4}|6(?:[0-4]\d{3}|5(?:[0-4]\d\d|5(?:[0-2]\d|3[0-5])))"
_VALID_HOST: Final = rf"(?:(?:[\w-]+\.?)+|\[[0-9A-Fa-f:.]+\])(?::(?:{_PORT}))?"

_STOP: Final = r"(?:/|\\|;|%2[fF]|%5[cC]|%3[bB])"
_CLIMBS: Final = rf"[^?]*{_STOP}(?:\.|%2[eE]){{2}}(?:{_STOP}[^?]*)?"
"""A path whose ``..`` segment appears only when a target decodes slashes, or drops what follows a semicolon."""
_CUT_OFF: Final = r"[^?]*%(?:[^0-9A-Fa-f?][^?]*|[0-9A-Fa-f](?:[^0-9A-Fa-f?][^?]*)?)?"
"""A path with ``%`` that begins no encoded character. Targets read it differently, and rules cannot read it."""
_DIVIDED: Final = r"[^?]*(?:;|%3[bB])[^/?]*(?:\\|%2[fF]|%5[cC])[^?]*"
"""A path with an encoded slash in parameters. Whether the slash ends them differs from target to target."""
_UNCLEAR: Final = f"(?:{_CLIMBS}|{_CUT_OFF}|{_DIVIDED})"


def forget_headers(*, trusted: bool) -> Any:
    """Return the extension that removes forgeable request headers; only a few of them if the client is ``trusted``.

    A single regex matches all headers to remove, because Envoy goes through all headers of a request for each rule.
    """
    names = _NEVER if trusted else (*_NEVER, *FORGEABLE)
    regex = "|".join(f"{name}.*" if name.endswith("-") else name for name in names)
    kind = mutation_rules_pb2.HeaderMutation
    removal = kind(remove_on_match=kind.RemoveOnMatch(key_matcher=_match(regex)))
    return _early(removal)


def set_header(name: str, value: str) -> Any:
    """Return the extension that sets a request header before the route is looked up."""
    return _early(mutation_rules_pb2.HeaderMutation(append=header(name, value)))


def _early(mutation: Any) -> Any:
    return extension_pb2.TypedExtensionConfig(
        name="envoy.http.early_header_mutation.header_mutation",
        typed_config=packed(early_mutation_pb2.HeaderMutation(mutations=[mutation])),
    )


def host_check() -> Any:
    """Return the filter that refuses hosts other than a name or an IP address, with or without a port.

    Envoy passes hosts with user information, commas (from two ``Host`` headers) or any port on to targets. A target may
    take such a value for a different host than the one whose route was chosen. This is a fault filter, because it takes
    half the CPU instructions of an RBAC filter.
    """
    every = percent_pb2.FractionalPercent(numerator=100, denominator=percent_pb2.FractionalPercent.HUNDRED)
    return fault_pb2.HTTPFault(
        abort=fault_pb2.FaultAbort(http_status=400, percentage=every),
        headers=[_header(_VALID_HOST, invert=True, missing_is_empty=True)],
        disable_downstream_cluster_stats=True,
    )


def access_check(
    networks: tuple[str, ...],
    *,
    path: bool,
    status: int = 0,
    bind: str = "",
    client: Callable[[str], Any] | None = None,
) -> Any:
    """Return the rules that refuse clients, paths, or requests to other addresses of the gateway.

    A single filter does all this, because each filter has a cost for every request and every route, even where it is
    off.

    Args:
        networks: the networks whose clients have access; if empty, all clients have access.
        path: refuse paths with which a client could get out of a path prefix or past a pattern. Envoy resolves ``..``
            itself, but does not decode encoded slashes, which targets may decode. As in Go, encodings must be valid.
        status: the status that refused clients get, one of :func:`refusals`; 0 for the usual one.
        bind: the only address of the gateway at which requests are accepted; ``""`` for any. ``0.0.0.0`` and ``::``
            stand for all addresses of their version of IP.
        client: returns the principal for the clients in a network; by default :func:`connected_principal`.

    """
    principal = client or connected_principal
    permission = rbac_pb2.Permission
    unclear = permission(url_path=path_pb2.PathMatcher(path=_match(_UNCLEAR)))
    everybody = rbac_pb2.Principal(any=True)
    if (networks and status) or bind:
        found = {}
        if networks:
            allowed = rbac_pb2.Principal(
                or_ids=rbac_pb2.Principal.Set(ids=[principal(network) for network in networks])
            )
            others = rbac_pb2.Principal(not_id=allowed)
            refused = rbac_pb2.Policy(permissions=[permission(any=True)], principals=[others])
            found[f"{_REFUSED}{status}" if status else "networks"] = refused
        if path:
            found["access"] = rbac_pb2.Policy(permissions=[unclear], principals=[everybody])
        if bind:
            elsewhere = permission(not_rule=permission(destination_ip=_range(bind)))
            found[_ELSEWHERE] = rbac_pb2.Policy(permissions=[elsewhere], principals=[everybody])
        return rbac_pb2.RBAC(action=rbac_pb2.RBAC.DENY, policies=found)
    if networks:
        clients = [principal(network) for network in networks]
        allowed = permission(not_rule=unclear) if path else permission(any=True)
        return _rules(rbac_pb2.RBAC.ALLOW, allowed, clients)
    return _rules(rbac_pb2.RBAC.DENY, unclear, [everybody])


def _range(address: str) -> Any:
    found = ipaddress.ip_address(address)
    found = getattr(found, "ipv4_mapped", None) or found
    return {"address_prefix": str(found), "prefix_len": number(0 if found.is_unspecified else found.max_prefixlen)}


def connected_principal(network: str) -> Any:
    """Return the RBAC principal for clients in a network, by the address that the gateway knows for all routes."""
    address, _, length = network.partition("/")
    return rbac_pb2.Principal(remote_ip={"address_prefix": address, "prefix_len": number(int(length))})


def _rules(action: Any, permission: Any, clients: list[Any]) -> Any:
    policy = rbac_pb2.Policy(permissions=[permission], principals=clients)
    return rbac_pb2.RBAC(action=action, policies={"access": policy})


def refusals() -> dict[int, Any]:
    """Return status -> the condition for local replies to clients that a route refuses with this status."""
    return {status: _refused(status) for status in STATUSES}


def elsewhere() -> Any:
    """Return the condition for local replies to requests at an address at which their route does not answer."""
    return _denied(_ELSEWHERE)


def _refused(status: int) -> Any:
    return _denied(f"{_REFUSED}{status}")


def _denied(name: str) -> Any:
    policy = cel_pb2.ExpressionFilter(expression=f"response.code_details.contains('[{name}]')")
    extension = accesslog_pb2.ExtensionFilter(
        name="envoy.access_loggers.extension_filters.cel", typed_config=packed(policy)
    )
    both = [_FORBIDDEN, accesslog_pb2.AccessLogFilter(extension_filter=extension)]
    return accesslog_pb2.AccessLogFilter(and_filter=accesslog_pb2.AndFilter(filters=both))


def bad_host() -> Any:
    """Return the condition for local replies to requests that :func:`host_check` refuses.

    Envoy also sends local replies when it could not read a request's headers, for example because they are too
    large. Such replies do not match.
    """
    refused = accesslog_pb2.AccessLogFilter(response_flag_filter=accesslog_pb2.ResponseFlagFilter(flags=["FI"]))
    either = [refused, _reply(_header(_VALID_HOST, invert=True))]
    return accesslog_pb2.AccessLogFilter(or_filter=accesslog_pb2.OrFilter(filters=either))


def bad_path() -> Any:
    """Return the condition for local replies to requests that :func:`access_check` refuses for their path."""
    both = [_FORBIDDEN, _reply(_header(rf"{_UNCLEAR}(?:\?.*)?", name=":path"))]
    return accesslog_pb2.AccessLogFilter(and_filter=accesslog_pb2.AndFilter(filters=both))


def _reply(matcher: Any) -> Any:
    return accesslog_pb2.AccessLogFilter(header_filter=accesslog_pb2.HeaderFilter(header=matcher))


def _header(regex: str, *, name: str = ":authority", invert: bool = False, missing_is_empty: bool = False) -> Any:
    return route_components_pb2.HeaderMatcher(
        name=name,
        string_match=_match(regex),
        invert_match=invert,
        treat_missing_header_as_empty=missing_is_empty,
    )


def _match(regex: str) -> Any:
    return string_pb2.StringMatcher(safe_regex=regex_pb2.RegexMatcher(regex=regex))
