"""Makes the messages of usual routes, which differ only in name and address, from templates. Pure."""

from __future__ import annotations

from functools import lru_cache
from operator import attrgetter
from typing import TYPE_CHECKING, Final

from pilotage.core.addresses import is_ipv4
from pilotage.routes.route import Endpoint, Route
from pilotage.routes.schema import RouteSettings
from pilotage.xds.backend import Backend, Member
from pilotage.xds.resources import CLUSTER, Resource, version_of
from pilotage.xds.templates import FilledTemplate, Template, address_samples, name_samples, template

if TYPE_CHECKING:
    from collections.abc import Callable

    from pilotage.xds.backend import Backing
    from pilotage.xds.options import GatewayOptions

__all__ = ["is_plain", "is_usual", "sample_backend", "usual_cluster"]

_WITHOUT_EFFECT: Final = frozenset({"alias", "scheme", "host", "port", "bind", "homepage"})
"""Settings that do not affect the messages, or that the route has as its own fields."""
_SETTINGS: Final = attrgetter(*(it for it in RouteSettings.__struct_fields__ if it not in _WITHOUT_EFFECT))
_USUAL: Final = _SETTINGS(RouteSettings())


def is_plain(backend: Backend) -> bool:
    """Return whether a backend differs from other plain backends of its scheme only in name and address."""
    settings = backend.route.settings
    compresses = settings.compression or settings.disable_compression
    logs = settings.access_log is not None
    plain = backend.backing == "shared" and backend.measured
    edits = backend.route.middlewares or settings.path_patterns or settings.rules or settings.inbound_mtls_profile
    return plain and not (edits or settings.response_header_timeout or compresses or logs)


def is_usual(backend: Backend) -> bool:
    """Return whether a backend with its own cluster differs from others only in name, IPv4 address and port."""
    if backend.backing != "own" or len(backend.members) != 1 or backend.pool or backend.restarting:
        return False
    route, member = backend.route, backend.members[0]
    return (
        route.scheme == "http"
        and backend.gate is None
        and backend.measured
        and backend.agent is None
        and not backend.files
        and bool(route.container)
        and member.weight == 1
        and not member.address
        and not route.middlewares
        and "healthcheck" not in route.labelled
        and is_ipv4(member.endpoint.host)
        and _SETTINGS(route.settings) == _USUAL
    )


def sample_backend(name: str, host: str, port: int, backing: Backing, scheme: str = "http") -> Backend:
    """Return a usual or plain backend to make a template from."""
    endpoint = Endpoint(host, port)
    route = Route(alias=name, container=name, scheme=scheme, host=host, endpoints=(endpoint,))
    return Backend(name=name, route=route, members=(Member(endpoint),), backing=backing)


def usual_cluster(
    backend: Backend, options: GatewayOptions, serialize: Callable[[Backend, GatewayOptions], bytes]
) -> Resource | None:
    """Return the cluster of a usual backend; ``None`` if no template can be used.

    Args:
        backend: the backend.
        options: the gateway's settings.
        serialize: builds the cluster of a backend.

    """
    if not is_usual(backend):
        return None
    name, (member,) = backend.name, backend.members
    found = _cluster_template(len(name.encode()), len(member.host), member.endpoint.port, options, serialize)
    if found is None:
        return None
    filled = FilledTemplate(found, (name, member.host))
    return Resource(CLUSTER, backend.cluster, version_of(filled.body), filled, answers=(name,))


@lru_cache(maxsize=1024)
def _cluster_template(
    name: int, host: int, port: int, options: GatewayOptions, serialize: Callable[[Backend, GatewayOptions], bytes]
) -> Template | None:
    """Return the template for clusters of backends with the given port and the given lengths of name and host."""
    return template(
        lambda alias, address: serialize(sample_backend(alias, address, port, "own"), options),
        name_samples(name),
        address_samples(host),
    )
