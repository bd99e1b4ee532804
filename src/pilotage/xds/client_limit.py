"""Builds the filters that limit the number of connections per client. Pure.

Envoy itself does not count connections per client. It loads a module for that (``gateway/native/client_limit.c``),
which counts the connections to all TCP listeners together. An Envoy without the module gets its listeners without these
filters, because it would reject them.
"""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from envoy.config.listener.v3 import listener_components_pb2, listener_pb2
from envoy.extensions.dynamic_modules.v3 import dynamic_modules_pb2
from envoy.extensions.filters.http.dynamic_modules.v3 import dynamic_modules_pb2 as filter_pb2
from google.protobuf import any_pb2, wrappers_pb2

from pilotage.xds.resources import LISTENER, Frame, Key, Resource, packed, resource

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pilotage.xds.options import GatewayOptions

__all__ = ["CLIENT_LIMIT", "add_client_limit", "what_it_supports"]

log = logging.getLogger(__name__)

CLIENT_LIMIT: Final = "pilotage.client_limit"
"""The name of both filters, and a key in an Envoy's metadata, which shows that it has the module."""

_VERSION: Final = (1, 40)
"""The version of Envoy for which the module is built. Others may lack a function that it needs."""

_MODULE: Final = "pilotage_clients"
_KINDS: Final = "type.googleapis.com/envoy.extensions.filters."
_NAMESPACE: Final = Frame(dynamic_modules_pb2.DynamicModuleConfig, 5)
"""``metrics_namespace``, the first part of the names of the module's statistics."""


def add_client_limit(message: Any, options: GatewayOptions) -> None:
    """Put the filters that limit connections before all other filters of a TCP listener, if a limit is configured."""
    if not options.max_client_connections:
        return
    networks = dict.fromkeys(_as_ipv6(ipaddress.ip_network(text, strict=False)) for text in options.trusted_proxies)
    content = _filter(" ".join([str(options.max_client_connections), *networks]))
    accept = listener_components_pb2.ListenerFilter(name=CLIENT_LIMIT)
    accept.typed_config.type_url = f"{_KINDS}listener.dynamic_modules.v3.DynamicModuleListenerFilter"
    accept.typed_config.value = content
    message.listener_filters.insert(0, accept)
    count = listener_components_pb2.Filter(name=CLIENT_LIMIT)
    count.typed_config.type_url = f"{_KINDS}network.dynamic_modules.v3.DynamicModuleNetworkFilter"
    count.typed_config.value = content
    for chain in message.filter_chains:
        chain.filters.insert(0, count)


def _filter(text: str) -> Any:
    """Return the serialized configuration of both filters, made with the HTTP filter's message (same fields)."""
    module = dynamic_modules_pb2.DynamicModuleConfig(name=_MODULE, do_not_close=True)
    module.MergeFromString(_NAMESPACE(b"clients"))
    wanted: any_pb2.Any = packed(wrappers_pb2.StringValue(value=text))
    made = filter_pb2.DynamicModuleFilter(dynamic_module_config=module, filter_name=CLIENT_LIMIT, filter_config=wanted)
    return made.SerializeToString(deterministic=True)


def _as_ipv6(network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> str:
    if network.version == 4:
        return f"::ffff:{network.network_address}/{96 + network.prefixlen}"
    return f"{network.network_address}/{network.prefixlen}"


def what_it_supports(node: Any, resources: Mapping[Key, Resource]) -> Mapping[Key, Resource]:
    """Return the resources for an Envoy. If it lacks the module, they do not limit connections per client."""
    version = node.user_agent_build_version.version
    if (version.major_number, version.minor_number) != _VERSION:
        return _Unlimited(resources, node.id, f"the module for that needs Envoy {'.'.join(map(str, _VERSION))}")
    if CLIENT_LIMIT not in node.metadata.fields:
        why = "it was started without the module for that; see pilotage envoy-bootstrap --client-limit"
        return _Unlimited(resources, node.id, why)
    return resources


class _Unlimited(Mapping[Key, Resource]):
    """A view of resources with listeners that do not limit connections per client. Logs the first removed limit."""

    def __init__(self, resources: Mapping[Key, Resource], node: str, why: str) -> None:
        self._resources = resources
        self._node = node
        self._why = why

    def __getitem__(self, key: Key) -> Resource:
        item = self._resources[key]
        if item.type_url != LISTENER or CLIENT_LIMIT.encode() not in item.body:
            return item
        if self._why:
            log.warning("Envoy %r does not limit the connections of each client, because %s", self._node, self._why)
            self._why = ""
        return _without_limit(item)

    def __iter__(self) -> Iterator[Key]:
        return iter(self._resources)

    def __len__(self) -> int:
        return len(self._resources)


@lru_cache(maxsize=256)
def _without_limit(item: Resource) -> Resource:
    message = listener_pb2.Listener.FromString(item.body)
    for filters in (message.listener_filters, *(chain.filters for chain in message.filter_chains)):
        kept = [it for it in filters if it.name != CLIENT_LIMIT]
        del filters[:]
        filters.extend(kept)
    return resource(LISTENER, item.name, message, clusters=item.clusters, answers=item.answers)
