"""Envoy's messages: resources with a version made of their content, and short ways to fill what is filled often."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Any, Final

import msgspec
from envoy.config.core.v3 import address_pb2, base_pb2
from google.protobuf import any_pb2, duration_pb2, wrappers_pb2

__all__ = [
    "CLUSTER",
    "LISTENER",
    "OFF",
    "ON",
    "SCOPE",
    "SECRET",
    "Frame",
    "Key",
    "Resource",
    "header",
    "literal",
    "number",
    "packed",
    "resource",
    "seconds",
    "socket",
    "version_of",
]

_PREFIX: Final = "type.googleapis.com/"
CLUSTER: Final = _PREFIX + "envoy.config.cluster.v3.Cluster"
SECRET: Final = _PREFIX + "envoy.extensions.transport_sockets.tls.v3.Secret"
LISTENER: Final = _PREFIX + "envoy.config.listener.v3.Listener"
SCOPE: Final = _PREFIX + "envoy.config.route.v3.ScopedRouteConfiguration"

ON: Final = wrappers_pb2.BoolValue(value=True)
OFF: Final = wrappers_pb2.BoolValue(value=False)

Key = tuple[str, str]
"""What a resource is known by: type URL and name."""


class Resource(msgspec.Struct, frozen=True, gc=False):
    """One resource, ready to be sent.

    Attributes:
        type_url: its type.
        name: its name, unique in the type.
        version: a hash of its content: equal content is never sent again, not even after a restart.
        body: the serialised message.
        clusters: the clusters that it leads to, which must be there before it.
        answers: the aliases and pools it is about, for problems.
        first: the version that goes ahead of it. A cluster with health checks is used only once it has checked, and one
            that takes its place likewise; its twin without checks serves from the first moment.

    """

    type_url: str
    name: str
    version: str
    body: bytes
    clusters: frozenset[str] = frozenset()
    answers: tuple[str, ...] = ()
    first: Resource | None = None

    @property
    def key(self) -> Key:
        """Type and name."""
        return (self.type_url, self.name)


def resource(
    type_url: str,
    name: str,
    message: Any,
    *,
    clusters: frozenset[str] = frozenset(),
    answers: tuple[str, ...] = (),
    first: Resource | None = None,
) -> Resource:
    """Serialise a message; equal messages always give equal versions."""
    body = message.SerializeToString(deterministic=True)
    return Resource(type_url, name, version_of(body), body, clusters, answers, first)


def version_of(body: bytes) -> str:
    """Return the version of a serialised message: a hash of it."""
    return hashlib.blake2b(body, digest_size=9).hexdigest()


class Frame:
    """Puts bytes into a field of a message that is being written by hand: tag, length, content.

    Serialised messages may be continued: what is appended to one is read as further fields of it. So what thousands of
    messages have in common is serialised once.

    Args:
        message: the kind of message.
        field: name of a field that holds a text or a message.

    """

    def __init__(self, message: Any, field: str) -> None:
        self._tag = _varint(message.DESCRIPTOR.fields_by_name[field].number << 3 | 2)

    def __call__(self, content: bytes) -> bytes:
        """Return the field with its content."""
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
    """Wrap a message for a field that takes any."""
    return any_pb2.Any(
        type_url=_PREFIX + message.DESCRIPTOR.full_name, value=message.SerializeToString(deterministic=True)
    )


_LONGEST: Final = 9_000_000_000  # seconds; Envoy counts nanoseconds in 64 bits and refuses what does not fit


@lru_cache(maxsize=1024)
def seconds(length: float) -> duration_pb2.Duration:
    """Make a duration, exact to the microsecond; too long for Envoy is as good as 285 years. Not to be changed."""
    whole, micros = divmod(round(min(length, _LONGEST) * 1_000_000), 1_000_000)
    return duration_pb2.Duration(seconds=whole, nanos=micros * 1000)


@lru_cache(maxsize=1024)
def number(value: int) -> wrappers_pb2.UInt32Value:
    """Wrap an optional number; what is too large for the field is as good as no limit. Not to be changed."""
    return wrappers_pb2.UInt32Value(value=min(value, 2**32 - 1))


def socket(host: str, port: int, *, udp: bool = False) -> address_pb2.Address:
    """Make an address."""
    protocol = address_pb2.SocketAddress.UDP if udp else address_pb2.SocketAddress.TCP
    return address_pb2.Address(
        socket_address=address_pb2.SocketAddress(address=host, port_value=port, protocol=protocol)
    )


def header(name: str, value: str, *, add: bool = False) -> base_pb2.HeaderValueOption:
    """Set a header, or with ``add`` put it beside what is there. Commands such as ``%REQ(:path)%`` are expanded."""
    action = base_pb2.HeaderValueOption.HeaderAppendAction
    return base_pb2.HeaderValueOption(
        header=base_pb2.HeaderValue(key=name, value=value),
        append_action=action.APPEND_IF_EXISTS_OR_ADD if add else action.OVERWRITE_IF_EXISTS_OR_ADD,
        keep_empty_value=True,
    )


def literal(text: str) -> str:
    """Protect a text from being read as a command."""
    return text.replace("%", "%%")
