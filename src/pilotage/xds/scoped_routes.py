"""Builds scoped route configurations, with one scope for all hosts with the same first DNS label. Pure.

``app`` and ``app.example.com`` are in the scope ``app``. Each scope is a separate resource. So after a change, only the
affected scopes are sent again, however many there are. Envoy selects the scope by the first DNS label of the host, the
part before its first dot. All wildcard aliases (route names such as ``*.example.com``) share one scope.
"""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from envoy.config.core.v3 import base_pb2
from envoy.config.route.v3 import route_components_pb2, route_pb2
from envoy.type.matcher.v3 import regex_pb2, string_pb2
from google.protobuf import struct_pb2

from pilotage.routes.hosts import ANY_LABEL, clean_domains
from pilotage.routes.route import Endpoint, Route
from pilotage.xds.backend import Backend, Member
from pilotage.xds.clusters import GRPC_SUFFIX, SAFE_SUFFIX, SHARED
from pilotage.xds.filters import ADDRESS, TARGET, backend_settings, mark, scope_settings
from pilotage.xds.local_replies import why_unavailable
from pilotage.xds.problems import build_failed
from pilotage.xds.resources import OFF, Frame, Resource, header, literal, seconds
from pilotage.xds.retries import repeats, retries
from pilotage.xds.scope_parts import encode_host, join_hosts, unavailable
from pilotage.xds.sleeping_routes import while_closed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pilotage.core.problems import Problem
    from pilotage.xds.options import GatewayOptions

__all__ = ["build_scope", "domains", "scope", "scope_label"]

_SAFE: Final = "GET|HEAD|OPTIONS"
_FORWARDED: Final = (
    "x-forwarded-for",
    "x-forwarded-method",
    "x-forwarded-proto",
    "x-forwarded-host",
    "x-forwarded-uri",
)


def scope_label(name: str) -> str:
    """Return the scope key of an alias, its first DNS label; ``""`` if no host can match it."""
    first, _, rest = name.partition(".")
    if first == "*" and rest and "*" not in rest:
        return ANY_LABEL
    return "" if "*" in name else first


def domains(name: str, suffixes: Iterable[str]) -> list[str]:
    """Return the virtual host domains of an alias within its scope.

    Args:
        name: the alias. Without dots, it matches itself and every host of which it is the first label. With dots, it
            matches only that host. ``*.example.com`` matches every host with one additional label.
        suffixes: domains that may follow an alias without dots; if empty, any may.

    """
    if "." in name:
        return [ANY_LABEL + name[1:] if name.startswith("*.") else name]
    wanted = clean_domains(suffixes)
    return [name, *(f"{name}.{suffix}" for suffix in wanted)] if wanted else ["*"]


def scope(label: str, backends: Iterable[Backend], options: GatewayOptions) -> Resource:
    """Return the scope of a first DNS label.

    Args:
        label: see :func:`scope_label`.
        backends: its backends, one or more.
        options: the gateway's settings.

    """
    ordered = sorted(backends, key=lambda backend: backend.name)
    if len(ordered) == 1 and ordered[0].name == label and _is_plain(ordered[0]):
        return _plain_scope(ordered[0], options)
    hosts = []
    for backend, names in _share_hosts(ordered, options):
        if names:
            host = _virtual_host(backend, options).SerializeToString(deterministic=True)
            leads_to = backend.cluster if backend.names is not None else ""
            hosts.append(encode_host(backend.name, names, host, _references(backend), leads_to=leads_to))
    hosts.sort(key=lambda host: host.name)
    return join_hosts(label, _head(plain=any(backend.backing == "shared" for backend in ordered)), hosts)


def build_scope(
    label: str, backends: Sequence[Backend], options: GatewayOptions
) -> tuple[Resource | None, tuple[Problem, ...]]:
    """Return the scope of all backends that can be built, and a problem for each that cannot.

    Args:
        label: see :func:`scope_label`.
        backends: its backends.
        options: the gateway's settings.

    """
    try:
        return scope(label, backends, options) if backends else None, ()
    except Exception as error:  # noqa: BLE001  an error in one route must not block the others
        if len(backends) == 1:
            return None, (build_failed(backends[0].route, error),)
    each = [(it, *build_scope(label, [it], options)) for it in backends]
    valid = [backend for backend, made, _ in each if made is not None]
    made, _ = build_scope(label, valid, options) if len(valid) < len(backends) else (None, ())
    return made, tuple(problem for *_, problems in each for problem in problems)


@lru_cache(maxsize=2)
def _head(*, plain: bool) -> bytes:
    """Return what all scopes have in common, serialized; see :func:`~pilotage.xds.filters.scope_settings`."""
    everywhere = route_pb2.RouteConfiguration(
        validate_clusters=OFF,  # a cluster may be missing on purpose, while containers sleep
        ignore_port_in_host_matching=True,
        typed_per_filter_config=scope_settings(plain=plain),
        request_headers_to_remove=["x-envoy-external-address"],
    )
    head: bytes = everywhere.SerializeToString(deterministic=True)
    return head


# Most scopes differ only in a name and an address. Building a message for each would take four times as long.
_HOST_METADATA: Final = Frame(route_components_pb2.VirtualHost, "metadata")
_METADATA: Final = Frame(base_pb2.Metadata, "filter_metadata")
_STRUCT: Final = Frame(struct_pb2.Struct, "fields")
_KEY, _VALUE = (Frame(struct_pb2.Struct.FieldsEntry, it) for it in ("key", "value"))  # alike in every map of texts
_TEXT: Final = Frame(struct_pb2.Value, "string_value")


def _entry(frame: Frame, key: str, value: bytes) -> bytes:
    """Encode an entry of a map."""
    return frame(_KEY(key.encode()) + _VALUE(value))


def _metadata(backend: Backend) -> bytes:
    """Return the encoded metadata of a plain backend's virtual host: the address of its target."""
    address = _TEXT(_address(backend).encode())
    return _HOST_METADATA(_entry(_METADATA, TARGET, _entry(_STRUCT, ADDRESS, address)))


def _address(backend: Backend) -> str:
    """Return the address of a plain backend. An IPv4-mapped one becomes IPv4, which Envoy requires."""
    endpoint = backend.members[0].endpoint
    mapped = ipaddress.IPv6Address(endpoint.host).ipv4_mapped if ":" in endpoint.host else None
    return endpoint.address if mapped is None else f"{mapped}:{endpoint.port}"


def _plain_scope(backend: Backend, options: GatewayOptions) -> Resource:
    """Return the scope of a single plain backend: the fields of :func:`scope` in a different order, but faster."""
    host, clusters = _plain_parts(backend.route.scheme, options)
    names = domains(backend.name, options.match_domains)
    encoded = encode_host(backend.name, names, host + _metadata(backend), clusters)
    return join_hosts(backend.name, _head(plain=True), [encoded])


@lru_cache(maxsize=8)
def _plain_parts(scheme: str, options: GatewayOptions) -> tuple[bytes, frozenset[str]]:
    """Return what plain scopes share: a serialized virtual host, and clusters."""
    host = _plain_host(scheme, options).SerializeToString(deterministic=True)
    return host, frozenset(_clusters(_plain_backend(scheme)))


def _clusters(backend: Backend) -> list[str]:
    """Return a backend's clusters: for requests in general, for gRPC, for safe requests."""
    if backend.backing == "none":
        return []
    name = SHARED[backend.route.scheme] if backend.backing == "shared" else backend.cluster
    found = [name, name + GRPC_SUFFIX] if backend.route.scheme == "https" else [name]
    return [*found, name + SAFE_SUFFIX] if backend.backing == "shared" and repeats(backend) else found


def _references(backend: Backend) -> frozenset[str]:
    """Return the clusters that Envoy must have before it gets the virtual host of a backend."""
    return frozenset() if backend.is_closed else frozenset(_clusters(backend))


def _share_hosts(backends: list[Backend], options: GatewayOptions) -> Iterator[tuple[Backend, list[str]]]:
    """Yield the hosts of each backend. Envoy rejects duplicate domains.

    The table gives a full name to its holder, and excludes other routes with that name. So a backend with a full name
    gets this host, and the backend with the short alias gets all other hosts.
    """
    taken: set[str] = set()
    for backend in sorted(
        backends, key=lambda backend: ("." not in backend.name, backend.name.startswith("*"), backend.name)
    ):
        hosts = [host for host in domains(backend.name, options.match_domains) if host not in taken]
        taken.update(hosts)
        yield backend, hosts


def _virtual_host(backend: Backend, options: GatewayOptions) -> Any:
    """Return a virtual host without its name and domains."""
    host = route_components_pb2.VirtualHost()
    host.CopyFrom(
        _plain_host(backend.route.scheme, options) if _is_plain(backend) else _routes_with_policy(backend, options)
    )
    if backend.backing == "shared":
        host.metadata.filter_metadata[TARGET][ADDRESS] = _address(backend)
    return host


def _is_plain(backend: Backend) -> bool:
    """Return whether a backend differs from most others only in name and address."""
    settings = backend.route.settings
    compresses = settings.compression or settings.disable_compression
    return backend.backing == "shared" and not (settings.middlewares or settings.response_header_timeout or compresses)


@lru_cache(maxsize=8)
def _plain_host(scheme: str, options: GatewayOptions) -> Any:
    """Return the part that all plain backends share, cached because building it is most of the work."""
    return _routes_with_policy(_plain_backend(scheme), options)


def _plain_backend(scheme: str) -> Backend:
    return Backend(name="", route=Route(alias="", scheme=scheme), members=(Member(Endpoint("", 0)),), backing="shared")


def _routes_with_policy(backend: Backend, options: GatewayOptions) -> Any:
    """Return the virtual host of a backend without name and address."""
    policy = backend.route_policy
    routes = [*_redirect(backend, options), *while_closed(backend, _routes(backend, options))]
    for route in routes:
        mark(route, backend)
    host = route_components_pb2.VirtualHost(
        routes=routes,
        typed_per_filter_config=backend_settings(backend, options),
        retry_policy=None if backend.backing == "shared" and repeats(backend) else retries(backend, options),
        request_headers_to_add=[
            *(header(name, literal(value)) for name, value in policy.request.put),
            *(header(name, literal(value), add=True) for name, value in policy.request.add),
        ],
        request_headers_to_remove=policy.request.hide,
        response_headers_to_add=[
            *(header(name, literal(value)) for name, value in policy.answer.put),
            *(header(name, literal(value), add=True) for name, value in policy.answer.add),
        ],
        response_headers_to_remove=policy.answer.hide,
    )
    if policy.forwarded == "set":
        host.request_headers_to_add.extend(header(name, value) for name, value in _SEEN.items())
    elif policy.forwarded == "hide":
        host.request_headers_to_remove.extend(_FORWARDED)
    return host


_SEEN: Final = dict(
    zip(
        _FORWARDED,
        (
            "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
            "%REQ(:METHOD)%",
            "%REQ(X-FORWARDED-PROTO)%",
            "%REQ(:AUTHORITY)%",
            "%REQ(:PATH)%",
        ),
        strict=True,
    )
)


def _redirect(backend: Backend, options: GatewayOptions) -> list[Any]:
    if not backend.route_policy.redirect:
        return []
    plain = route_components_pb2.HeaderMatcher(
        name="x-forwarded-proto", string_match=string_pb2.StringMatcher(exact="http")
    )
    match = route_components_pb2.RouteMatch(prefix="/", headers=[plain])
    return [route_components_pb2.Route(match=match, redirect=https_redirect(options))]


def https_redirect(options: GatewayOptions) -> Any:
    """Return the redirect from plain HTTP to HTTPS. It omits the port if both are the default ports."""
    action = route_components_pb2.RedirectAction(
        https_redirect=True, response_code=route_components_pb2.RedirectAction.PERMANENT_REDIRECT
    )
    port = options.redirect_port or 443
    if (options.http_port, port) != (80, 443):
        action.port_redirect = port
    return action


def _routes(backend: Backend, options: GatewayOptions) -> list[Any]:
    """Return the routes of a backend. They differ in how long they may be silent, and in their retries.

    Some requests may be silent for long: gRPC, and GET, HEAD and OPTIONS without a body, even if they become
    WebSockets. Those that are safe to repeat are also retried after a broken connection.
    """
    kinds = route_components_pb2
    if backend.backing == "none":
        return [unavailable(backend.name, why_unavailable(backend.route))]
    name = _clusters(backend)[0]
    lasting, brief = (_silence(backend, limit) for limit in (options.stream_timeout, options.body_timeout))
    own_limit = brief if brief != options.body_timeout else None
    routes = [kinds.Route(match=kinds.RouteMatch(prefix="/"), route=_action(backend, name, own_limit))]
    # Envoy keeps a compiled regex per route, so plain routes retry only GET.
    shared = backend.backing == "shared"
    matcher = string_pb2.StringMatcher(exact="GET") if shared else string_pb2.StringMatcher(safe_regex=_regex(_SAFE))
    safe = kinds.RouteMatch(prefix="/", headers=[kinds.HeaderMatcher(name=":method", string_match=matcher), *_NO_BODY])
    if not repeats(backend):
        action = _action(backend, name, lasting)
    elif shared:
        action = _action(backend, name + SAFE_SUFFIX, lasting)
    else:
        action = _action(backend, name, lasting, retries(backend, options, safe=True))
    routes.insert(0, kinds.Route(match=safe, route=action))
    if backend.route.scheme in {"https", "h2c"}:
        grpc = kinds.RouteMatch(prefix="/", grpc=kinds.RouteMatch.GrpcRouteMatchOptions())
        suffix = GRPC_SUFFIX if backend.route.scheme == "https" else ""
        routes.insert(0, kinds.Route(match=grpc, route=_action(backend, name + suffix, lasting)))
    return routes


_NO_BODY: Final = [
    route_components_pb2.HeaderMatcher(name=name, present_match=False)
    for name in ("content-length", "transfer-encoding")
]


def _silence(backend: Backend, limit: float) -> float:
    """Return a request's idle timeout in seconds, extended to the wait that its route allows; 0 means no limit."""
    wait = backend.longest_wait if backend.is_closed else backend.hold
    longest = max(wait, backend.route.settings.response_header_timeout)
    return max(limit, longest + _MARGIN) if limit and longest else limit


_MARGIN: Final = 10.0


def _regex(text: str) -> Any:
    return regex_pb2.RegexMatcher(regex=text)


def _action(backend: Backend, cluster: str, silence: float | None, policy: Any = None) -> Any:
    """Return the action of a route. If it has no idle timeout of its own, the listener's applies."""
    action = route_components_pb2.RouteAction(
        cluster=cluster,
        timeout=seconds(0),  # no timeout: streams can last
        idle_timeout=None if silence is None else seconds(silence),
        retry_policy=policy,
        hash_policy=_hash_policy(backend),
        prefix_rewrite=backend.route_policy.prefix,
    )
    if backend.route_policy.host:
        action.host_rewrite_literal = backend.route_policy.host
    return action


def _hash_policy(backend: Backend) -> list[Any]:
    balance = backend.route.settings.load_balance
    policy = route_components_pb2.RouteAction.HashPolicy
    if backend.backing != "own":
        return []
    if balance.sticky:
        cookie = policy.Cookie(name="pilotage_member", ttl=seconds(balance.sticky_max_age or 3600), path="/")
        return [policy(cookie=cookie)]
    if balance.mode.lower().replace("_", "") == "iphash":
        return [policy(connection_properties=policy.ConnectionProperties(source_ip=True))]
    return []
