"""Builds the configuration that makes Envoy verify client certificates on routes with a profile. Pure.

A connection is opened for a server name, but the ``Host`` header of each request selects the route, and HTTP/2 clients
use one connection for several hosts. It is therefore not enough to ask for a certificate on the connections for a
route's name. Each connection records its profile, and the route refuses connections with another profile or none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from envoy.config.accesslog.v3 import accesslog_pb2
from envoy.config.core.v3 import base_pb2, extension_pb2, substitution_format_string_pb2
from envoy.config.listener.v3 import listener_components_pb2
from envoy.config.rbac.v3 import rbac_pb2
from envoy.extensions.access_loggers.filters.cel.v3 import cel_pb2
from envoy.extensions.filters.common.set_filter_state.v3 import value_pb2
from envoy.extensions.filters.http.rbac.v3 import rbac_pb2 as rbac_filter_pb2
from envoy.extensions.filters.network.set_filter_state.v3 import set_filter_state_pb2
from envoy.extensions.rbac.principals.mtls_authenticated.v3 import mtls_authenticated_pb2
from envoy.extensions.transport_sockets.tls.v3 import common_pb2, secret_pb2
from envoy.type.matcher.v3 import filter_state_pb2, string_pb2

from pilotage.xds.client_profiles import SUBJECT_HEADER, ClientProfile, client_ca
from pilotage.xds.resources import SECRET, Resource, packed, resource

if TYPE_CHECKING:
    from pilotage.xds.backend import Backend
    from pilotage.xds.options import GatewayOptions

__all__ = [
    "CLIENTS",
    "authorities",
    "client_check",
    "client_refusals",
    "profile_of",
    "records_profile",
    "subject_headers",
]

CLIENTS: Final = "pilotage.clients"
"""Name of the HTTP filter that requires the certificates of a route's profile."""

_PROFILE: Final = "pilotage.client_profile"
"""Key of the filter state of a connection that holds the name of its profile. No request can change it."""
_MISDIRECTED: Final = "clients/421"
_REQUIRED: Final = "clients/certificate"  # after the other one, because Envoy tests them in the order of their names

_TEXTS: Final = {
    _MISDIRECTED: (421, "Request this service over HTTPS, on a connection that was opened for its name.\n"),
    _REQUIRED: (403, "This service requires a client certificate.\n"),
}


def records_profile(profile: str) -> Any:
    """Return the network filter with which a connection records that it verifies certificates by a profile."""
    text = substitution_format_string_pb2.SubstitutionFormatString(
        text_format_source=base_pb2.DataSource(inline_string=profile.replace("%", "%%"))
    )
    value = value_pb2.FilterStateValue(
        object_key=_PROFILE, factory_key="envoy.string", format_string=text, read_only=True
    )
    config = set_filter_state_pb2.Config(on_new_connection=[value])
    return listener_components_pb2.Filter(name="envoy.filters.network.set_filter_state", typed_config=packed(config))


def authorities(profile: str, certificates: bytes, lists: bytes = b"") -> Resource:
    """Return the secret with the PEM certificates of a profile's authorities, and their revocation lists, if any."""
    context = common_pb2.CertificateValidationContext(trusted_ca=base_pb2.DataSource(inline_bytes=certificates))
    if lists:  # only the client's own certificate is looked up, because roots often publish no list
        context.crl.inline_bytes = lists
        context.only_verify_leaf_cert_crl = True
    name = client_ca(profile)
    return resource(SECRET, name, secret_pb2.Secret(name=name, validation_context=context))


def profile_of(backend: Backend, options: GatewayOptions) -> ClientProfile | None:
    """Return the profile of a backend; ``None`` if it has none."""
    name = backend.route.settings.inbound_mtls_profile
    if not name:
        return None
    # Routes whose profile does not exist are not served; nobody has such a profile's certificate.
    return next((it for it in options.client_profiles if it.name == name), ClientProfile(name))


def client_check(profile: ClientProfile) -> Any:
    """Return the per-route configuration of the filter :data:`CLIENTS`."""
    kind = rbac_pb2.Principal
    same = filter_state_pb2.FilterStateMatcher(key=_PROFILE, string_match=string_pb2.StringMatcher(exact=profile.name))
    wanted = {_MISDIRECTED: kind(filter_state=same)}
    if not profile.optional:
        verified = mtls_authenticated_pb2.Config(any_validated_client_certificate=True)
        wanted[_REQUIRED] = kind(
            custom=extension_pb2.TypedExtensionConfig(
                name="envoy.rbac.principals.mtls_authenticated", typed_config=packed(verified)
            )
        )
    policies = {
        name: rbac_pb2.Policy(permissions=[rbac_pb2.Permission(any=True)], principals=[kind(not_id=principal)])
        for name, principal in wanted.items()
    }
    rules = rbac_pb2.RBAC(action=rbac_pb2.RBAC.DENY, policies=policies)
    return packed(rbac_filter_pb2.RBACPerRoute(rbac=rbac_filter_pb2.RBAC(rules=rules)))


def subject_headers(backend: Backend) -> list[Any]:
    """Return the header with the subject of the client's certificate, for a backend with a profile."""
    if not backend.route.settings.inbound_mtls_profile:
        return []
    found = base_pb2.HeaderValueOption(
        header=base_pb2.HeaderValue(key=SUBJECT_HEADER, value="%DOWNSTREAM_PEER_SUBJECT%"),
        append_action=base_pb2.HeaderValueOption.HeaderAppendAction.OVERWRITE_IF_EXISTS_OR_ADD,
    )
    return [found]


def client_refusals() -> list[tuple[Any, int, str]]:
    """Return the condition, the status and the text of each response to clients that :func:`client_check` refuses."""
    return [(_refused(policy), status, text) for policy, (status, text) in _TEXTS.items()]


def _refused(policy: str) -> Any:
    expression = cel_pb2.ExpressionFilter(expression=f"response.code_details.contains('[{policy}]')")
    extension = accesslog_pb2.ExtensionFilter(
        name="envoy.access_loggers.extension_filters.cel", typed_config=packed(expression)
    )
    return accesslog_pb2.AccessLogFilter(extension_filter=extension)
