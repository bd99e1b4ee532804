from __future__ import annotations

from pilotage.xds.rule_matchers import header_matchers
from pilotage.xds.rule_tests import ADDRESS_HEADER, Test


def test_tests_become_matchers_and_an_unknown_address_passes_none() -> None:
    address = Test(ADDRESS_HEADER, regex="4:.*")
    exact, missing, unknown = header_matchers(
        [(Test(":method", exact="GET"), True), (Test(":method", exact="POST"), False), (address, False)]
    )
    assert (exact.string_match.exact, exact.invert_match) == ("GET", False)
    assert (missing.invert_match, missing.treat_missing_header_as_empty) == (True, True)
    assert (unknown.invert_match, unknown.treat_missing_header_as_empty) == (True, False)
    (present,) = header_matchers([(Test("x-a", nullable=True), False)])
    assert (present.present_match, present.invert_match) == (True, True)
