"""Builds the Envoy routes of a backend with rules: one set of routes for each case. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import msgspec
from envoy.config.core.v3 import base_pb2, substitution_format_string_pb2
from envoy.config.route.v3 import route_components_pb2
from envoy.type.matcher.v3 import regex_pb2, string_pb2

from pilotage.xds.agents import PROXY_PATH, may_set
from pilotage.xds.client_address import NEEDS_ADDRESS, WILDCARD
from pilotage.xds.filters import require_login
from pilotage.xds.literals import literal
from pilotage.xds.local_replies import ANSWER
from pilotage.xds.login import CALLBACK_PATH, LOGOUT_PATH
from pilotage.xds.resources import header
from pilotage.xds.rule_checks import asking_routes
from pilotage.xds.rule_matchers import header_matchers
from pilotage.xds.rule_patterns import prefix_regex
from pilotage.xds.rule_script import add_script
from pilotage.xds.rule_tests import ADDRESS_HEADER, PROTOCOL_HEADER, RESULTS_HEADER, Test, starts_with
from pilotage.xds.sleeping_routes import EVENTS_PATH
from pilotage.xds.variables import expand, upstream_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pilotage.xds.backend import Backend
    from pilotage.xds.rule_outcomes import Case
    from pilotage.xds.rule_state import HeaderEdit, Outcome

__all__ = ["with_rules"]

_NOT_VALID: Final = "The path of this request is not valid.\n"
_NO_TARGET: Final = "The target of this request is not available."
_ONLY_SIGN_IN: Final = "This page is only for signing in and out.\n"
_UNESCAPED: Final = "/$&+,:;=@!'()*~"


def with_rules(
    backend: Backend,
    routes: list[Any],
    routes_of: Callable[[Backend], list[Any]] = lambda _: [],
    login: Mapping[str, Any] | None = None,
) -> list[Any]:
    """Return the routes of a backend with its rules; the given ones if it has none.

    Args:
        backend: the backend.
        routes: its Envoy routes without rules.
        routes_of: returns the Envoy routes of another backend, to which the rules send requests.
        login: the configuration of routes whose users have to sign in; ``None`` if that of the backend requires it.

    """
    cases = backend.rules.cases
    if not cases:
        return routes
    found = [(made, False) for made in asking_routes(backend)]
    found += [(_sign_in_paths(), True)] if login else []
    found += [(made, case.outcome.sign_in) for case in cases for made in _case(case, backend, routes, routes_of)]
    for made, signs_in in found if login else ():
        require_login(made, login if signs_in and login else {})
    for made, _ in found if backend.rules.asked else ():
        made.request_headers_to_remove.append(RESULTS_HEADER)
    for made, _ in found if backend.rules.address else ():
        made.request_headers_to_remove.extend((ADDRESS_HEADER, PROTOCOL_HEADER))
        made.metadata.filter_metadata[WILDCARD].fields[NEEDS_ADDRESS].bool_value = True
    return [made for made, _ in found]


def _case(case: Case, backend: Backend, routes: list[Any], routes_of: Callable[[Backend], list[Any]]) -> Iterator[Any]:
    outcome, tests = case.outcome, header_matchers(case.tests, backend.name)
    if outcome.status:
        made = _answer(outcome.status, _body(outcome.body, backend), tests)
        made.response_headers_to_add.extend(header(name, literal(value)) for name, value in outcome.headers)
        made.metadata.filter_metadata[ANSWER].SetInParent()
        yield _edited(made, outcome, backend)
        return
    via = backend
    if outcome.elsewhere is not None:
        other = backend.others.get(outcome.elsewhere)
        if other is None:
            yield _answer(503, _body(_NO_TARGET, backend), tests)
            return
        via, routes = other, routes_of(other)
    if outcome.rewrite is not None and outcome.rewrite[1].endswith("/"):
        climbs = header_matchers([(_climbs(outcome.rewrite[0]), True)], backend.name)
        yield _answer(400, _body(_NOT_VALID, backend), [*tests, *climbs])
    for route in routes:
        if route.match.path == EVENTS_PATH:
            yield _copy(route, tests)
        elif outcome.path:
            yield _edited(_rewritten(_copy(route, tests), "(?s)^.*$", outcome.path, via), outcome, via, backend)
        elif outcome.rewrite is not None and route.HasField("route"):
            old, new = outcome.rewrite
            starts = header_matchers([(starts_with(old), True)], backend.name)
            # The file server knows no empty path segments, which "rewrite /files /" would leave.
            slashes = "/*" if new.endswith("/") and via.route.scheme == "fileserver" else ""
            made = _rewritten(_copy(route, [*tests, *starts]), f"(?s)^{prefix_regex(old)}{slashes}", new, via)
            yield _edited(made, outcome, via, backend)
            yield _edited(_copy(route, tests), outcome, via, backend)
        else:
            yield _edited(_copy(route, tests), outcome, via, backend)


def _sign_in_paths() -> Any:
    """Return the route for the paths that the daemon answers while users sign in or out."""
    regex = "|".join(re.escape(path) for path in (CALLBACK_PATH, LOGOUT_PATH))
    match = string_pb2.StringMatcher(safe_regex=regex_pb2.RegexMatcher(regex=rf"(?:{regex})(?:\?.*)?"))
    path = route_components_pb2.HeaderMatcher(name=":path", string_match=match)
    return _answer(404, {"body": base_pb2.DataSource(inline_string=_ONLY_SIGN_IN)}, [path])


def _climbs(old: str) -> Test:
    """Return the test for paths in which replacing ``old`` leaves a dot segment, as in ``/api../admin``."""
    return Test(":path", regex=rf"(?s){prefix_regex(old)}\.{{1,2}}(?:(?:[/\\;?]|%2[fF]|%5[cC]|%3[bB]).*)?")


def _copy(route: Any, tests: list[Any]) -> Any:
    made = route_components_pb2.Route()
    made.CopyFrom(route)
    made.match.headers.extend(tests)
    return made


def _answer(status: int, body: dict[str, Any], tests: list[Any]) -> Any:
    return route_components_pb2.Route(
        match=route_components_pb2.RouteMatch(prefix="/", headers=tests),
        direct_response=route_components_pb2.DirectResponseAction(status=status, **body),
    )


def _body(text: str, backend: Backend) -> dict[str, Any]:
    if not text:
        return {}
    format_ = expand(text, upstream_of(backend.name, backend.route))
    plain = format_.replace("%%", "%")
    if literal(plain) == format_:
        return {"body": base_pb2.DataSource(inline_string=plain)}
    source = base_pb2.DataSource(inline_string=format_)
    return {"body_format": substitution_format_string_pb2.SubstitutionFormatString(text_format_source=source)}


def _rewritten(route: Any, old: str, new: str, backend: Backend) -> Any:
    """Replace the part of the path that ``old`` matches with ``new``, after the prefixes of the agent and the route."""
    if route.HasField("route"):
        base = backend.route_policy.prefix.rstrip("/")
        if backend.proxy is not None:
            base = f"{PROXY_PATH}{base}"
        route.route.ClearField("prefix_rewrite")
        route.route.regex_rewrite.pattern.CopyFrom(regex_pb2.RegexMatcher(regex=old))
        route.route.regex_rewrite.substitution = f"{base}{quote(new, safe=_UNESCAPED)}".replace("\\", "\\\\")
    return route


def _edited(route: Any, outcome: Outcome, backend: Backend, owner: Backend | None = None) -> Any:
    """Add the changes of ``owner``'s rules to a route that leads to ``backend``."""
    for edit in outcome.request:
        if may_set(backend, edit.name):
            _edit(edit, route.request_headers_to_add, route.request_headers_to_remove, backend)
    for edit in outcome.response:
        _edit(edit, route.response_headers_to_add, route.response_headers_to_remove, backend, response=True)
    allowed = tuple(it for it in outcome.before if not it.command.endswith(" header") or may_set(backend, it.name))
    scripted = msgspec.structs.replace(outcome, before=allowed)
    policy, name = (owner or backend).route_policy, (owner or backend).name
    holds = bool(policy.changes or policy.error_page)
    add_script(route, scripted, name, upstream_of(backend.name, backend.route), holds=holds)
    return route


def _edit(edit: HeaderEdit, added: Any, removed: Any, backend: Backend, *, response: bool = False) -> None:
    if not edit.values:
        removed.append(edit.name)
    upstream = upstream_of(backend.name, backend.route)
    for number, value in enumerate(edit.values):
        written = expand(value, upstream, response=response)
        added.append(header(edit.name, written, add=edit.keep or number > 0))
