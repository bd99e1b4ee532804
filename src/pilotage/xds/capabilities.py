"""Checks which settings of a route the gateway supports, and reports those that it does not (decision 12). Pure."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any, Final

import msgspec

from pilotage.core.problems import Problem
from pilotage.core.text import shorten_value
from pilotage.routes.compositions import NO_COMPOSITIONS, Compositions
from pilotage.routes.hosts import mistake_in
from pilotage.routes.middlewares import STEP, middleware_name
from pilotage.routes.oidc import OidcOptions, merge_oidc
from pilotage.routes.paths import PRESET
from pilotage.routes.rules import RuleError
from pilotage.xds.balance_problems import balance_problems
from pilotage.xds.bypass import bypass_ways
from pilotage.xds.client_profiles import with_common_profile
from pilotage.xds.cloudflare import CLOUDFLARE
from pilotage.xds.log_problems import log_problems
from pilotage.xds.middlewares import route_policy
from pilotage.xds.options import CertificateFiles, GatewayOptions
from pilotage.xds.problems import as_refused
from pilotage.xds.rule_outcomes import elsewhere, route_rules
from pilotage.xds.rule_sizes import is_too_costly

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Protocol

    from pilotage.core.problems import Severity
    from pilotage.routes.access_log import AccessLog
    from pilotage.routes.route import Route
    from pilotage.xds.middlewares import RoutePolicy
    from pilotage.xds.rule_tests import Test

    class _Refuse(Protocol):
        def __call__(
            self, field: str, message: str, hint: str, *, blocking: bool = True, harmless: bool = False
        ) -> None: ...


__all__ = ["GatewayCapabilities", "check_capabilities"]

_OIDC: Final = "oidc"
_SOME_CERTIFICATE: Final = (CertificateFiles("", ""),)
"""Stands for all certificates, because the checks depend only on whether there are any."""
_LONGEST_NAME: Final = 253
"""Maximum characters of a host name (RFC 1035)."""

_SOME_PORT: Final = GatewayOptions().http_port
_UNSUPPORTED: Final = "a GoDoxy feature that pilotage does not support"
_COMMON: Final = "entrypoint.inbound_mtls_profile"
_UNSUPPORTED_FIELD: Final = "a GoDoxy field that pilotage does not support"


class GatewayCapabilities(msgspec.Struct, frozen=True):
    """Checks routes against a gateway; see :class:`~pilotage.policy.GatewayCheck`.

    Attributes:
        options: the gateway's settings. Only those in :func:`of_options` make a difference.
        compositions: the middlewares from files.

    """

    options: GatewayOptions = GatewayOptions()
    compositions: Compositions = NO_COMPOSITIONS

    @classmethod
    def of_options(cls, options: GatewayOptions, compositions: Compositions = NO_COMPOSITIONS) -> GatewayCapabilities:
        """Keep only the settings on which the checks depend. Changes to others then rebuild no routes."""
        kept = GatewayOptions(
            http_address=options.http_address,
            http_port=_SOME_PORT if options.http_port else 0,
            https_address=options.https_address,
            https_port=int(options.serves_https),
            certificates=_SOME_CERTIFICATE if options.serves_https else (),
            trusted_proxies=options.trusted_proxies,
            oidc=options.oidc.for_routes,
            error_pages=options.error_pages,
            client_profiles=options.client_profiles,
            client_profile=options.client_profile,
        )
        return cls(kept, compositions)

    def fill_in(self, middlewares: Mapping[str, Any]) -> tuple[dict[str, Any] | None, tuple[Problem, ...]]:
        """Fill in middlewares from files (see :class:`Compositions`), and add ``oidc`` if all routes need it."""
        found, problems = self.compositions.fill_in(middlewares)
        own = middlewares if found is None else found
        if not self.options.oidc.all_routes or _signs_in(own):
            return found, problems
        bypass = list(self.options.oidc.bypass)
        return {**own, _OIDC: {"bypass": bypass} if bypass else None}, problems

    def complete(self, route: Route) -> Route:
        """Return a route with the profile of client certificates that all routes require."""
        return with_common_profile(route, self.options.client_profile)

    def __call__(self, route: Route) -> tuple[tuple[Problem, ...], bool]:
        """Return what :func:`check_capabilities` returns."""
        return _checked(route, self.options)


def _signs_in(middlewares: Iterable[str]) -> bool:
    return any(middleware_name(written.rpartition(STEP)[2]) == _OIDC for written in middlewares)


def check_capabilities(route: Route, options: GatewayOptions | None = None) -> tuple[tuple[Problem, ...], bool]:
    """Return problems for the parts of a route that the gateway does not support.

    Args:
        route: a route that is not excluded.
        options: the gateway's settings; if omitted, the defaults.

    Returns:
        The problems, each with its place, and whether the route may be served despite them. The route must not be
        served if an unsupported setting restricts access, or if nothing remains to serve.

    """
    return _checked(route, GatewayCapabilities.of_options(options or GatewayOptions()).options)


def _checked(route: Route, options: GatewayOptions) -> tuple[tuple[Problem, ...], bool]:
    route = with_common_profile(route, options.client_profile)
    found, servable = _check(route, options)
    policy = route_policy(route.middlewares)
    found += policy.problems if policy.servable else as_refused(policy.problems)
    servable = servable and policy.servable
    where = {"provider": route.provider, "container": route.container, "route": route.alias}
    return tuple(problem.at(**where) for problem in found), servable


def _check(route: Route, options: GatewayOptions) -> tuple[list[Problem], bool]:
    settings = route.settings
    found: list[Problem] = []
    servable = True

    def refuse(field: str, message: str, hint: str, *, blocking: bool = True, harmless: bool = False) -> None:
        nonlocal servable
        servable = servable and not blocking
        severity: Severity = "error" if blocking or not harmless else "warning"
        found.append(Problem(message=message, hint=hint, path=field, severity=severity, refused=blocking))

    if route.scheme == "fileserver":
        _check_file_server(route, refuse)
    if settings.rules:
        _check_rules(route, options, refuse)
    _check_bypasses(route, refuse)
    if settings.rule_file.startswith(PRESET):
        refuse("rule_file", f"the presets for GoDoxy's own pages are {_UNSUPPORTED}", "name a file, or remove it")
    elif settings.rule_file and route.is_stream:
        refuse("rule_file", f"rules are only for HTTP, not {route.scheme}", "remove it")
    if settings.inbound_mtls_profile:
        _check_profile(route, options, refuse)
    if settings.tls_termination and options.client_profile:
        hint = "remove tls_termination, so that the target verifies clients"
        message = f"{_COMMON} requires client certificates, which the gateway does not verify for {route.scheme}"
        refuse("tls_termination", message, hint)
    if settings.tls_termination and not options.serves_https:
        hint = "set gateway.tls, or remove it if the target itself speaks TLS"
        refuse("tls_termination", "the gateway has no certificate for terminating TLS", hint)
    if settings.access_log is not None:
        _check_access_log(route, settings.access_log, refuse)
    _check_names(route, refuse)
    if route.is_stream:
        _check_stream(route, refuse)
    elif route.bind and not route.port.listening and not _listens_on(route.bind, options):
        hint = "remove bind, set it to an address of the gateway, or give the route a port of its own"
        refuse("bind", f"the gateway does not listen on {route.bind}", hint)
    _check_sign_in(route_policy(route.middlewares), options, refuse, is_stream=route.is_stream)
    _check_addresses(route_policy(route.middlewares), options, refuse, route.alias)
    return [*found, *balance_problems(route, options)], servable


def _check_profile(route: Route, options: GatewayOptions, refuse: _Refuse) -> None:
    """Refuse a route whose clients' certificates could not be verified."""
    field, name = "inbound_mtls_profile", route.settings.inbound_mtls_profile
    profile = next((it for it in options.client_profiles if it.name == name), None)
    if options.client_profile not in {"", name}:
        refuse(field, f"{_COMMON} requires the profile {options.client_profile!r} of all routes", "remove it")
    elif route.is_stream:
        refuse(field, f"{field} is only for HTTP, not {route.scheme}", "remove it")
    elif route.has_listener:
        refuse(field, "a route with a port of its own cannot require client certificates", "remove the port")
    elif profile is None:
        hint = "correct the name, or define the profile under inbound_mtls_profiles in pilotage.yml"
        refuse(field, f"there is no inbound mTLS profile {shorten_value(name)!r}", hint)
    elif profile.problem:
        refuse(field, f"the inbound mTLS profile {name!r} cannot be used: {profile.problem}", "correct its files")
    elif not options.serves_https:
        hint = "set gateway.https and gateway.tls in pilotage.yml"
        refuse(field, "clients send certificates only over HTTPS, which the gateway does not serve", hint)


def _listens_on(address: str, options: GatewayOptions) -> bool:
    """Return whether the shared listeners accept requests at an address, or at one of the addresses that it covers."""
    wanted = _address(address)
    listening = [options.http_address] * bool(options.http_port) + [options.https_address] * options.serves_https
    for place in map(_address, listening):
        stands_for_all = place.is_unspecified or wanted.is_unspecified
        if place == wanted or (stands_for_all and place.version == wanted.version):
            return True
    return False


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    found = ipaddress.ip_address(text)
    return getattr(found, "ipv4_mapped", None) or found


def _check_rules(route: Route, options: GatewayOptions, refuse: _Refuse) -> None:
    """Refuse rules that the gateway cannot apply exactly."""
    if route.is_stream:
        refuse("rules", f"rules are only for HTTP, not {route.scheme}", "remove them")
        return
    compiled = route_rules(route)
    if compiled.refused is not None:
        message, hint = compiled.refused
        refuse("rules", message, hint or "remove the rule")
    if compiled.asked and (auth := route_policy(route.middlewares).auth) is not None:
        what = "the conditions basic_auth, form and postform cannot be combined with the middleware"
        refuse("rules", f"{what} {auth.middleware}", "let the middleware check users, or remove it")
    if compiled.signs_in:
        _check_rule_login(route_policy(route.middlewares), options, refuse)
    if compiled.signs_in and (name := _answered(route, (test for case in compiled.cases for test, _ in case.tests))):
        # Envoy decides about signing in before it asks the auth service.
        what = f"rules with the command require_auth cannot test the header {name}, which an auth service sets"
        refuse("rules", what, "test it in the target, or use the middleware oidc")
    if compiled.signs_in and compiled.asked:
        what = "the conditions basic_auth, form and postform cannot be combined with the command require_auth"
        refuse("rules", what, "remove either")
    if route.agent and elsewhere(route):
        what = "rules of a route behind an agent cannot send requests to other targets"
        refuse("rules", what, "remove the commands proxy, route and serve")


def _answered(route: Route, tests: Iterable[Test]) -> str:
    """Return the header that a test needs and that only the route's auth service may set; ``""`` if there is none."""
    policy = route_policy(route.middlewares)
    policies = (policy, *(it.policy for it in policy.variants))
    names = {name.lower() for it in policies if it.auth is not None for name in it.auth.forgeable}
    return next((test.header for test in tests if test.header in names), "")


def _check_rule_login(policy: RoutePolicy, options: GatewayOptions, refuse: _Refuse) -> None:
    """Refuse the command ``require_auth`` if users could not sign in, or if it is not clear whether they have to."""
    missing = merge_oidc(OidcOptions(), options.oidc)[1]
    if policy.oidc is None and missing:
        what = f"the command require_auth needs an OpenID provider, but its settings are incomplete ({missing})"
        refuse("rules", what, "set it under oidc in the configuration, or use the middleware oidc")
    if policy.oidc is not None and any(it.policy.oidc is None for it in policy.variants):
        what = "the command require_auth cannot be combined with the option bypass of the middleware oidc"
        refuse("rules", what, "remove one of them")


def _check_bypasses(route: Route, refuse: _Refuse) -> None:
    """Refuse bypasses that need too many Envoy routes or tests. Each combination repeats all cases of the rules."""
    variants = route_policy(route.middlewares).variants
    if not variants or route.is_stream:
        return
    cases = [case.tests for case in route_rules(route).cases] or [()]
    try:
        ways = [(), *(way for it in variants for way in bypass_ways(it.bypasses, route.alias))]
    except RuleError as error:
        refuse("middlewares", error.message, error.hint)
        return
    if name := _answered(route, (test for way in ways for test, _ in way)):
        # The conditions are tested before the auth service has answered, with what the client has sent.
        what = f"the option bypass cannot test the header {name}, which clients could forge: an auth service sets it"
        refuse("middlewares", what, "test something else, or test the header in rules")
    if is_too_costly((*way, *tests) for way in ways for tests in cases):
        what = "the bypass options and the rules" if route.settings.rules else "the bypass options"
        hint = "use fewer conditions, or write the same list for several middlewares"
        refuse("middlewares", f"together, {what} need too many patterns, or patterns that are too large", hint)


def _check_file_server(route: Route, refuse: _Refuse) -> None:
    if route.agent:
        refuse("scheme", "files of another machine cannot be served", "run a web server in a container for the files")
    if route.settings.load_balance.link:
        refuse("load_balance.link", "a file server cannot be in a pool", "remove it")


def _check_access_log(route: Route, log: AccessLog, refuse: _Refuse) -> None:
    if route.is_stream:
        text = f"an access log is only for HTTP, not {route.scheme}, so nothing is logged"
        refuse("access_log", text, "remove it", blocking=False, harmless=True)
        return
    for problem in log_problems(log):
        text = f"{problem.message}, so nothing is logged" if problem.blocking else problem.message
        harmless = not problem.field.startswith("access_log.filters.")
        refuse(problem.field, text, problem.hint, blocking=False, harmless=harmless)


def _check_names(route: Route, refuse: _Refuse) -> None:
    """Refuse host names that no client can request, and names that are too long to connect to."""
    settings = route.settings
    for host in dict.fromkeys((route.host, *(endpoint.host for endpoint in route.endpoints))):
        if len(host) > _LONGEST_NAME:
            refuse(
                "host",
                f"{shorten_value(host)!r} is too long for a host name",
                f"use at most {_LONGEST_NAME} characters",
            )
            break
    server = settings.ssl_server_name
    if server and (len(server.encode()) > _LONGEST_NAME or not server.isprintable()):
        refuse(
            "ssl_server_name",
            f"{shorten_value(server)!r} is not a valid server name",
            "write a name such as app.internal",
        )
    if settings.load_balance.link and not route.is_stream:
        if (wrong := mistake_in(settings.load_balance.link)) is not None:
            refuse("load_balance.link", *wrong)
    elif not route.is_stream and (wrong := mistake_in(route.alias)) is not None:
        refuse("alias", *wrong)


def _check_stream(route: Route, refuse: _Refuse) -> None:
    if not route.port.listening:
        invalid = any(problem.path == "port" and problem.severity == "error" for problem in route.problems)
        hint = f"write both ports: proxy.{route.alias}.port: {route.port.proxy}:{route.port.proxy}"
        message = f"a {route.scheme} route needs a port to listen on, but none is set"
        if invalid:
            message, hint = f"a {route.scheme} route needs a port to listen on, and its port is not valid", "correct it"
        refuse("port", message, hint)
    for field in ("middlewares", "path_patterns", "hold"):
        if getattr(route.settings, field):
            refuse(field, f"{field} is only for HTTP, not {route.scheme}", "remove it", blocking=field != "hold")


def _check_sign_in(policy: RoutePolicy, options: GatewayOptions, refuse: _Refuse, *, is_stream: bool) -> None:
    """Refuse a route whose users cannot sign in, because neither it nor the configuration has a needed setting."""
    if policy.oidc is None and options.oidc.all_routes and not is_stream:
        refuse("middlewares", "the route has no sign-in, although oidc.all_routes requires it", "report this as a bug")
    missing = merge_oidc(policy.oidc, options.oidc)[1] if policy.oidc is not None else ""
    if missing:
        refuse("middlewares.oidc", missing, "set it here, or for all routes under oidc in the configuration")


def _check_addresses(policy: RoutePolicy, options: GatewayOptions, refuse: _Refuse, name: str) -> None:
    """Refuse error pages and real-IP middlewares for which the gateway lacks the settings."""
    if policy.error_page and not options.error_pages:
        hint = "set error_pages in pilotage.yml"
        refuse("middlewares.error_page", "no folder for error pages is configured", hint, blocking=False, harmless=True)
    if policy.cloudflare and not _trusts(options, CLOUDFLARE):
        refuse(
            "middlewares.cloudflare_real_ip",
            "gateway.trusted_proxies lacks Cloudflare's networks, so all clients would have Cloudflare's addresses",
            "add cloudflare to gateway.trusted_proxies",
            blocking=bool(policy.allow or policy.rate),
        )
    blocking = bool(policy.allow or policy.rate or policy.asks_address)
    if policy.address_from is not None and name.startswith("*"):
        text = "a route for many names cannot use real_ip"
        hint = "list the networks in gateway.trusted_proxies, which then applies to all routes"
        refuse("middlewares.real_ip", text, hint, blocking=blocking)
    elif policy.address_from is not None and not (networks := policy.address_from[1]):
        text = "real_ip needs the networks of the proxies in 'from'"
        refuse("middlewares.real_ip", text, "write from: [10.0.0.0/8]", blocking=blocking)
    elif policy.address_from is not None and not _trusts(options, networks):
        refuse(
            "middlewares.real_ip",
            "the gateway removes headers with addresses from all clients except gateway.trusted_proxies",
            "add these networks to gateway.trusted_proxies",
            blocking=blocking,
        )


def _trusts(options: GatewayOptions, networks: Iterable[str]) -> bool:
    """Return whether the gateway trusts all of some networks."""
    trusted = [ipaddress.ip_network(text) for text in options.trusted_proxies]
    return all(
        any(t.version == n.version and n.subnet_of(t) for t in trusted)  # type: ignore[arg-type]
        for n in map(ipaddress.ip_network, networks)
    )
