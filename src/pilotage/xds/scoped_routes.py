"""Builds scoped route configurations: all hosts with the same first DNS label share one scope. Pure.

``app`` and ``app.example.com`` are in the scope ``app``. Each scope is a separate resource, so a change resends only
the affected scopes. Envoy selects the scope by the first DNS label of the host, the part before its first dot. All
wildcard aliases (route names such as ``*.example.com``) share one scope.
"""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import msgspec
from envoy.config.route.v3 import route_components_pb2, route_pb2
from envoy.type.matcher.v3 import regex_pb2, string_pb2

from pilotage.routes.hosts import ANY_LABEL, DEFAULT, clean_domains
from pilotage.xds.agents import PROXY_PATH
from pilotage.xds.app_sec import BUFFERED
from pilotage.xds.asset_routes import asset_routes
from pilotage.xds.bypass_routes import has_route_headers, with_bypass
from pilotage.xds.client_checks import subject_headers
from pilotage.xds.clusters import GRPC_SUFFIX, SAFE_SUFFIX, SHARED
from pilotage.xds.filters import ADDRESS, FOUND, TARGET, backend_settings, mark, on_demand_settings, scope_settings
from pilotage.xds.load_balancing import hash_policies
from pilotage.xds.local_replies import why_unavailable
from pilotage.xds.login import identity_headers, rule_login_settings
from pilotage.xds.middlewares import PLAIN
from pilotage.xds.own_ports import PORT_HEADER, hosts_on_port, listening_address, port_scope
from pilotage.xds.path_patterns import refusing_routes
from pilotage.xds.resources import OFF, SCOPE, Resource, ScopePart, seconds, version_of
from pilotage.xds.retries import repeats, retries
from pilotage.xds.route_headers import edit_headers, edit_routes, target_host
from pilotage.xds.rule_routes import with_rules
from pilotage.xds.scope_parts import encode_host, join_hosts, unavailable
from pilotage.xds.sleeping_routes import while_closed
from pilotage.xds.templates import FilledTemplate, Template, name_samples, template
from pilotage.xds.usual_routes import is_plain, is_usual, sample_backend

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pilotage.xds.backend import Backend, Backing
    from pilotage.xds.options import GatewayOptions

__all__ = ["domains", "scope", "scope_label", "scope_of"]

_SAFE: Final = "GET|HEAD|OPTIONS"


def scope_label(name: str) -> str:
    """Return the scope key of an alias, its first DNS label; ``""`` if no host can match it."""
    first, _, rest = name.partition(".")
    if first == "*" and "*" not in rest:
        return ANY_LABEL
    return "" if "*" in name else first


def scope_of(backend: Backend) -> str:
    """Return the name of the scope that a backend belongs to; ``""`` if it belongs to none."""
    route = backend.route
    if route.is_stream:
        return ""
    return port_scope(listening_address(route)) if route.has_listener else scope_label(backend.name)


def domains(name: str, suffixes: Iterable[str]) -> list[str]:
    """Return the domains of an alias's virtual host.

    Args:
        name: the alias. An alias without dots matches itself and every host whose first label it is. An alias with dots
            matches only the host of that name. ``*.example.com`` matches every host with one additional label, and
            ``*`` every host that no other route has.
        suffixes: domains that may follow an alias without dots; if empty, any may.

    """
    if "." in name:
        return [ANY_LABEL + name[1:] if name.startswith("*.") else name]
    if name == DEFAULT:
        return ["*"]
    wanted = clean_domains(suffixes)
    return [name, *(f"{name}.{suffix}" for suffix in wanted)] if wanted else ["*"]


def scope(label: str, backends: Iterable[Backend], options: GatewayOptions) -> Resource:
    """Return the scope of a first DNS label, or of a port.

    Args:
        label: see :func:`scope_of`.
        backends: the backends of the scope, one or more. For a port, the first backend is the one that listened on it
            first.
        options: the gateway's settings.

    """
    backends = list(backends)
    if backends[0].route.has_listener:
        return _built(label, backends, options)
    ordered = sorted(backends, key=lambda backend: backend.name)
    if len(ordered) == 1 and ordered[0].name == label and (made := _from_template(ordered[0], options)):
        return made
    return _built(label, ordered, options)


def _built(label: str, ordered: list[Backend], options: GatewayOptions) -> Resource:
    hosts = []
    for backend, names in _share_hosts(ordered, options):
        if names:
            host = _virtual_host(backend, options).SerializeToString(deterministic=True)
            led, needs = backend.cluster if backend.names is not None else "", _references(backend)
            hosts.append(encode_host(backend.name, names, host, needs, measured=backend.measured, leads_to=led))
    hosts.sort(key=lambda host: host.name)
    plain, own_port = any(backend.backing == "shared" for backend in ordered), ordered[0].route.has_listener
    head = _head(plain=plain, own_port=own_port)
    return join_hosts(label, head, hosts)


@lru_cache(maxsize=8)
def _head(*, plain: bool, own_port: bool) -> bytes:
    """Return the serialized part of a scope that is the same for all scopes with (or without) ``plain`` routes."""
    everywhere = route_pb2.RouteConfiguration(
        validate_clusters=OFF,  # a cluster may be missing on purpose, while containers sleep
        ignore_port_in_host_matching=True,
        typed_per_filter_config=scope_settings(plain=plain),
        request_headers_to_remove=["x-envoy-external-address", *([PORT_HEADER] if own_port else [])],
    )
    head: bytes = everywhere.SerializeToString(deterministic=True)
    return head


def _address(backend: Backend) -> str:
    """Return the address of a plain backend. An IPv4-mapped IPv6 address becomes IPv4, as Envoy requires."""
    endpoint = backend.members[0].endpoint
    mapped = ipaddress.IPv6Address(endpoint.host).ipv4_mapped if ":" in endpoint.host else None
    return endpoint.address if mapped is None else f"{mapped}:{endpoint.port}"


def _from_template(backend: Backend, options: GatewayOptions) -> Resource | None:
    """Return the scope of a single usual or plain backend; ``None`` if no template can be used."""
    if is_plain(backend):
        address = _address(backend)
    elif is_usual(backend):
        address = ""
    else:
        return None
    if backend.route.bind:
        return None
    name = backend.name
    found = _scope_template(len(name.encode()), len(address), backend.backing, backend.route.scheme, options)
    if found is None:
        return None
    made, sample = found
    filled = FilledTemplate(made, (name, address))
    (part,) = sample.parts
    clusters = part.clusters if address else frozenset({backend.cluster})
    names = tuple(domains(name, options.match_domains))
    parts = (ScopePart(name, names, part.start, part.end, clusters),)
    return Resource(SCOPE, name, version_of(filled.body), filled, clusters, (name,), parts=parts)


@lru_cache(maxsize=1024)
def _scope_template(
    name: int, address: int, backing: Backing, scheme: str, options: GatewayOptions
) -> tuple[Template, Resource] | None:
    """Return a template for scopes with the given lengths of name and address, and a sample scope made with it.

    Args:
        name: length of the backend's name in bytes.
        address: length of the address of a plain backend; 0 if the backend has a cluster of its own.
        backing: how the backend is reached; see :class:`~pilotage.xds.backend.Backend`.
        scheme: the scheme of the backend's route.
        options: the gateway's settings.

    """
    targets = [f"{letter * (address - 2)}:1" for letter in "zw"] if address else ["", ""]

    def built(alias: str, target: str = "") -> Resource:
        backend = sample_backend(alias, target.removesuffix(":1"), 1, backing, scheme)
        return _built(alias, [backend], options)

    samples = [name_samples(name), *([(targets[0], targets[1])] if address else [])]
    found = template(lambda *texts: built(*texts).body, *samples)
    return (found, built(*(texts[0] for texts in samples))) if found is not None else None


def _clusters(backend: Backend) -> list[str]:
    """Return the clusters that a backend's requests use: in general, for gRPC (if https) and for safe requests."""
    if backend.backing == "none":
        return []
    if backend.proxy is not None:
        return [backend.proxy.cluster if backend.backing == "agent" else backend.cluster]
    name = SHARED[backend.route.scheme] if backend.backing == "shared" else backend.cluster
    found = [name, name + GRPC_SUFFIX] if backend.route.scheme == "https" else [name]
    return [*found, name + SAFE_SUFFIX] if backend.backing == "shared" and repeats(backend) else found


def _references(backend: Backend) -> frozenset[str]:
    """Return the clusters that Envoy must have before it gets the virtual host of a backend."""
    found = [backend, *(other for other in backend.others.values() if other is not None)]
    return frozenset(name for it in found if not it.is_closed for name in _clusters(it))


def _share_hosts(backends: list[Backend], options: GatewayOptions) -> Iterator[tuple[Backend, list[str]]]:
    """Yield each backend with its domains, none of them twice, because Envoy rejects duplicate domains.

    The table gives each full name to one route, and excludes other routes with that name. A backend with a full name
    therefore gets the host of that name, and the backend with the short alias gets all other hosts.
    """
    if backends[0].route.has_listener:
        shared = {it.name: domains(it.name, options.match_domains) for it in backends}
        hosts_of = hosts_on_port(shared, backends[0].name)
        yield from ((backend, hosts_of[backend.name]) for backend in backends)
        return
    taken: set[str] = set()
    for backend in sorted(
        backends, key=lambda backend: ("." not in backend.name, backend.name.startswith("*"), backend.name)
    ):
        hosts = [host for host in domains(backend.name, options.match_domains) if host not in taken]
        taken.update(hosts)
        yield backend, hosts


def _virtual_host(backend: Backend, options: GatewayOptions) -> Any:
    """Return the virtual host of a backend without its name and domains."""
    host = _routes_with_policy(backend, options)
    if backend.backing == "shared":
        host.metadata.filter_metadata[TARGET][ADDRESS] = _address(backend)
    return host


def _routes_with_policy(backend: Backend, options: GatewayOptions) -> Any:
    """Return a backend's virtual host, but without the name and address of the virtual host."""
    served = with_bypass(backend, lambda it: _policy_routes(it, options), options)
    refusing = [*asset_routes(backend, options), *refusing_routes(backend.route.settings.path_patterns)]
    for route in refusing:
        mark(route, backend)
    routes = [*refusing, *served]
    host = route_components_pb2.VirtualHost(
        routes=routes,
        typed_per_filter_config=backend_settings(backend, options),
        retry_policy=None if backend.backing == "shared" and repeats(backend) else retries(backend, options),
        request_headers_to_add=[*identity_headers(backend, options), *subject_headers(backend)],
    )
    if backend.route_policy.auth is not None and backend.route_policy.auth.api_key:
        host.request_body_buffer_limit.value = BUFFERED
    edit_headers(host, msgspec.structs.replace(backend, route_policy=PLAIN) if has_route_headers(backend) else backend)
    return host


def _policy_routes(backend: Backend, options: GatewayOptions) -> list[Any]:
    """Return the routes of a backend as if it had no bypasses."""
    routes = [*_redirect(backend, options)]
    routes += with_rules(
        backend,
        _own_routes(backend, options),
        lambda other: _other_routes(other, options),
        rule_login_settings(backend, options),
    )
    for route in routes:
        mark(route, backend)
    return routes


def _own_routes(backend: Backend, options: GatewayOptions) -> list[Any]:
    return while_closed(backend, _routes(backend, options), options)


def _other_routes(backend: Backend, options: GatewayOptions) -> list[Any]:
    """Return the routes of a backend for the virtual host of another one, whose rules send requests there."""
    routes = _own_routes(backend, options)
    edit_routes(routes, backend)
    settings = on_demand_settings(backend, options)
    for route in routes:
        for name, it in settings.items():
            if name not in route.typed_per_filter_config:
                route.typed_per_filter_config[name].CopyFrom(it)
        if route.HasField("route") and not route.route.HasField("retry_policy"):
            route.route.retry_policy.CopyFrom(retries(backend, options))
    return routes


def _redirect(backend: Backend, options: GatewayOptions) -> list[Any]:
    if not backend.route_policy.redirect:
        return []
    plain = route_components_pb2.HeaderMatcher(
        name="x-forwarded-proto", string_match=string_pb2.StringMatcher(exact="http")
    )
    match = route_components_pb2.RouteMatch(prefix="/", headers=[plain])
    redirect = https_redirect(options)
    if backend.route.has_listener:
        redirect.ClearField("port_redirect")  # its own port speaks HTTPS
    return [route_components_pb2.Route(match=match, redirect=redirect)]


def https_redirect(options: GatewayOptions) -> Any:
    """Return the redirect from plain HTTP to HTTPS. It omits the port if HTTP and HTTPS use their default ports."""
    action = route_components_pb2.RedirectAction(
        https_redirect=True, response_code=route_components_pb2.RedirectAction.PERMANENT_REDIRECT
    )
    port = options.redirect_port or 443
    if (options.http_port, port) != (80, 443):
        action.port_redirect = port
    return action


def _routes(backend: Backend, options: GatewayOptions) -> list[Any]:
    """Return the Envoy routes of a backend, which differ in their idle timeouts and retry policies.

    Some requests may be idle for a long time: gRPC, and GET, HEAD and OPTIONS without a body, even if they become
    WebSockets. Requests that are safe to repeat are also retried after a broken connection.
    """
    kinds = route_components_pb2
    if backend.backing == "none":
        return [unavailable(backend.name if backend.measured else FOUND, why_unavailable(backend.route))]
    name = _clusters(backend)[0]
    lasting, brief = (_silence(backend, limit) for limit in (options.stream_timeout, options.body_timeout))
    routes = [kinds.Route(match=kinds.RouteMatch(prefix="/"), route=_action(backend, name, brief))]
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
    if backend.route.scheme in {"https", "h2c"} and backend.proxy is None:
        grpc = kinds.RouteMatch(prefix="/", grpc=kinds.RouteMatch.GrpcRouteMatchOptions())
        suffix = GRPC_SUFFIX if backend.route.scheme == "https" else ""
        routes.insert(0, kinds.Route(match=grpc, route=_action(backend, name + suffix, lasting)))
    return routes


_NO_BODY: Final = [
    route_components_pb2.HeaderMatcher(name=name, present_match=False)
    for name in ("content-length", "transfer-encoding")
]


def _silence(backend: Backend, limit: float) -> float:
    """Return a request's idle timeout in seconds, longer than any wait that its route allows; 0 means no limit."""
    wait = backend.longest_wait if backend.is_closed else backend.hold
    longest = max(wait, backend.route.settings.response_header_timeout)
    return max(limit, longest + _MARGIN) if limit and longest else limit


_MARGIN: Final = 10.0


def _regex(text: str) -> Any:
    return regex_pb2.RegexMatcher(regex=text)


def _action(backend: Backend, cluster: str, silence: float, policy: Any = None) -> Any:
    """Return the action of a route, with an idle timeout. The listener's timeout is for requests without a route."""
    action = route_components_pb2.RouteAction(
        cluster=cluster,
        timeout=seconds(0),  # no timeout: streams can last
        idle_timeout=seconds(silence),
        retry_policy=policy,
        hash_policy=hash_policies(backend),
        prefix_rewrite=backend.route_policy.prefix,
    )
    if backend.proxy is not None:
        action.prefix_rewrite = PROXY_PATH + (backend.route_policy.prefix or "/")
    if backend.route.scheme == "fileserver":
        action.host_rewrite_literal = backend.route.alias  # tells the file server which folder to serve
    elif wanted := target_host(backend):
        action.host_rewrite_literal = wanted
    return action
