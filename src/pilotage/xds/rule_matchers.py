"""Writes tests of request headers as Envoy's header matchers. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from envoy.config.route.v3 import route_components_pb2
from envoy.type.matcher.v3 import regex_pb2, string_pb2

from pilotage.xds.rule_tests import ADDRESS_HEADER, HOST_HEADER, PROTOCOL_HEADER

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pilotage.xds.rule_tests import Test, TestResult

__all__ = ["header_matchers"]


_HOST: Final = (":authority", "host")


def header_matchers(tests: Iterable[TestResult], name: str) -> list[Any]:
    """Return Envoy's matchers for tests. All match if every test has its wanted result.

    Args:
        tests: the tests.
        name: the name of the backend, which may be a wildcard.

    """
    is_wildcard = name.startswith("*")
    return [
        _matcher(test, HOST_HEADER if is_wildcard and test.header in _HOST else test.header, wanted=wanted)
        for test, wanted in tests
    ]


def _matcher(test: Test, name: str, *, wanted: bool) -> Any:
    kind = route_components_pb2.HeaderMatcher
    if not test.exact and not test.regex:
        return kind(name=name, present_match=True, invert_match=not wanted)
    match = (
        string_pb2.StringMatcher(exact=test.exact)
        if test.exact
        else string_pb2.StringMatcher(safe_regex=regex_pb2.RegexMatcher(regex=test.regex))
    )
    # While the address, the HTTP version or the host is unknown, all tests of it fail, even negated ones.
    lenient = not wanted and name not in (ADDRESS_HEADER, HOST_HEADER, PROTOCOL_HEADER)
    return kind(
        name=name,
        string_match=match,
        invert_match=not wanted,
        treat_missing_header_as_empty=lenient,
    )
