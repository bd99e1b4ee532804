"""Builds the filters that let only signed-in users pass (middleware ``oidc``), and their per-route configuration. Pure.

A session is a JSON Web Token in a cookie, which the daemon has signed. Envoy verifies it (``SESSION``), and decides
whether it is valid for this route (``SIGNED_IN``). Only if it is not does Envoy ask the daemon (``LOGIN``). So requests
of signed-in users cost the daemon nothing, and pass while the daemon restarts.

``LOGIN`` is in every chain, because it protects. The other two only save it work: Envoy leaves them out of the chain
of a request to a wildcard or to a host spelled in an unusual way, and asks about each such request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from envoy.config.core.v3 import base_pb2, grpc_service_pb2
from envoy.config.rbac.v3 import rbac_pb2
from envoy.config.route.v3 import route_components_pb2
from envoy.extensions.filters.http.ext_authz.v3 import ext_authz_pb2
from envoy.extensions.filters.http.jwt_authn.v3 import config_pb2 as jwt_pb2
from envoy.extensions.filters.http.rbac.v3 import rbac_pb2 as rbac_filter_pb2
from envoy.type.matcher.v3 import metadata_pb2, path_pb2, string_pb2, value_pb2
from envoy.type.v3 import http_status_pb2
from google.protobuf import empty_pb2

from pilotage.routes.oidc import audience, merge_oidc
from pilotage.xds.checks import ROUTE, SERVICE
from pilotage.xds.resources import packed, seconds

if TYPE_CHECKING:
    from pilotage.routes.oidc import OidcOptions
    from pilotage.xds.backend import Backend
    from pilotage.xds.options import GatewayOptions

__all__ = [
    "CALLBACK_PATH",
    "IDENTITY_HEADERS",
    "LOGIN",
    "LOGIN_FILTERS",
    "LOGOUT_PATH",
    "OIDC",
    "SECURE_COOKIE",
    "SESSION",
    "SESSION_COOKIE",
    "SESSION_ISSUER",
    "SPARED_LOGIN",
    "identity_headers",
    "login_filters",
    "login_settings",
    "options_of",
]

OIDC: Final = "oidc"
"""The name of the middleware in checks."""

SESSION, SIGNED_IN, LOGIN = "pilotage.session", "pilotage.signed_in", "pilotage.login"
LOGIN_FILTERS: Final = (SESSION, SIGNED_IN, LOGIN)

SESSION_COOKIE: Final = "pilotage_session"
SECURE_COOKIE: Final = "__Host-pilotage_session"
"""The cookies of sessions over HTTP and HTTPS. With this prefix, no other host can set the one for HTTPS."""

SESSION_ISSUER: Final = "pilotage"
CALLBACK_PATH: Final = "/auth/callback"
LOGOUT_PATH: Final = "/auth/logout"
"""Paths on the host of each route, the same as GoDoxy's."""

IDENTITY_HEADERS: Final = {
    "Remote-User": "user",
    "Remote-Name": "name",
    "Remote-Email": "email",
    "Remote-Groups": "groups",
}
"""Headers that tell the target who the user is -> claims of our sessions."""

_PREFIX: Final = "pilotage_login_"
SPARED_LOGIN: Final = ("envoy.filters.http.rbac", f"{_PREFIX}shadow_engine_result", "allowed")
"""Namespace, key and value in Envoy's metadata of a request that needs no login."""

_JWT: Final = "envoy.filters.http.jwt_authn"
_SECURE: Final = "secure"
_PLAIN: Final = "plain"
_REQUIREMENT: Final = "session"
_REMEMBERED: Final = 1000
"""Sessions that each worker thread remembers as verified."""
_LONGEST_TOKEN: Final = 4096  # bytes; browsers refuse longer cookies
_LONGEST_CHECK: Final = 25.0
"""Seconds that Envoy waits for the daemon, which may have to ask the OpenID provider."""


def options_of(backend: Backend, options: GatewayOptions) -> OidcOptions | None:
    """Return the complete options of a backend's middleware ``oidc``; ``None`` if it has none."""
    own = backend.route_policy.oidc
    return None if own is None else merge_oidc(own, options.oidc)[0]


# ---- filters ---------------------------------------------------------------------------------------------------------


def login_filters(keys: str, *, https: bool | None = None) -> dict[str, Any]:
    """Return the filters by name, in the order in which a request passes through them.

    Args:
        keys: the public keys of sessions, as a JSON Web Key Set; ``""`` if Envoy verifies no sessions.
        https: whether clients use HTTPS; ``None`` if a trusted proxy says so for each request.

    """
    # Other hosts can set the cookie for HTTP. If HTTPS accepted it, they could sign a user in as someone else.
    kinds = (_SECURE, _PLAIN) if https is None else (_SECURE,) if https else (_PLAIN,)
    found = {SESSION: _session_filter(keys, kinds)} if keys else {}
    return {**found, SIGNED_IN: rbac_filter_pb2.RBAC(), LOGIN: _login_filter()}


def _session_filter(keys: str, names: tuple[str, ...]) -> Any:
    """Return the filter that verifies sessions and rejects nothing."""
    optional = jwt_pb2.JwtRequirement(allow_missing_or_failed=empty_pb2.Empty())
    requirements = [*(jwt_pb2.JwtRequirement(provider_name=name) for name in names), optional]
    requirement = jwt_pb2.JwtRequirement(requires_any=jwt_pb2.JwtRequirementOrList(requirements=requirements))
    cookies = {_SECURE: SECURE_COOKIE, _PLAIN: SESSION_COOKIE}
    return jwt_pb2.JwtAuthentication(
        providers={name: _provider(name, cookies[name], keys) for name in names},
        requirement_map={_REQUIREMENT: requirement},
    )


def _provider(name: str, cookie: str, keys: str) -> Any:
    return jwt_pb2.JwtProvider(
        issuer=SESSION_ISSUER,
        require_expiration=True,
        local_jwks=base_pb2.DataSource(inline_string=keys),
        from_cookies=[cookie],
        forward=True,
        payload_in_metadata=name,
        jwt_cache_config=jwt_pb2.JwtCacheConfig(jwt_cache_size=_REMEMBERED, jwt_max_token_size=_LONGEST_TOKEN),
    )


def _login_filter() -> Any:
    """Return the filter that asks the daemon about all requests except those known to need no login."""
    namespace, key, value = SPARED_LOGIN
    service = grpc_service_pb2.GrpcService(
        envoy_grpc=grpc_service_pb2.GrpcService.EnvoyGrpc(cluster_name="pilotage"), timeout=seconds(_LONGEST_CHECK)
    )
    return ext_authz_pb2.ExtAuthz(
        grpc_service=service,
        transport_api_version=2,
        status_on_error=http_status_pb2.HttpStatus(code=http_status_pb2.ServiceUnavailable),
        failure_mode_allow=False,
        allowed_headers=string_pb2.ListStringMatcher(
            patterns=[string_pb2.StringMatcher(exact=name, ignore_case=True) for name in _SHOWN]
        ),
        filter_enabled_metadata=_metadata(namespace, [key], {"string_match": {"exact": value}}, invert=True),
        stat_prefix="login",
    )


_SHOWN: Final = (
    ":authority :method :path accept cookie origin upgrade sec-fetch-dest sec-fetch-mode sec-fetch-site "
    "x-forwarded-host x-forwarded-proto x-requested-with"
).split()


# ---- routes ----------------------------------------------------------------------------------------------------------


def login_settings(backend: Backend, options: GatewayOptions) -> dict[str, Any]:
    """Return the per-route configuration of the filters for a backend; empty if it needs no login."""
    found = options_of(backend, options)
    if found is None:
        return {}
    settings = {
        SIGNED_IN: rbac_filter_pb2.RBACPerRoute(
            rbac=rbac_filter_pb2.RBAC(
                shadow_rules=_signed_in(audience(backend.key, found)), shadow_rules_stat_prefix=_PREFIX
            )
        ),
        LOGIN: ext_authz_pb2.ExtAuthzPerRoute(
            check_settings=ext_authz_pb2.CheckSettings(context_extensions={SERVICE: OIDC, ROUTE: backend.key})
        ),
    }
    if options.session_keys:
        settings[SESSION] = jwt_pb2.PerRouteConfig(requirement_name=_REQUIREMENT)
    return {name: packed(config) for name, config in settings.items()}


def _signed_in(valid_for: str) -> Any:
    """Return the rules that allow requests with a session, except to the paths that the daemon itself answers."""
    kind, permission = rbac_pb2.Principal, rbac_pb2.Permission
    https = kind(
        header=route_components_pb2.HeaderMatcher(
            name="x-forwarded-proto", string_match=string_pb2.StringMatcher(exact="https")
        )
    )
    secure, plain = (
        kind(sourced_metadata={"metadata_matcher": _metadata(_JWT, [name, valid_for, "ok"], {"bool_match": True})})
        for name in (_SECURE, _PLAIN)
    )
    either = [
        kind(and_ids=kind.Set(ids=[https, secure])),
        kind(and_ids=kind.Set(ids=[kind(not_id=https), plain])),
    ]
    paths = [
        permission(url_path=path_pb2.PathMatcher(path=string_pb2.StringMatcher(exact=path)))
        for path in (CALLBACK_PATH, LOGOUT_PATH)
    ]
    others = permission(not_rule=permission(or_rules=permission.Set(rules=paths)))
    policy = rbac_pb2.Policy(permissions=[others], principals=[kind(or_ids=kind.Set(ids=either))])
    return rbac_pb2.RBAC(action=rbac_pb2.RBAC.ALLOW, policies={"signed in": policy})


def identity_headers(backend: Backend, options: GatewayOptions) -> list[Any]:
    """Return the headers that identify the signed-in user to the target, taken only from a session for this backend."""
    found = options_of(backend, options)
    if found is None or not options.session_keys:
        return []
    valid_for = audience(backend.key, found)
    action = base_pb2.HeaderValueOption.HeaderAppendAction
    made = []
    hidden = {name.lower() for name in backend.route_policy.request.hide}
    for name, claim in IDENTITY_HEADERS.items():
        if name.lower() in hidden:
            continue
        value = "".join(f"%DYNAMIC_METADATA({_JWT}:{kind}:{valid_for}:{claim})%" for kind in (_SECURE, _PLAIN))
        made.append(
            base_pb2.HeaderValueOption(
                header=base_pb2.HeaderValue(key=name, value=value),
                append_action=action.OVERWRITE_IF_EXISTS_OR_ADD,
                keep_empty_value=False,
            )
        )
    return made


def _metadata(namespace: str, path: list[str], value: Any, *, invert: bool = False) -> Any:
    return metadata_pb2.MetadataMatcher(
        filter=namespace,
        path=[metadata_pb2.MetadataMatcher.PathSegment(key=key) for key in path],
        value=value_pb2.ValueMatcher(**value),
        invert=invert,
    )
