"""Reads the option ``bypass``: the requests to which a middleware does not apply. Pure.

Conditions are written as in rules. Envoy must be able to test all of them before it chooses a route.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pilotage.core.values import ParseError
from pilotage.core.yaml import bare, parse_yaml
from pilotage.routes.rules import Condition, RuleError, parse_condition
from pilotage.xds.rule_tests import ASKED, Changes, Test, all_of, needs_address, ways

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pilotage.xds.rule_tests import TestResult

__all__ = ["MAX_BYPASSES", "Conditions", "asks_address", "bypass_ways", "read_bypass"]

Conditions = tuple[Condition, ...]
"""One ``bypass``: requests for which any of the conditions holds."""

MAX_BYPASSES: Final = 3
"""Maximum number of different ``bypass`` lists of a route. Each one may double the number of its Envoy routes."""

_MOST_WAYS: Final = 50

_HAS_PARAMETERS: Final = Test(":path", regex=r"(?s)[^?]*(?:;|%3[bB]).*")
"""Matches a path such as ``/admin;a/users``. Some targets remove ``;a``, and then see a path that a test excludes."""


def read_bypass(value: Any) -> Conditions:
    """Return the conditions of an option ``bypass``: a list, or text with one condition or a list.

    Raises:
        RuleError: a condition is invalid, or Envoy cannot test it.

    """
    if isinstance(value, str) and value.lstrip()[:1] in ("-", "["):
        try:
            document = parse_yaml(value)
        except ParseError as error:
            raise RuleError(error.message) from None
        value = bare(document) if document is not None else None
    texts = value if isinstance(value, list) else [value]
    if not all(isinstance(text, str) and text.strip() for text in texts):
        raise RuleError("conditions are needed here", "write a list of conditions such as 'path glob(/public/*)'")
    found = tuple(map(parse_condition, texts))
    if not all(found):
        raise RuleError("a condition is empty", "write one such as 'path glob(/public/*)'")
    for subject in sorted(ASKED & {check.subject for condition in found for part in condition for check in part}):
        raise RuleError(f"the condition {subject} is supported only in rules, not in bypass")
    _alternatives(found, "")
    return found


def _alternatives(conditions: Conditions, alias: str) -> tuple[tuple[TestResult, ...], ...]:
    found = dict.fromkeys(way for condition in conditions for way in ways(condition, {}, alias, Changes()))
    if len(found) > _MOST_WAYS:
        raise RuleError(f"the conditions have more than {_MOST_WAYS} combinations", "write fewer alternatives")
    return tuple(found)


def bypass_ways(bypasses: Iterable[Conditions], alias: str) -> tuple[tuple[TestResult, ...], ...]:
    """Return the combinations of tests for which all of several ``bypass`` options hold.

    Raises:
        RuleError: there are too many combinations.

    """
    found: tuple[tuple[TestResult, ...], ...] = ((),)
    for conditions in bypasses:
        joined = (all_of(one, other) for one in found for other in _alternatives(conditions, alias))
        found = tuple(dict.fromkeys(it for it in joined if it is not None))
        if len(found) > _MOST_WAYS:
            raise RuleError(f"the conditions have more than {_MOST_WAYS} combinations", "write fewer alternatives")
    return tuple(dict.fromkeys(map(_without_parameters, found)))


def _without_parameters(tests: tuple[TestResult, ...]) -> tuple[TestResult, ...]:
    """Return the tests. If one of them excludes a path, add a test that the path has no parameters."""
    excludes = any(test.header == ":path" and not wanted for test, wanted in tests)
    return tuple(dict.fromkeys((*tests, (_HAS_PARAMETERS, False)))) if excludes else tests


def asks_address(bypasses: Iterable[Conditions]) -> bool:
    """Return whether a condition is about the client's address."""
    return any(needs_address(condition) for conditions in bypasses for condition in conditions)
