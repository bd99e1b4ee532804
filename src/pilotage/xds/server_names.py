"""Builds the TLS part of the HTTPS listener: which certificate is for which server names. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import msgspec
from envoy.config.core.v3 import base_pb2, config_source_pb2
from envoy.extensions.matching.common_inputs.network.v3 import network_inputs_pb2
from envoy.extensions.transport_sockets.tls.v3 import common_pb2, secret_pb2, tls_pb2
from google.protobuf import wrappers_pb2
from xds.core.v3 import cidr_pb2, extension_pb2
from xds.type.matcher.v3 import ip_pb2, matcher_pb2, regex_pb2, string_pb2

from pilotage.core.addresses import is_address
from pilotage.xds.client_profiles import NO_CLIENTS, client_ca
from pilotage.xds.resources import SECRET, Resource, packed, resource

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pilotage.xds.client_profiles import ClientNames
    from pilotage.xds.options import CertificateFiles

__all__ = [
    "ACME_PROTOCOL",
    "CHALLENGES",
    "FILE_SECRETS",
    "NameGroup",
    "ads",
    "certificate_secret",
    "chain_by_address",
    "chain_matcher",
    "chain_named",
    "challenge_chain",
    "name_groups",
    "profile_chain",
    "secret",
    "secret_name",
    "tls_socket",
]


class NameGroup(msgspec.Struct, frozen=True):
    """Certificates for clients that request certain server names.

    Attributes:
        names: the server names in lower case. A leading ``*`` stands for one label (RFC 6125, 6.4.3). Empty for clients
            that send no server name.
        certificates: indexes of the certificates.
        is_default: whether the group is also for all other names.
        secrets: the secrets with the certificates, if they are not from the operator's files.
        chain: the name of the group's filter chain; by default, a name made from the server names.

    """

    names: tuple[str, ...]
    certificates: tuple[int, ...]
    is_default: bool = False
    secrets: tuple[str, ...] = ()
    chain: str = ""

    def __post_init__(self) -> None:
        """Name the filter chain."""
        if not self.chain:
            msgspec.structs.force_setattr(self, "chain", f"for {self.names[0]}" if self.names else "others")

    def transport_socket(self, protocols: Iterable[str], profile: str = "") -> Any:
        """Return the TLS settings of the filter chain.

        Args:
            protocols: the protocols of the application that a client may choose (ALPN).
            profile: the profile whose client certificates are requested; ``""`` requests none.

        """
        return tls_socket(self.secrets or map(secret_name, self.certificates), protocols, profile=profile)


def tls_socket(secrets: Iterable[str], protocols: Iterable[str], *, profile: str = "") -> Any:
    """Return the TLS settings of a filter chain.

    Args:
        secrets: the names of the secrets with its certificates. Envoy chooses one by the server name.
        protocols: the protocols of the application (ALPN).
        profile: the profile whose client certificates are requested; ``""`` requests none. A client may omit its
            certificate, but a certificate from another authority is refused.

    """
    common = tls_pb2.CommonTlsContext(alpn_protocols=protocols)
    for name in secrets:
        common.tls_certificate_sds_secret_configs.add(name=name, sds_config=ads())
    if profile:
        common.validation_context_sds_secret_config.name = client_ca(profile)
        common.validation_context_sds_secret_config.sds_config.CopyFrom(ads())
    context = tls_pb2.DownstreamTlsContext(common_tls_context=common)
    if profile:  # Envoy does not count the certificate of a resumed session as verified
        context.disable_stateless_session_resumption = True
        context.disable_stateful_session_resumption = True
    return base_pb2.TransportSocket(name="envoy.transport_sockets.tls", typed_config=packed(context))


def profile_chain(chain: str, profile: str) -> str:
    """Return the name of the filter chain that is like another one, but asks for the certificates of a profile."""
    return f"{chain} clients {profile}" if profile else chain


def name_groups(certificates: Iterable[CertificateFiles]) -> list[NameGroup]:
    """Return the groups of certificates, each with the server names for which clients get them.

    Certificates that share a name form one group, because Envoy chooses among them by what the client supports. Clients
    that request an unknown name, or no name, get the default certificates. If there are no default certificates,
    clients that request no name get the certificates for IP addresses, which have no server names. All other clients
    are refused, because any certificate would reveal a name or an address that the client does not know.
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
    others = [NameGroup((), tuple(default or addressed), is_default=bool(default))] if default or addressed else []
    return sorted(found, key=lambda group: group.names) + others


def chain_matcher(
    groups: Iterable[NameGroup],
    choose: Callable[[str, str], Any],
    challenges: Iterable[str] = (),
    clients: ClientNames = NO_CLIENTS,
) -> Any:
    """Return the matcher that finds the filter chain for a connection. If it finds none, Envoy closes the connection.

    Envoy's usual matching of server names would let a wildcard stand for several labels.

    Args:
        groups: from :func:`name_groups`.
        choose: returns the action for a group, given the name of its filter chain, and a profile or ``""``.
        challenges: the names with TLS-ALPN-01 challenges, which have filter chains of their own.
        clients: the names whose connections ask for client certificates.

    """
    found = _by_name(groups, choose, clients)
    answers = [_challenged(name) for name in sorted(challenges)]
    if not answers:
        return found
    first = matcher_pb2.Matcher(on_no_match=matcher_pb2.Matcher.OnMatch(matcher=found))
    first.matcher_list.matchers.extend(answers)
    return first


def challenge_chain(name: str) -> str:
    """Return the name of the filter chain, and of its secret, that answers the TLS-ALPN-01 challenge for a name."""
    return f"{CHALLENGES}{name}"


CHALLENGES: Final = "acme/"
"""Prefix of the names of secrets with certificates for TLS-ALPN-01 challenges."""
ACME_PROTOCOL: Final = "acme-tls/1"
"""The protocol (ALPN) with which an authority validates a name (RFC 8737, 6.2). It offers no other."""


def _challenged(name: str) -> Any:
    protocol = string_pb2.StringMatcher(exact=f"'{ACME_PROTOCOL}'")
    kinds = matcher_pb2.Matcher.MatcherList.Predicate
    both = [
        kinds(single_predicate=kinds.SinglePredicate(input=_PROTOCOLS, value_match=protocol)),
        kinds(
            single_predicate=kinds.SinglePredicate(input=_SERVER_NAME, value_match=string_pb2.StringMatcher(exact=name))
        ),
    ]
    predicate = kinds(and_matcher=kinds.PredicateList(predicate=both))
    return matcher_pb2.Matcher.MatcherList.FieldMatcher(
        predicate=predicate, on_match=chain_named(challenge_chain(name))
    )


def _by_name(groups: Iterable[NameGroup], choose: Callable[[str, str], Any], clients: ClientNames) -> Any:
    exact: dict[str, Any] = {}
    others: list[Any] = []
    nameless = default = None
    for group in groups:
        if not group.names and not group.secrets:
            nameless = choose(group.chain, clients.default)
            default = _by_client(group.chain, choose, clients) if group.is_default else None
        for name in group.names:
            if name.startswith("*."):
                on_match = _by_client(group.chain, choose, clients, below=name[1:])
                others.append(_field(_is(rf"[^.]+\.{re.escape(name[2:])}"), on_match))
            else:
                exact[name] = choose(group.chain, clients.find(name))
    if nameless is not None:
        some = matcher_pb2.Matcher.MatcherList.Predicate(single_predicate=_is(".+"))
        none = matcher_pb2.Matcher.MatcherList.Predicate(not_matcher=some)
        others.insert(0, matcher_pb2.Matcher.MatcherList.FieldMatcher(predicate=none, on_match=nameless))
    rest = matcher_pb2.Matcher(on_no_match=default)
    if others:
        rest.matcher_list.matchers.extend(others)
    if not exact:
        return rest
    tree = matcher_pb2.Matcher.MatcherTree(input=_SERVER_NAME)
    for name, on_match in exact.items():
        tree.exact_match_map.map[name].CopyFrom(on_match)
    made = matcher_pb2.Matcher(matcher_tree=tree)
    if others or default is not None:
        made.on_no_match.matcher.CopyFrom(rest)
    return made


def _by_client(chain: str, choose: Callable[[str, str], Any], clients: ClientNames, *, below: str = "") -> Any:
    """Return the action that selects among the filter chains with the same certificates, but different profiles."""
    found = choose(chain, "")
    if clients.patterns:
        listed = matcher_pb2.Matcher(on_no_match=found)
        listed.matcher_list.matchers.extend(_field(_is(it), choose(chain, profile)) for it, profile in clients.patterns)
        found = matcher_pb2.Matcher.OnMatch(matcher=listed)
    if names := [name for name in clients.exact if name.endswith(below)]:
        tree = matcher_pb2.Matcher.MatcherTree(input=_SERVER_NAME)
        for name in names:
            tree.exact_match_map.map[name].CopyFrom(choose(chain, clients.exact[name]))
        found = matcher_pb2.Matcher.OnMatch(matcher=matcher_pb2.Matcher(matcher_tree=tree, on_no_match=found))
    return found


def _is(regex: str) -> Any:
    matcher = string_pb2.StringMatcher(safe_regex=regex_pb2.RegexMatcher(regex=regex))
    matcher.safe_regex.google_re2.SetInParent()
    return matcher_pb2.Matcher.MatcherList.Predicate.SinglePredicate(input=_SERVER_NAME, value_match=matcher)


def _field(predicate: Any, on_match: Any) -> Any:
    wrapped = matcher_pb2.Matcher.MatcherList.Predicate(single_predicate=predicate)
    return matcher_pb2.Matcher.MatcherList.FieldMatcher(predicate=wrapped, on_match=on_match)


def chain_named(name: str) -> Any:
    """Return the action of a matcher that selects a filter chain."""
    action = extension_pb2.TypedExtensionConfig(name="chain", typed_config=packed(wrappers_pb2.StringValue(value=name)))
    return matcher_pb2.Matcher.OnMatch(action=action)


def chain_by_address(networks: Iterable[Any], inside: str, outside: str) -> Any:
    """Return a matcher's action that selects one filter chain for clients in some networks and another for the rest."""
    ranges = [cidr_pb2.CidrRange(address_prefix=it.address_prefix, prefix_len=it.prefix_len) for it in networks]
    found = ip_pb2.IPMatcher.IPRangeMatcher(ranges=ranges, on_match=chain_named(inside))
    matcher = ip_pb2.IPMatcher(range_matchers=[found])
    tree = matcher_pb2.Matcher.MatcherTree(input=_ADDRESS)
    tree.custom_match.name = "envoy.matching.custom_matchers.ip_range_matcher"
    tree.custom_match.typed_config.CopyFrom(packed(matcher))
    made = matcher_pb2.Matcher(matcher_tree=tree, on_no_match=chain_named(outside))
    return matcher_pb2.Matcher.OnMatch(matcher=made)


_SERVER_NAME: Final = extension_pb2.TypedExtensionConfig(
    name="envoy.matching.inputs.server_name", typed_config=packed(network_inputs_pb2.ServerNameInput())
)
_PROTOCOLS: Final = extension_pb2.TypedExtensionConfig(
    name="envoy.matching.inputs.application_protocol",
    typed_config=packed(network_inputs_pb2.ApplicationProtocolInput()),
)
_ADDRESS: Final = extension_pb2.TypedExtensionConfig(
    name="envoy.matching.inputs.source_ip", typed_config=packed(network_inputs_pb2.SourceIPInput())
)


def _is_server_name(name: str) -> bool:
    """Return whether Envoy can match a name. Only its first label may be a wildcard, and only as a whole."""
    return bool(name) and "*" not in name.removeprefix("*.") and not is_address(name)


def ads() -> Any:
    """Return the config source that tells Envoy to request a resource over the control plane's ADS stream."""
    return config_source_pb2.ConfigSource(
        ads=config_source_pb2.AggregatedConfigSource(), resource_api_version=config_source_pb2.V3
    )


def secret_name(index: int) -> str:
    """Return the name of the secret that contains the certificate with this index."""
    return f"{FILE_SECRETS}{index}"


FILE_SECRETS: Final = "certificate/"
"""Prefix of the names of secrets with certificates from the operator's files."""


def secret(index: int, chain: bytes, key: bytes) -> Resource:
    """Return the secret with a certificate. The certificate is sent inline, so remote Envoys need no files."""
    return certificate_secret(secret_name(index), chain, key)


def certificate_secret(name: str, chain: bytes, key: bytes) -> Resource:
    """Return a secret with a certificate."""
    certificate = common_pb2.TlsCertificate(
        certificate_chain=base_pb2.DataSource(inline_bytes=chain), private_key=base_pb2.DataSource(inline_bytes=key)
    )
    return resource(SECRET, name, secret_pb2.Secret(name=name, tls_certificate=certificate))
