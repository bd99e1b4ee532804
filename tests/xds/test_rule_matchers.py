from __future__ import annotations

from pilotage.xds.rule_matchers import header_matchers
from pilotage.xds.rule_tests import ADDRESS_HEADER, HOST_HEADER, Test


def test_tests_become_matchers_and_an_unknown_address_passes_none() -> None:
    address = Test(ADDRESS_HEADER, regex="4:.*")
    exact, missing, unknown = header_matchers(
        [(Test(":method", exact="GET"), True), (Test(":method", exact="POST"), False), (address, False)],
        "app",
    )
    assert (exact.string_match.exact, exact.invert_match) == ("GET", False)
    assert (missing.invert_match, missing.treat_missing_header_as_empty) == (True, True)
    assert (unknown.invert_match, unknown.treat_missing_header_as_empty) == (True, False)
    (present,) = header_matchers([(Test("x-a", nullable=True), False)], "app")
    assert (present.present_match, present.invert_match) == (True, True)


def test_a_wildcard_tests_the_host_of_the_client() -> None:
    tests = [(Test(name, regex="a.*"), wanted) for name in (":authority", "host") for wanted in (True, False)]
    found = header_matchers(tests, "*.example.com")
    assert [(it.name, it.invert_match, it.treat_missing_header_as_empty) for it in found] == [
        (HOST_HEADER, False, False),
        (HOST_HEADER, True, False),
    ] * 2
    assert [it.name for it in header_matchers(tests, "app")] == [":authority"] * 2 + ["host"] * 2
