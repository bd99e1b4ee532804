"""Builds the TLS part of the HTTPS listener: which certificate is for which server names. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
from envoy.config.core.v3 import base_pb2, config_source_pb2
from envoy.extensions.transport_sockets.tls.v3 import common_pb2, secret_pb2, tls_pb2

from pilotage.core.addresses import is_address
from pilotage.xds.resources import SECRET, Resource, packed, resource

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pilotage.xds.options import CertificateFiles

__all__ = ["NameGroup", "ads", "name_groups", "secret", "secret_name"]


class NameGroup(msgspec.Struct, frozen=True):
    """Certificates for clients that request certain server names.

    Attributes:
        names: the server names, lower-case; a leading ``*.`` stands for any labels. Empty for all other names, and for
            clients that send none.
        certificates: indexes of the certificates.

    """

    names: tuple[str, ...]
    certificates: tuple[int, ...]

    @property
    def transport_socket(self) -> Any:
        """The TLS settings of a filter chain."""
        common = tls_pb2.CommonTlsContext(alpn_protocols=["h2", "http/1.1"])
        for index in self.certificates:
            common.tls_certificate_sds_secret_configs.add(name=secret_name(index), sds_config=ads())
        context = tls_pb2.DownstreamTlsContext(common_tls_context=common)
        return base_pb2.TransportSocket(name="envoy.transport_sockets.tls", typed_config=packed(context))


def name_groups(certificates: Iterable[CertificateFiles]) -> list[NameGroup]:
    """Return which certificates clients get for which server names.

    Certificates that share a name form one group, because Envoy chooses among them by what the client supports. Clients
    that request an unknown name get the default certificates or, if there are none, those for IP addresses, which have
    no server names. If these do not exist either, the handshake is refused, because any other certificate would reveal
    a name that the client does not know.
    """
    groups: list[tuple[set[str], list[int]]] = []
    default: list[int] = []
    addressed: list[int] = []
    for index, certificate in enumerate(certificates):
        if certificate.default:
            default.append(index)
        names = {name.lower() for name in certificate.names if _is_server_name(name)}
        if any(map(is_address, certificate.names)):
            addressed.append(index)
        if not names:
            continue
        indexes = [index]
        for group in [group for group in groups if group[0] & names]:
            groups.remove(group)
            names |= group[0]
            indexes += group[1]
        groups.append((names, indexes))
    found = [NameGroup(tuple(sorted(names)), tuple(sorted(indexes))) for names, indexes in groups]
    others = default or addressed
    return sorted(found, key=lambda group: group.names) + ([NameGroup((), tuple(others))] if others else [])


def _is_server_name(name: str) -> bool:
    """Return whether Envoy can match a name. Its first label may be a wildcard, but no other part."""
    return bool(name) and "*" not in name.removeprefix("*.") and not is_address(name)


def ads() -> Any:
    """Return the source of a resource: the control plane's stream."""
    return config_source_pb2.ConfigSource(
        ads=config_source_pb2.AggregatedConfigSource(), resource_api_version=config_source_pb2.V3
    )


def secret_name(index: int) -> str:
    """Return the secret name of a certificate."""
    return f"{_SECRETS}/{index}"


_SECRETS: Final = "certificate"


def secret(index: int, chain: bytes, key: bytes) -> Resource:
    """Return the secret with a certificate. It is sent inline, so remote Envoys need no files."""
    certificate = common_pb2.TlsCertificate(
        certificate_chain=base_pb2.DataSource(inline_bytes=chain), private_key=base_pb2.DataSource(inline_bytes=key)
    )
    name = secret_name(index)
    return resource(SECRET, name, secret_pb2.Secret(name=name, tls_certificate=certificate))
