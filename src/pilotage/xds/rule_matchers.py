"""Writes tests of request headers as Envoy's header matchers. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from envoy.config.route.v3 import route_components_pb2
from envoy.type.matcher.v3 import regex_pb2, string_pb2

from pilotage.xds.rule_tests import ADDRESS_HEADER

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pilotage.xds.rule_tests import Test, TestResult

__all__ = ["header_matchers"]


def header_matchers(tests: Iterable[TestResult]) -> list[Any]:
    """Return Envoy's matchers for tests, which must all have their wanted result."""
    return [matcher for test, wanted in tests for matcher in _matchers(test, wanted=wanted)]


def _matchers(test: Test, *, wanted: bool) -> list[Any]:
    kind = route_components_pb2.HeaderMatcher
    if not test.exact and not test.regex:
        return [kind(name=test.header, present_match=True, invert_match=not wanted)]
    match = (
        string_pb2.StringMatcher(exact=test.exact)
        if test.exact
        else string_pb2.StringMatcher(safe_regex=regex_pb2.RegexMatcher(regex=test.regex))
    )
    # While the address is unknown, no test of it succeeds, so it opens nothing.
    lenient = not wanted and test.header != ADDRESS_HEADER
    return [
        kind(
            name=test.header,
            string_match=match,
            invert_match=not wanted,
            treat_missing_header_as_empty=lenient,
        )
    ]
