"""Builds the Envoy routes that ask this process about conditions that Envoy cannot test. Pure.

These routes come first. They match requests for which a condition may hold, until this process has answered. The answer
is in a request header, and Envoy then looks up the route again. A request that still matches one of these routes was
not checked, so it gets 503.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from envoy.config.core.v3 import base_pb2
from envoy.config.route.v3 import route_components_pb2
from envoy.extensions.filters.http.ext_authz.v3 import ext_authz_pb2
from envoy.type.matcher.v3 import regex_pb2, string_pb2

from pilotage.routes.rules import matches
from pilotage.xds.checks import ROUTE, SERVICE
from pilotage.xds.filters import AUTH
from pilotage.xds.resources import packed
from pilotage.xds.rule_tests import RESULTS_HEADER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pilotage.routes.rules import Check
    from pilotage.xds.backend import Backend

__all__ = ["LARGEST_FORM", "RULES", "asking_routes", "holds_without_form"]

RULES: Final = "rules"
"""The name of rules in checks."""

LARGEST_FORM: Final = 256 * 1024
"""Maximum bytes of a form on routes whose rules test its fields. Envoy keeps it until it is checked."""

_NOT_CHECKED: Final = "The gateway could not check this request.\n"
_FORM: Final = r"(?i)\s*(?:application/x-www-form-urlencoded|multipart/form-data)\s*(?:[;,].*)?"
_BASIC: Final = "(?i)basic .*"
_QUERY: Final = r"(?s)[^?]*\?.+"


def holds_without_form(check: Check) -> bool:
    """Return whether a check of a form field holds for requests without this field. Then its value is empty."""
    return check.pattern is not None and matches(check.pattern, "")


def asking_routes(backend: Backend) -> list[Any]:
    """Return the routes that ask about a backend's requests; none if Envoy can test all conditions itself."""
    return [_asking(backend, match, body=body) for match, body in _matches(backend.rules.asked)]


def _matches(asked: tuple[Check, ...]) -> Iterator[tuple[Any, bool]]:
    """Yield header matchers for requests to ask about, and whether their body is needed."""
    subjects = {check.subject for check in asked}
    if subjects & {"form", "postform"}:
        yield _header("content-type", _FORM), True
    if any(check.subject != "basic_auth" and holds_without_form(check) for check in asked):
        yield None, False
        return
    if "form" in subjects:
        yield _header(":path", _QUERY), False
    if "basic_auth" in subjects:
        yield _header("authorization", _BASIC), False


def _header(name: str, regex: str) -> Any:
    match = string_pb2.StringMatcher(safe_regex=regex_pb2.RegexMatcher(regex=regex))
    return route_components_pb2.HeaderMatcher(name=name, string_match=match)


def _asking(backend: Backend, match: Any, *, body: bool) -> Any:
    unanswered = route_components_pb2.HeaderMatcher(name=RESULTS_HEADER, present_match=False)
    settings = ext_authz_pb2.CheckSettings(context_extensions={SERVICE: RULES, ROUTE: backend.key})
    if body:
        settings.with_request_body.max_request_bytes = LARGEST_FORM
    return route_components_pb2.Route(
        match=route_components_pb2.RouteMatch(
            prefix="/", headers=[unanswered, *([match] if match is not None else [])]
        ),
        direct_response=route_components_pb2.DirectResponseAction(
            status=503, body=base_pb2.DataSource(inline_string=_NOT_CHECKED)
        ),
        typed_per_filter_config={AUTH: packed(ext_authz_pb2.ExtAuthzPerRoute(check_settings=settings))},
    )
