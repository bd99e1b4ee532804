"""Builds the filters of tcp listeners, and all resources of a backend except listeners and scopes. Pure.

If the containers of a route can sleep, its connections go to a different cluster after each sleep. The listener of such
a route must not change, because Envoy closes the connections of the old listener after ten minutes. Instead, the filter
is a separate resource, and a new version of the filter affects only new connections.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from envoy.config.core.v3 import config_source_pb2, extension_pb2
from envoy.config.listener.v3 import listener_components_pb2
from envoy.extensions.filters.network.connection_limit.v3 import connection_limit_pb2
from envoy.extensions.filters.network.tcp_proxy.v3 import tcp_proxy_pb2

from pilotage.xds.clusters import own_clusters
from pilotage.xds.filters import on_demand
from pilotage.xds.load_balancing import tcp_hash
from pilotage.xds.resources import EXTENSION, Resource, number, packed, resource, seconds
from pilotage.xds.waiting_limit import connection_limit

if TYPE_CHECKING:
    from pilotage.xds.backend import Backend
    from pilotage.xds.options import GatewayOptions

__all__ = ["own_resources", "tcp_filters"]

_NAME: Final = "envoy.filters.network.tcp_proxy"


def tcp_filters(backend: Backend, options: GatewayOptions) -> list[Any]:
    """Return the network filters of a tcp route."""
    if backend.gate is None:
        return [listener_components_pb2.Filter(name=_NAME, typed_config=packed(_proxy(backend, options)))]
    return [
        _discovered(_limit_name(backend), connection_limit_pb2.ConnectionLimit),
        _discovered(_proxy_name(backend), tcp_proxy_pb2.TcpProxy),
    ]


def _discovered(name: str, kind: Any) -> Any:
    url = f"type.googleapis.com/{kind.DESCRIPTOR.full_name}"
    source = config_source_pb2.ExtensionConfigSource(config_source=on_demand(0.0)[0], type_urls=[url])
    return listener_components_pb2.Filter(name=name, config_discovery=source)


def own_resources(backend: Backend, options: GatewayOptions) -> list[Resource]:
    """Return the clusters of a backend, and the resources that its :func:`tcp_filters` refer to, if any."""
    found = own_clusters(backend, options)
    if backend.gate is not None and backend.route.scheme == "tcp":
        limit = connection_limit(options.max_waiting_requests, waits=backend.is_closed)
        found.append(_extension(_limit_name(backend), limit, backend))
        found.append(_extension(_proxy_name(backend), _proxy(backend, options), backend, leads_to=(backend.cluster,)))
    return found


def _extension(name: str, filter_: Any, backend: Backend, *, leads_to: tuple[str, ...] = ()) -> Resource:
    message = extension_pb2.TypedExtensionConfig(name=name, typed_config=packed(filter_))
    return resource(EXTENSION, name, message, answers=(backend.name,), leads_to=leads_to)


def _proxy_name(backend: Backend) -> str:
    return f"tcp/{backend.gate_name}"


def _limit_name(backend: Backend) -> str:
    return f"waiting/{backend.gate_name}"


def _proxy(backend: Backend, options: GatewayOptions) -> Any:
    proxy = tcp_proxy_pb2.TcpProxy(
        stat_prefix="tcp",
        cluster=backend.cluster,
        max_connect_attempts=number(3),
        idle_timeout=seconds(options.tcp_timeout),
        hash_policy=tcp_hash(backend),
    )
    if backend.gate is not None:
        source, timeout = on_demand(backend.longest_wait)
        proxy.on_demand.CopyFrom(tcp_proxy_pb2.TcpProxy.OnDemand(odcds_config=source, timeout=timeout))
    return proxy
