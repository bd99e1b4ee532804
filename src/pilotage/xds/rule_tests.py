"""Turns the conditions of rules into tests of request headers, which Envoy can do. Pure."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import msgspec

from pilotage.routes.rules import RuleError, matches
from pilotage.xds.rule_patterns import (
    cookie_regex,
    header_regex,
    host_regex,
    is_nullable,
    network_regex,
    path_regex,
    prefix_regex,
    query_regex,
    rewritten_path_regex,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pilotage.routes.rules import Check, Condition, Pattern

__all__ = [
    "ADDRESS_HEADER",
    "ASKED",
    "HOST_HEADER",
    "OWN_HEADERS",
    "PROTOCOL_HEADER",
    "RESULTS_HEADER",
    "Changes",
    "Test",
    "TestResult",
    "all_of",
    "asked_checks",
    "check_id",
    "needs_address",
    "starts_with",
    "ways",
]

ADDRESS_HEADER: Final = "x-pilotage-address"
"""The request header with the client's address, which a filter sets for routes whose rules need it."""

HOST_HEADER: Final = "x-pilotage-host"
"""The request header with the client's host. A filter sets it while it looks up the route of a wildcard alias, because
it then replaces the host itself.
"""

PROTOCOL_HEADER: Final = "x-pilotage-protocol"
"""The request header with the client's HTTP version, such as ``HTTP/2``. The filter that sets the address sets it."""

RESULTS_HEADER: Final = "x-pilotage-checks"
"""The request header in which this process lists the identifiers of the checks (:data:`ASKED`) that hold."""

OWN_HEADERS: Final = (ADDRESS_HEADER, HOST_HEADER, PROTOCOL_HEADER, RESULTS_HEADER)
"""Headers that only the gateway may set, and that no target sees."""

ASKED: Final = frozenset({"basic_auth", "form", "postform"})
"""Conditions that Envoy cannot test, so that it asks this process."""

_MOST_WAYS: Final = 100


class Test(msgspec.Struct, frozen=True):
    """A test of one request header. It fails if the header is missing.

    Attributes:
        header: lower-case name of the header.
        exact: the text to which the value must be equal, if there is such a text.
        regex: otherwise, the regex that the value must match; ``""`` if the header need only exist.
        nullable: whether an empty value passes.

    """

    __test__ = False  # not a test for pytest to collect

    header: str
    exact: str = ""
    regex: str = ""
    nullable: bool = False


TestResult = tuple[Test, bool]
"""A test, and the result that it must have."""

Ways = tuple[tuple[TestResult, ...], ...]
"""Alternatives, each a set of tests that must all hold. Without alternatives: never. One without tests: always."""

_ALWAYS: Final[Ways] = ((),)
_NEVER: Final[Ways] = ()


class Changes(msgspec.Struct, frozen=True):
    """Changes that earlier commands have made to the request.

    Attributes:
        headers: lower-case names of changed headers.
        rewrite: the prefix of the path and what replaced it; ``None`` if the path is as it was sent.
        query: whether the query has changed.

    """

    headers: frozenset[str] = frozenset()
    rewrite: tuple[str, str] | None = None
    query: bool = False


def ways(condition: Condition, known: Mapping[Test, bool], alias: str, changes: Changes) -> Ways:
    """Return the combinations of tests for which a condition holds.

    Args:
        condition: the condition.
        known: tests whose result is known.
        alias: the alias of the route.
        changes: what earlier commands have changed.

    Raises:
        RuleError: Envoy cannot do a test, or there are too many combinations.

    """
    found: Ways = _ALWAYS
    for part in condition:
        alternatives: list[tuple[TestResult, ...]] = []
        for check in part:
            alternatives.extend(_check(check, alias, changes))
        found = _product(found, _reduced(alternatives, known))
    return found


def _reduced(alternatives: Iterable[tuple[TestResult, ...]], known: Mapping[Test, bool]) -> Ways:
    kept: dict[tuple[TestResult, ...], None] = {}
    for tests in alternatives:
        if any(known.get(test, wanted) is not wanted for test, wanted in tests):
            continue
        left = tuple(it for it in tests if it[0] not in known)
        if not left:
            return _ALWAYS
        kept[left] = None
    return tuple(kept)


def _product(left: Ways, right: Ways) -> Ways:
    found: dict[tuple[TestResult, ...], None] = {}
    for a in left:
        for b in right:
            both = all_of(a, b)
            if both is not None:
                found[both] = None
    if len(found) > _MOST_WAYS:
        raise RuleError(f"a condition has more than {_MOST_WAYS} combinations of tests", "write fewer alternatives")
    return tuple(found)


def all_of(*groups: Iterable[TestResult]) -> tuple[TestResult, ...] | None:
    """Return tests that must all hold, each once; ``None`` if they contradict one another."""
    found: dict[Test, bool] = {}
    for group in groups:
        for test, wanted in group:
            if found.setdefault(test, wanted) is not wanted:
                return None
    return tuple(found.items())


@lru_cache(maxsize=1024)
def _made(check: Check, alias: str) -> Test | bool:
    """Return the test for a check, or its result if that is the same for all requests."""
    maker = _MAKERS.get(check.subject)
    if maker is None:
        raise RuleError(f"the condition {check.subject} is a GoDoxy feature that pilotage does not support")
    try:
        return maker(check, alias)
    except ValueError as error:
        raise RuleError(f"the condition {check.subject} cannot be applied: {error}") from None


def _check(check: Check, alias: str, changes: Changes) -> Ways:
    found = _made(check, alias)
    if isinstance(found, bool):
        return _ALWAYS if found is not check.negate else _NEVER
    if check.subject == "query" and changes.query:
        raise RuleError("a rule tests the query after an earlier command has changed it", "test it in an earlier rule")
    if found.header in changes.headers:
        what = f"a rule tests the header {found.header} after an earlier command has changed it"
        raise RuleError(what, "test it in an earlier rule")
    if check.subject == "proto" and check.value in _VERSIONS:
        return _version(check)
    if check.subject == "path" and changes.rewrite is not None:
        return _rewritten(check, found, *changes.rewrite)
    inverted = check.pattern is not None and check.pattern.negate and check.subject not in ASKED
    if inverted and check.subject in ("header", "query", "cookie"):
        there = _exists(check)
        holds: Ways = (((there, True), (found, False)),)
        fails: Ways = (((there, False),), ((found, True),))
    else:
        holds, fails = ((((found, True),),), _failing(check, found))
        holds, fails = (fails, holds) if inverted else (holds, fails)
    return fails if check.negate else holds


def _rewritten(check: Check, unchanged: Test, old: str, new: str) -> Ways:
    """Return the ways in which a path passes after a rewrite: ``old`` was replaced, or the path is unchanged."""
    wanted = _pattern(check).negate is check.negate
    changed = _moved(_pattern(check), old, new)
    begins = starts_with(old)
    return (((begins, True), (changed, wanted)), ((begins, False), (unchanged, wanted)))


@lru_cache(maxsize=1024)
def _moved(pattern: Pattern, old: str, new: str) -> Test:
    try:
        return Test(":path", regex=rewritten_path_regex(pattern, old, new))
    except ValueError as error:
        raise RuleError(f"the condition path cannot be applied after rewrite: {error}") from None


def starts_with(prefix: str) -> Test:
    """Return the test for paths that begin with a text."""
    return Test(":path", regex=f"(?s){prefix_regex(prefix)}.*")


def _failing(check: Check, test: Test) -> Ways:
    """Return how a test can fail. Envoy takes a missing header for an empty one; another test separates these cases."""
    if test.nullable and test.regex:
        there = _exists(check)
        return (((there, False),), ((there, True), (test, False)))
    return (((test, False),),)


def _exists(check: Check) -> Test:
    if check.subject == "header":
        return Test(check.key.lower(), nullable=True)
    made = _MAKERS[check.subject](msgspec.structs.replace(check, pattern=None), "")
    assert isinstance(made, Test)  # noqa: S101
    return made


def _header(check: Check, _alias: str) -> Test:
    name = check.key.lower()
    if check.pattern is None:
        return Test(name, nullable=True)
    return Test(name, regex=header_regex(name, check.pattern), nullable=is_nullable(check.pattern))


def _pattern(check: Check) -> Pattern:
    assert check.pattern is not None  # noqa: S101
    return check.pattern


def _route(check: Check, alias: str) -> bool:
    return matches(_pattern(check), alias)


def _protocol(check: Check, _alias: str) -> Test | bool:
    if check.value == "h3":
        return False  # the gateway has no HTTP/3
    scheme = _VERSIONS[check.value][0] if check.value in _VERSIONS else check.value
    return Test("x-forwarded-proto", exact=scheme)


_VERSIONS: Final = {
    "h1": ("http", Test(PROTOCOL_HEADER, regex=r"HTTP/1\.[01]")),
    "h2": ("https", Test(PROTOCOL_HEADER, exact="HTTP/2")),
    "h2c": ("http", Test(PROTOCOL_HEADER, exact="HTTP/2")),
}
"""Condition ``proto`` -> the scheme and the test of the HTTP version. As in GoDoxy, ``h1`` means plain HTTP only."""


def _version(check: Check) -> Ways:
    scheme, (_, version) = Test("x-forwarded-proto", exact=_VERSIONS[check.value][0]), _VERSIONS[check.value]
    if check.negate:
        return (((scheme, False),), ((scheme, True), (version, False)))
    return (((scheme, True), (version, True)),)


def check_id(check: Check) -> str:
    """Return the identifier of a check in :data:`RESULTS_HEADER`, whether or not the check is inverted."""
    plain = msgspec.structs.replace(check, negate=False)
    return hashlib.blake2b(repr(plain).encode(), digest_size=8).hexdigest()


def _asked(check: Check, _alias: str) -> Test:
    return Test(RESULTS_HEADER, regex=f"(?:.*,)?{check_id(check)}(?:,.*)?")


def asked_checks(condition: Condition) -> tuple[Check, ...]:
    """Return the checks of a condition about which Envoy asks this process."""
    return tuple(
        msgspec.structs.replace(check, negate=False) for part in condition for check in part if check.subject in ASKED
    )


_MAKERS: Final[dict[str, Callable[[Check, str], Test | bool]]] = {
    "header": _header,
    "query": lambda it, _: Test(":path", regex=query_regex(it.key, it.pattern)),
    "cookie": lambda it, _: Test("cookie", regex=cookie_regex(it.key, it.pattern)),
    "method": lambda it, _: Test(":method", exact=it.value),
    "host": lambda it, _: Test(":authority", regex=host_regex(_pattern(it))),
    "path": lambda it, _: Test(":path", regex=path_regex(_pattern(it))),
    "remote": lambda it, _: Test(ADDRESS_HEADER, regex=network_regex(it.value)),
    "route": _route,
    "proto": _protocol,
    **dict.fromkeys(ASKED, _asked),
}


def needs_address(condition: Condition) -> bool:
    """Return whether a condition tests the client's address or HTTP version."""
    return any(
        check.subject == "remote" or (check.subject == "proto" and check.value in _VERSIONS)
        for part in condition
        for check in part
    )
