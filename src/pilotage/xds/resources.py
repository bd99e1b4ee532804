"""Defines Envoy resources, versioned by a hash of their content, and helpers that build common messages."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import msgspec
from envoy.config.core.v3 import address_pb2, base_pb2
from google.protobuf import any_pb2, duration_pb2, wrappers_pb2

from pilotage.xds.templates import FilledTemplate

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "CLUSTER",
    "EXTENSION",
    "LISTENER",
    "OFF",
    "ON",
    "SCOPE",
    "SECRET",
    "Frame",
    "Key",
    "Resource",
    "ScopePart",
    "by_key",
    "header",
    "led_to",
    "number",
    "packed",
    "resource",
    "seconds",
    "socket",
    "socket_text",
    "version_of",
]

_PREFIX: Final = "type.googleapis.com/"
CLUSTER: Final = _PREFIX + "envoy.config.cluster.v3.Cluster"
SECRET: Final = _PREFIX + "envoy.extensions.transport_sockets.tls.v3.Secret"
LISTENER: Final = _PREFIX + "envoy.config.listener.v3.Listener"
EXTENSION: Final = _PREFIX + "envoy.config.core.v3.TypedExtensionConfig"
SCOPE: Final = _PREFIX + "envoy.config.route.v3.ScopedRouteConfiguration"

ON: Final = wrappers_pb2.BoolValue(value=True)
OFF: Final = wrappers_pb2.BoolValue(value=False)

Key = tuple[str, str]
"""Identifies a resource: type URL and name."""


class ScopePart(msgspec.Struct, frozen=True, gc=False):
    """The position of a virtual host in its serialized scope (route configuration).

    Attributes:
        name: name of the backend that the virtual host serves.
        domains: the domains that the virtual host serves.
        start: offset of the virtual host's first byte in the body.
        end: offset after the virtual host's last byte.
        clusters: the clusters that the virtual host references.
        served: whether requests reach the backend; ``False`` if they get 503.
        measured: whether Envoy counts requests to the backend.
        leads_to: the cluster to which requests are sent, if they may wait for this cluster; otherwise ``""``.

    """

    name: str
    domains: tuple[str, ...]
    start: int
    end: int
    clusters: frozenset[str] = frozenset()
    served: bool = True
    measured: bool = True
    leads_to: str = ""


class Resource(msgspec.Struct, frozen=True, gc=False):
    """A serialized resource.

    Attributes:
        type_url: resource type.
        name: unique within the type.
        version: hash of the content, so that Envoy never gets the same content twice, not even after a restart of
            pilotage. The clusters for which requests may wait follow the hash, so that pilotage learns about them after
            a restart.
        content: the serialized message, or a template and texts from which to make it.
        clusters: the clusters that the resource references. Envoy needs them before this resource.
        answers: the aliases and pools that the resource serves. If Envoy rejects the resource, a problem is reported
            for each of them.
        first: for a cluster with health checks, a version without health checks to send before this one, if needed.
            Envoy does not use a new or replaced cluster until its first health checks are done, but uses a cluster
            without health checks at once.
        parts: the virtual hosts of a scope.

    """

    type_url: str
    name: str
    version: str
    content: bytes | FilledTemplate
    clusters: frozenset[str] = frozenset()
    answers: tuple[str, ...] = ()
    first: Resource | None = None
    parts: tuple[ScopePart, ...] = ()

    @property
    def key(self) -> Key:
        """Type URL and name."""
        return (self.type_url, self.name)

    @property
    def body(self) -> bytes:
        """The serialized message."""
        return self.content if isinstance(self.content, bytes) else self.content.body

    @property
    def versions(self) -> tuple[str, ...]:
        """The version of the resource and, if ``first`` is set, the version of ``first``."""
        return (self.version,) if self.first is None else (self.version, self.first.version)


def by_key(resources: Iterable[Resource]) -> dict[Key, Resource | None]:
    """Return resources by their keys."""
    return {item.key: item for item in resources}


def resource(
    type_url: str,
    name: str,
    message: Any,
    *,
    clusters: frozenset[str] = frozenset(),
    answers: tuple[str, ...] = (),
    first: Resource | None = None,
    leads_to: tuple[str, ...] = (),
) -> Resource:
    """Serialize a message. Equal messages have equal versions."""
    body = message.SerializeToString(deterministic=True)
    return Resource(type_url, name, version_of(body, leads_to), body, clusters, answers, first)


def version_of(body: bytes, leads_to: Iterable[str] = ()) -> str:
    """Return the hash of a serialized message, followed by the clusters that requests may wait for."""
    return " ".join((hashlib.blake2b(body, digest_size=9).hexdigest(), *leads_to))


def led_to(version: str) -> list[str]:
    """Return the clusters named in a version from :func:`version_of`."""
    return version.split(" ")[1:]


class Frame:
    """Encodes one field of a message: tag, length, content.

    Bytes appended to a serialized message are parsed as further fields of this message. Content that thousands of
    messages share therefore needs to be serialized only once.

    Args:
        message: the message type.
        field: name of a string or message field, or the number of one that Envoy knows and the message type does not.

    """

    def __init__(self, message: Any, field: str | int) -> None:
        number = field if isinstance(field, int) else message.DESCRIPTOR.fields_by_name[field].number
        self._tag = _varint(number << 3 | 2)

    def __call__(self, content: bytes) -> bytes:
        """Return the encoded field."""
        return b"%b%b%b" % (self._tag, _varint(len(content)), content)


def _varint(value: int) -> bytes:
    if value < 0x80:
        return bytes((value,))
    found = bytearray()
    while value >= 0x80:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)


def packed(message: Any) -> any_pb2.Any:
    """Wrap a message in ``Any``."""
    return any_pb2.Any(
        type_url=_PREFIX + message.DESCRIPTOR.full_name, value=message.SerializeToString(deterministic=True)
    )


_LONGEST: Final = 9_000_000_000  # seconds; Envoy counts nanoseconds in 64 bits and rejects larger values


@lru_cache(maxsize=1024)
def seconds(length: float) -> duration_pb2.Duration:
    """Return a duration, exact to the microsecond, at most 285 years. The result is shared: do not modify it."""
    whole, micros = divmod(round(min(length, _LONGEST) * 1_000_000), 1_000_000)
    return duration_pb2.Duration(seconds=whole, nanos=micros * 1000)


@lru_cache(maxsize=1024)
def number(value: int) -> wrappers_pb2.UInt32Value:
    """Wrap a number, capped at the largest number that fits 32 bits. The result is shared: do not modify it."""
    return wrappers_pb2.UInt32Value(value=min(value, 2**32 - 1))


def socket(host: str, port: int, *, udp: bool = False) -> address_pb2.Address:
    """Return a socket address."""
    protocol = address_pb2.SocketAddress.UDP if udp else address_pb2.SocketAddress.TCP
    return address_pb2.Address(
        socket_address=address_pb2.SocketAddress(address=host, port_value=port, protocol=protocol)
    )


def socket_text(address: Any) -> str:
    """Return an ``Address`` as ``host:port``, or the path of a unix socket."""
    found = address.socket_address
    host = f"[{found.address}]" if ":" in found.address else found.address
    return f"{host}:{found.port_value}" if host else str(address.pipe.path)


def header(name: str, value: str, *, add: bool = False) -> base_pb2.HeaderValueOption:
    """Return the option that sets (``add``: appends) a header. Envoy expands operators such as ``%REQ(:path)%``."""
    action = base_pb2.HeaderValueOption.HeaderAppendAction
    return base_pb2.HeaderValueOption(
        header=base_pb2.HeaderValue(key=name, value=value),
        append_action=action.APPEND_IF_EXISTS_OR_ADD if add else action.OVERWRITE_IF_EXISTS_OR_ADD,
        keep_empty_value=True,
    )
