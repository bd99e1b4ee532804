"""Builds the Envoy configuration for requests through agents: a cluster for each agent, headers, and secrets. Pure.

An agent serves all containers of its machine at one address, behind mutual TLS. The path of a request to a container
begins with ``/godoxy/agent/proxy/http/``, and headers name the container. With any other path, the agent answers itself
or forwards the request to its engine, so no client's request may reach an agent without this prefix.

Routes with the scheme tcp, udp or h2c use tunnels instead: Envoy connects to a relay on its own machine, which opens
the tunnels.
"""

from __future__ import annotations

import base64
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import msgspec
from envoy.config.cluster.v3 import circuit_breaker_pb2, cluster_pb2
from envoy.config.common.mutation_rules.v3 import mutation_rules_pb2
from envoy.config.core.v3 import address_pb2, base_pb2, protocol_pb2
from envoy.config.endpoint.v3 import endpoint_components_pb2, endpoint_pb2
from envoy.extensions.filters.http.custom_response.v3 import custom_response_pb2
from envoy.extensions.filters.http.header_mutation.v3 import header_mutation_pb2
from envoy.extensions.filters.http.upstream_codec.v3 import upstream_codec_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2
from envoy.extensions.http.custom_response.local_response_policy.v3 import local_response_policy_pb2
from envoy.extensions.transport_sockets.tls.v3 import common_pb2, secret_pb2, tls_pb2
from envoy.extensions.upstreams.http.v3 import http_protocol_options_pb2
from envoy.type.matcher.v3 import http_inputs_pb2, status_code_input_pb2, string_pb2
from xds.core.v3 import extension_pb2 as xds_extension_pb2
from xds.type.matcher.v3 import matcher_pb2
from xds.type.matcher.v3 import string_pb2 as xds_string_pb2

from pilotage.engine.credentials import AGENT_NAME
from pilotage.xds.literals import literal
from pilotage.xds.resources import CLUSTER, SECRET, Resource, header, number, packed, resource, seconds, socket
from pilotage.xds.server_names import ads

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from google.protobuf import any_pb2

    from pilotage.engine.credentials import Credentials
    from pilotage.routes.schema import RouteSettings
    from pilotage.xds.agent import Agent
    from pilotage.xds.backend import Backend, Member
    from pilotage.xds.options import GatewayOptions
    from pilotage.xds.resources import Key

__all__ = [
    "PROXY_PATH",
    "address_of",
    "agent_changes",
    "agent_clusters",
    "is_of_agent",
    "may_set",
    "proxy_headers",
    "removed_headers",
    "speak_through_agents",
    "target_metadata",
    "unreached_page",
]

PROXY_PATH: Final = "/godoxy/agent/proxy/http"

_METADATA: Final = "pilotage.agent"
_HOST: Final = "host"
_MATCH: Final = "envoy.transport_socket_match"
_HTTP_OPTIONS: Final = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_NO_LIMIT: Final = 1_000_000
_BUFFERED: Final = 256 * 1024
_IDLE: Final = 30.0  # seconds; agents do not close idle connections, and a TLS handshake takes time
_LONGEST_WAIT: Final = 86_400.0  # seconds; without a limit of the route's own, an agent would give up after a minute

_PROXY_HOST: Final = "X-Proxy-Host"
_HEADERS: Final = ("X-Proxy-Scheme", "X-Proxy-Config")
_OLD_HEADERS: Final = ("X-Proxy-Https", "X-Proxy-Skip-Tls-Verify", "X-Proxy-Response-Header-Timeout")
"""Headers that agents before 0.18.6 expect. Newer agents read them, too, so they are removed from clients' requests."""


def agent_changes(
    known: Iterable[Agent],
    agents: Mapping[Agent, Credentials | None],
    present: Iterable[Key],
    options: GatewayOptions,
) -> dict[Key, Resource | None]:
    """Return the resources that a change of agents adds or changes, and ``None`` for each resource to remove.

    Args:
        known: the agents before the change.
        agents: the agents after the change, with their credentials; ``None`` keeps an agent's previous credentials.
        present: the keys of all current resources.
        options: the gateway's settings.

    """
    kept = {agent.address for agent, credentials in agents.items() if credentials is None}
    changes: dict[Key, Resource | None] = {
        key: None for key in present if is_of_agent(key) and key[1].partition("/")[2] not in kept
    }
    changes |= {(CLUSTER, agent.cluster): None for agent in known if agent.ip}
    secrets = [it for agent, found in agents.items() if found is not None for it in _secrets(agent, found)]
    return changes | {it.key: it for it in (*agent_clusters(agents, options), *secrets)}


def agent_clusters(agents: Iterable[Agent], options: GatewayOptions) -> list[Resource]:
    """Return the clusters that the plain routes of each agent share, for agents whose address is known."""
    return [_cluster(agent, options) for agent in agents if agent.ip]


def _cluster(agent: Agent, options: GatewayOptions) -> Resource:
    kinds = endpoint_components_pb2
    endpoint = kinds.LbEndpoint(endpoint=kinds.Endpoint(address=socket(agent.ip, agent.port)))
    most = number(_NO_LIMIT)
    limits = circuit_breaker_pb2.CircuitBreakers.Thresholds(
        max_connections=most, max_pending_requests=most, max_requests=most, max_retries=most
    )
    cluster = cluster_pb2.Cluster(
        name=agent.cluster,
        type=cluster_pb2.Cluster.STATIC,
        connect_timeout=seconds(options.attempt_timeout()),
        per_connection_buffer_limit_bytes=number(_BUFFERED),
        circuit_breakers=circuit_breaker_pb2.CircuitBreakers(thresholds=[limits]),
        load_assignment=endpoint_pb2.ClusterLoadAssignment(
            cluster_name=agent.cluster, endpoints=[kinds.LocalityLbEndpoints(lb_endpoints=[endpoint])]
        ),
        transport_socket=_socket(agent),
    )
    cluster.typed_extension_protocol_options[_HTTP_OPTIONS].CopyFrom(_protocol(own=False))
    return resource(CLUSTER, cluster.name, cluster)


@lru_cache(maxsize=2)
def _protocol(*, own: bool) -> any_pb2.Any:
    """Return Envoy's HTTP options for an agent's cluster or, with ``own``, for a backend's own cluster."""
    common = protocol_pb2.HttpProtocolOptions(
        idle_timeout=seconds(_IDLE), max_headers_count=number(1000), max_response_headers_kb=number(256)
    )
    message = http_protocol_options_pb2.HttpProtocolOptions(common_http_protocol_options=common)
    message.explicit_http_config.http_protocol_options.CopyFrom(protocol_pb2.Http1ProtocolOptions())
    if own:
        place = header(_PROXY_HOST, f"%METADATA(UPSTREAM_HOST:{_METADATA}:{_HOST})%")
        mutations = header_mutation_pb2.Mutations(request_mutations=[mutation_rules_pb2.HeaderMutation(append=place)])
        kind = http_connection_manager_pb2.HttpFilter
        message.http_filters.extend(
            [
                kind(
                    name="pilotage.agent_target",
                    typed_config=packed(header_mutation_pb2.HeaderMutation(mutations=mutations)),
                ),
                kind(name="envoy.filters.http.upstream_codec", typed_config=packed(upstream_codec_pb2.UpstreamCodec())),
            ]
        )
    return packed(message)


def address_of(backend: Backend, member: Member) -> Any:
    """Return the address to which Envoy connects for a member: the member's, its agent's, or a tunnel relay's socket.

    Several members may therefore have the same address, which Envoy allows in a static cluster.
    """
    agent = member.agent
    if agent is None:
        return socket(member.host, member.endpoint.port, udp=backend.route.scheme == "udp")
    if tunnel := backend.tunnel(member):
        return address_pb2.Address(pipe=address_pb2.Pipe(path=f"{agent.relay}/{tunnel.name}"))
    return socket(agent.ip, agent.port)


def target_metadata(agent: Agent, member: Member) -> base_pb2.Metadata:
    """Return the metadata of an endpoint: which container it is, and which agent's TLS settings it needs."""
    metadata = base_pb2.Metadata()
    metadata.filter_metadata[_METADATA][_HOST] = _place_of(agent, member)
    metadata.filter_metadata[_MATCH][_METADATA] = agent.address
    return metadata


def _place_of(agent: Agent, member: Member) -> str:
    return agent.place_of(member.endpoint, member.host)


def speak_through_agents(cluster: Any, backend: Backend) -> None:
    """Let a backend's own cluster reach its endpoints through their agents, using each agent's TLS settings."""
    cluster.typed_extension_protocol_options[_HTTP_OPTIONS].CopyFrom(_protocol(own=True))
    agents = list(dict.fromkeys(member.agent for member in backend.members if member.agent is not None))
    if len(agents) < 2:
        cluster.transport_socket.CopyFrom(_socket(agents[0] if agents or backend.agent is None else backend.agent))
    for agent in agents if len(agents) > 1 else ():
        match = cluster.transport_socket_matches.add(name=agent.address, transport_socket=_socket(agent))
        match.match[_METADATA] = agent.address


# ---- TLS ------------------------------------------------------------------------------------------------------------


_OWN: Final = "agent"
_CAS: Final = "agent-ca"


def _socket(agent: Agent) -> base_pb2.TransportSocket:
    """Return the settings for mutual TLS with an agent. All agents use the same TLS name, but each has its own CA."""
    common = tls_pb2.CommonTlsContext(alpn_protocols=["http/1.1"])
    common.tls_params.tls_minimum_protocol_version = common_pb2.TlsParameters.TLSv1_2
    common.tls_certificate_sds_secret_configs.add(name=f"{_OWN}/{agent.address}", sds_config=ads())
    combined = common.combined_validation_context
    combined.default_validation_context.match_typed_subject_alt_names.add(
        san_type=common_pb2.SubjectAltNameMatcher.DNS, matcher=string_pb2.StringMatcher(exact=AGENT_NAME)
    )
    combined.validation_context_sds_secret_config.name = f"{_CAS}/{agent.address}"
    combined.validation_context_sds_secret_config.sds_config.CopyFrom(ads())
    context = tls_pb2.UpstreamTlsContext(common_tls_context=common, sni=AGENT_NAME)
    return base_pb2.TransportSocket(name="envoy.transport_sockets.tls", typed_config=packed(context))


def _secrets(agent: Agent, credentials: Credentials) -> list[Resource]:
    """Return the secrets for an agent: the client's certificate with its key, and the CA."""
    own, ca = f"{_OWN}/{agent.address}", f"{_CAS}/{agent.address}"
    certificate = common_pb2.TlsCertificate(
        certificate_chain=base_pb2.DataSource(inline_bytes=credentials.cert),
        private_key=base_pb2.DataSource(inline_bytes=credentials.key),
    )
    trusted = common_pb2.CertificateValidationContext(trusted_ca=base_pb2.DataSource(inline_bytes=credentials.ca))
    return [
        resource(SECRET, own, secret_pb2.Secret(name=own, tls_certificate=certificate)),
        resource(SECRET, ca, secret_pb2.Secret(name=ca, validation_context=trusted)),
    ]


def is_of_agent(key: Key) -> bool:
    """Return whether a resource is a secret for an agent."""
    return key[0] == SECRET and key[1].partition("/")[0] in (_OWN, _CAS)


# ---- headers --------------------------------------------------------------------------------------------------------


def proxy_headers(backend: Backend) -> list[Any]:
    """Return the request headers that tell an agent how to reach a backend's containers.

    If the backend has its own cluster, the header that names the container is left out, because that cluster adds it
    for each endpoint.
    """
    agent, route = backend.proxy, backend.route
    if agent is None:
        return []
    settings = route.settings
    found = []
    if agent.is_old:
        values = (
            "true" if route.scheme == "https" else "false",
            "true" if settings.no_tls_verify else "false",
            str(round(settings.response_header_timeout or _LONGEST_WAIT)),
        )
        found += [header(name, value) for name, value in zip(_OLD_HEADERS, values, strict=True)]
    else:
        names = {member.endpoint.host for member in backend.members if member.address}
        values_now = (route.scheme, _config(settings, next(iter(names), "")))
        found += [header(name, literal(value)) for name, value in zip(_HEADERS, values_now, strict=True)]
    if backend.backing == "agent":
        found.append(header(_PROXY_HOST, literal(_place_of(agent, backend.members[0]))))
    return found


def may_set(backend: Backend, name: str) -> bool:
    """Return whether middlewares may set a request header: any but the ``X-Proxy-*`` that an agent obeys."""
    return backend.proxy is None or not name.lower().startswith("x-proxy-")


def removed_headers(backend: Backend) -> tuple[str, ...]:
    """Return the headers to remove from requests, because other versions of agents obey them; none without an agent."""
    if backend.proxy is None:
        return ()
    return _HEADERS if backend.proxy.is_old else _OLD_HEADERS


def _config(settings: RouteSettings, server_name: str) -> str:
    """Return the HTTP options of a route as an agent expects them. Paths are paths on the agent's machine."""
    options: dict[str, Any] = {
        "response_header_timeout": round((settings.response_header_timeout or _LONGEST_WAIT) * 1e9)
    }
    for name in ("no_tls_verify", "disable_compression"):
        if getattr(settings, name):
            options[name] = True
    for name in ("ssl_trusted_certificate", "ssl_certificate", "ssl_certificate_key"):
        if value := getattr(settings, name):
            options[name] = value
    if settings.ssl_protocols:
        options["ssl_protocols"] = list(settings.ssl_protocols)
    if settings.ssl_server_name or server_name:
        options["ssl_server_name"] = settings.ssl_server_name or server_name
    return base64.b64encode(msgspec.json.encode(options)).decode()


# ---- a container that is not reached --------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def unreached_page() -> any_pb2.Any:
    """Replace an agent's error page about a container that it cannot reach with a response of our own.

    If a container itself responds with this status and a page, Envoy cannot tell the difference, so that response is
    replaced, too.
    """

    def single(kind: str, message: Any, **expected: str) -> Any:
        read = xds_extension_pb2.TypedExtensionConfig(name=kind, typed_config=packed(message))
        predicate = matcher_pb2.Matcher.MatcherList.Predicate.SinglePredicate(
            input=read, value_match=xds_string_pb2.StringMatcher(**expected)
        )
        return matcher_pb2.Matcher.MatcherList.Predicate(single_predicate=predicate)

    both = matcher_pb2.Matcher.MatcherList.Predicate(
        and_matcher=matcher_pb2.Matcher.MatcherList.Predicate.PredicateList(
            predicate=[
                single("status", status_code_input_pb2.HttpResponseStatusCodeMatchInput(), exact="502"),
                single(
                    "kind", http_inputs_pb2.HttpResponseHeaderMatchInput(header_name="content-type"), prefix="text/html"
                ),
            ]
        )
    )
    policy = local_response_policy_pb2.LocalResponsePolicy(status_code=number(503))
    action = xds_extension_pb2.TypedExtensionConfig(name="unreached", typed_config=packed(policy))
    matchers = matcher_pb2.Matcher.MatcherList(
        matchers=[
            matcher_pb2.Matcher.MatcherList.FieldMatcher(
                predicate=both, on_match=matcher_pb2.Matcher.OnMatch(action=action)
            )
        ]
    )
    return packed(
        custom_response_pb2.CustomResponse(custom_response_matcher=matcher_pb2.Matcher(matcher_list=matchers))
    )
