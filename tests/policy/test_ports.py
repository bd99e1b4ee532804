from __future__ import annotations

import pytest

from pilotage.policy.ports import in_ranges, parse_range, show_ranges


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("9000", (9000, 9000)),
        (" 9000 - 9100 ", (9000, 9100)),
        ("1-65535", (1, 65535)),
        ("0", None),
        ("9-8", None),
        ("65536", None),
        ("-1", None),
        ("9000-", None),
        ("http", None),
    ],
)
def test_a_range_has_two_ends_or_one_number(text: str, expected: tuple[int, int] | None) -> None:
    assert parse_range(text) == expected


def test_both_ends_belong_to_a_range() -> None:
    ranges = ((9000, 9100), (9443, 9443))
    assert [in_ranges(port, ranges) for port in (8999, 9000, 9100, 9101, 9443)] == [False, True, True, False, True]
    assert show_ranges(ranges) == "9000-9100, 9443"
