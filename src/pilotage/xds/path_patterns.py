"""Builds the Envoy routes that refuse the paths and methods that a route's path patterns do not cover. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from envoy.config.core.v3 import base_pb2
from envoy.config.route.v3 import route_components_pb2
from envoy.type.matcher.v3 import regex_pb2, string_pb2

from pilotage.routes.path_patterns import PathPattern, parse_pattern
from pilotage.xds.resources import header

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["refusing_routes"]

_KINDS: Final = route_components_pb2
_NO_PAGE: Final = "This service has no such page.\n"
_NO_METHOD: Final = "This page does not allow this method.\n"


def refusing_routes(patterns: Iterable[str]) -> list[Any]:
    """Return the routes that come before all others of a backend; empty if there are no patterns.

    As in Go, a path that no pattern matches gets 404, a method that only patterns for other methods match gets 405, and
    ``/a`` redirects to ``/a/`` if only the latter has a pattern.
    """
    known = [it for it in map(parse_pattern, patterns) if isinstance(it, PathPattern)]
    if not known:
        return []
    by_method: dict[str, list[str]] = {}
    for pattern in known:
        by_method.setdefault(pattern.method, []).append(pattern.regex)
    anywhere = by_method.pop("", [])
    everything = [*anywhere, *(regex for found in by_method.values() for regex in found)]
    routes = [_redirect(it.folder) for it in known if it.folder and not _matches(everything, it.folder[:-1])]
    routes.append(_refusal(404, _NO_PAGE, _path(everything, invert=True)))
    for method, found in by_method.items():
        routes.append(_not_allowed(known, _methods([method]), _path([*anywhere, *found], invert=True)))
    if by_method:
        routes.append(_not_allowed(known, _methods(by_method, invert=True), _path(anywhere, invert=True)))
    return routes


def _matches(regexes: Iterable[str], path: str) -> bool:
    return any(re.fullmatch(regex, path) for regex in regexes)


def _redirect(folder: str) -> Any:
    match = _KINDS.RouteMatch(path=folder[:-1])
    code = _KINDS.RedirectAction.MOVED_PERMANENTLY
    return _KINDS.Route(match=match, redirect=_KINDS.RedirectAction(path_redirect=folder, response_code=code))


def _not_allowed(patterns: Iterable[PathPattern], *conditions: Any) -> Any:
    methods = {it.method for it in patterns if it.method}
    allowed = ", ".join(sorted(methods | ({"HEAD"} if "GET" in methods else set())))
    return _refusal(405, _NO_METHOD, *conditions, headers=[header("allow", allowed)])


def _refusal(status: int, text: str, *conditions: Any, headers: Iterable[Any] = ()) -> Any:
    body = base_pb2.DataSource(inline_string=text)
    return _KINDS.Route(
        match=_KINDS.RouteMatch(prefix="/", headers=conditions),
        direct_response=_KINDS.DirectResponseAction(status=status, body=body),
        response_headers_to_add=headers,
    )


def _path(regexes: Iterable[str], *, invert: bool) -> Any:
    # Without a pattern, no path matches.
    return _condition(":path", rf"(?:{'|'.join(regexes) or '[^/]'})(?:\?.*)?", invert=invert)


def _methods(methods: Iterable[str], *, invert: bool = False) -> Any:
    names = dict.fromkeys(name for it in methods for name in ((it, "HEAD") if it == "GET" else (it,)))
    return _condition(":method", "|".join(map(re.escape, names)), invert=invert)


def _condition(name: str, regex: str, *, invert: bool) -> Any:
    matcher = string_pb2.StringMatcher(safe_regex=regex_pb2.RegexMatcher(regex=regex))
    return _KINDS.HeaderMatcher(name=name, string_match=matcher, invert_match=invert)
