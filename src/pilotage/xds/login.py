"""Builds the filters that let only requests with a session pass, and their per-route configuration. Pure.

Users get a session by signing in (middleware ``oidc``), and visitors by solving a captcha (``hcaptcha``). A route may
require both.

A session is a JSON Web Token in a cookie, which the daemon has signed. Envoy verifies it (``SESSION``), and decides
whether it is valid for this route (``SIGNED_IN``). If it is not valid, Envoy asks the daemon (``LOGIN``). Requests of
signed-in users therefore cost the daemon nothing, and pass while the daemon restarts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
from envoy.config.core.v3 import base_pb2, grpc_service_pb2
from envoy.config.rbac.v3 import rbac_pb2
from envoy.config.route.v3 import route_components_pb2
from envoy.extensions.filters.http.ext_authz.v3 import ext_authz_pb2
from envoy.extensions.filters.http.jwt_authn.v3 import config_pb2 as jwt_pb2
from envoy.extensions.filters.http.rbac.v3 import rbac_pb2 as rbac_filter_pb2
from envoy.type.matcher.v3 import metadata_pb2, path_pb2, string_pb2, value_pb2
from envoy.type.v3 import http_status_pb2
from google.protobuf import empty_pb2

from pilotage.routes.oidc import OidcOptions, audience, merge_oidc
from pilotage.xds.captcha import CAPTCHA_HEADER, CAPTCHA_PATH, captcha_audience
from pilotage.xds.checks import ROUTE, SERVICE
from pilotage.xds.resources import packed, seconds

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pilotage.xds.backend import Backend
    from pilotage.xds.options import GatewayOptions

__all__ = [
    "BOTH",
    "CALLBACK_PATH",
    "CAPTCHA",
    "CAPTCHA_COOKIE",
    "IDENTITY_HEADERS",
    "LOGIN",
    "LOGIN_FILTERS",
    "LOGOUT_PATH",
    "OIDC",
    "SECURE_CAPTCHA_COOKIE",
    "SECURE_COOKIE",
    "SESSION",
    "SESSION_COOKIE",
    "SESSION_ISSUER",
    "SPARED_LOGIN",
    "identity_headers",
    "login_filters",
    "login_settings",
    "options_of",
    "rule_login_settings",
]

OIDC: Final = "oidc"
CAPTCHA: Final = "hcaptcha"
BOTH: Final = "hcaptcha, then oidc"
"""The names of the middlewares in checks."""

SESSION, SIGNED_IN, LOGIN = "pilotage.session", "pilotage.signed_in", "pilotage.login"
LOGIN_FILTERS: Final = (SESSION, SIGNED_IN, LOGIN)

SESSION_COOKIE: Final = "pilotage_session"
SECURE_COOKIE: Final = "__Host-pilotage_session"
"""The cookies of sessions over HTTP and HTTPS. With this prefix, no other host can set the one for HTTPS."""

CAPTCHA_COOKIE: Final = "pilotage_captcha"
SECURE_CAPTCHA_COOKIE: Final = "__Host-pilotage_captcha"
"""The same for visitors who have solved a captcha."""

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
_SECURE, _PLAIN = "secure", "plain"
_CAPTCHA_OF: Final = {_SECURE: "captcha_secure", _PLAIN: "captcha_plain"}
_COOKIES: Final = {
    _SECURE: SECURE_COOKIE,
    _PLAIN: SESSION_COOKIE,
    _CAPTCHA_OF[_SECURE]: SECURE_CAPTCHA_COOKIE,
    _CAPTCHA_OF[_PLAIN]: CAPTCHA_COOKIE,
}
"""Kind of session -> its cookie. The kind is also where Envoy's metadata has the claims."""
_REQUIREMENTS: Final = {OIDC: "session", CAPTCHA: CAPTCHA, BOTH: BOTH}
"""Names of middlewares in checks -> names of the requirements of listeners."""
_REMEMBERED: Final = 1000
"""Sessions that each worker thread remembers as verified."""
_LONGEST_TOKEN: Final = 4096  # bytes; browsers refuse longer cookies
_LONGEST_CHECK: Final = 25.0
"""Seconds that Envoy waits for the daemon, which may have to ask the OpenID provider."""


def options_of(backend: Backend, options: GatewayOptions) -> OidcOptions | None:
    """Return how users of a backend sign in; ``None`` if neither its middlewares nor its rules require signing in."""
    own = backend.route_policy.oidc or (OidcOptions() if backend.rules.signs_in else None)
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
    of_user, of_visitor = _any_of(names), _any_of(_CAPTCHA_OF[name] for name in names)
    both = jwt_pb2.JwtRequirement(requires_all=jwt_pb2.JwtRequirementAndList(requirements=[of_user, of_visitor]))
    return jwt_pb2.JwtAuthentication(
        providers={kind: _provider(kind, _COOKIES[kind], keys) for name in names for kind in (name, _CAPTCHA_OF[name])},
        requirement_map={_REQUIREMENTS[OIDC]: of_user, CAPTCHA: of_visitor, BOTH: both},
    )


def _any_of(names: Iterable[str]) -> Any:
    optional = jwt_pb2.JwtRequirement(allow_missing_or_failed=empty_pb2.Empty())
    requirements = [*(jwt_pb2.JwtRequirement(provider_name=name) for name in names), optional]
    return jwt_pb2.JwtRequirement(requires_any=jwt_pb2.JwtRequirementOrList(requirements=requirements))


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
    f"x-forwarded-host x-forwarded-proto x-requested-with {CAPTCHA_HEADER}"
).split()


# ---- routes ----------------------------------------------------------------------------------------------------------


def login_settings(backend: Backend, options: GatewayOptions) -> dict[str, Any]:
    """Return the per-route configuration of the filters for a backend; empty if it needs no login."""
    found = options_of(backend, options) if backend.route_policy.oidc is not None else None
    captcha = backend.route_policy.captcha
    if found is None and captcha is None:
        return {}
    service = CAPTCHA if found is None else OIDC if captcha is None else BOTH
    principals, paths = [], []
    if found is not None:
        principals.append(_has_session(audience(backend.key, found), {_SECURE: _SECURE, _PLAIN: _PLAIN}))
        paths += [CALLBACK_PATH, LOGOUT_PATH]
    if captcha is not None:
        principals.append(_has_session(captcha_audience(backend.key, captcha), _CAPTCHA_OF))
        paths.append(CAPTCHA_PATH)
    settings = {
        SIGNED_IN: rbac_filter_pb2.RBACPerRoute(
            rbac=rbac_filter_pb2.RBAC(shadow_rules=_signed_in(principals, paths), shadow_rules_stat_prefix=_PREFIX)
        ),
        LOGIN: ext_authz_pb2.ExtAuthzPerRoute(
            check_settings=ext_authz_pb2.CheckSettings(context_extensions={SERVICE: service, ROUTE: backend.key})
        ),
    }
    if options.session_keys:
        settings[SESSION] = jwt_pb2.PerRouteConfig(requirement_name=_REQUIREMENTS[service])
    return {name: packed(config) for name, config in settings.items()}


def rule_login_settings(backend: Backend, options: GatewayOptions) -> dict[str, Any]:
    """Return the configuration for requests for which rules require signing in, unless all requests do anyway."""
    if not backend.rules.signs_in or backend.route_policy.oidc is not None:
        return {}
    policy = msgspec.structs.replace(backend.route_policy, oidc=OidcOptions())
    return login_settings(msgspec.structs.replace(backend, route_policy=policy), options)


def _has_session(valid_for: str, kinds: dict[str, str]) -> Any:
    """Return the condition that a request has a session that is valid for a backend.

    Args:
        valid_for: what the session must be valid for.
        kinds: the kinds of sessions over HTTPS (key ``secure``) and over HTTP (key ``plain``).

    """
    kind = rbac_pb2.Principal
    https = kind(
        header=route_components_pb2.HeaderMatcher(
            name="x-forwarded-proto", string_match=string_pb2.StringMatcher(exact="https")
        )
    )
    secure, plain = (
        kind(
            sourced_metadata={"metadata_matcher": _metadata(_JWT, [kinds[name], valid_for, "ok"], {"bool_match": True})}
        )
        for name in (_SECURE, _PLAIN)
    )
    either = [
        kind(and_ids=kind.Set(ids=[https, secure])),
        kind(and_ids=kind.Set(ids=[kind(not_id=https), plain])),
    ]
    return kind(or_ids=kind.Set(ids=either))


def _signed_in(principals: list[Any], paths: list[str]) -> Any:
    """Return the rules that allow requests with all sessions, except to the paths that the daemon itself answers."""
    kind, permission = rbac_pb2.Principal, rbac_pb2.Permission
    answered = [permission(url_path=path_pb2.PathMatcher(path=string_pb2.StringMatcher(exact=path))) for path in paths]
    others = permission(not_rule=permission(or_rules=permission.Set(rules=answered)))
    everything = kind(and_ids=kind.Set(ids=principals))
    policy = rbac_pb2.Policy(permissions=[others], principals=[everything])
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
