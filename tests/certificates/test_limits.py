from __future__ import annotations

import msgspec
import pytest

from pilotage.certificates.limits import Limits, registered_domain
from tests.support.certificates import CA, DAY


def test_the_same_names_are_certified_at_most_four_times_a_week() -> None:
    limits = Limits()
    for number in range(4):
        assert limits.wait(number, CA, ["a.example.com"], renewal=True) == (0.0, "")
        limits.record(number, CA, ["a.example.com"], renewal=True, issued=True)
    wait, why = limits.wait(4, CA, ["a.example.com"], renewal=True)
    assert wait == 7 * DAY - 4
    assert "same names" in why
    assert limits.wait(4, CA, ["b.example.com"], renewal=True) == (0.0, "")
    assert limits.wait(4, "https://other.example/dir", ["a.example.com"], renewal=True) == (0.0, "")
    assert limits.wait(7 * DAY + 5, CA, ["a.example.com"], renewal=True) == (0.0, "")


def test_new_names_below_one_domain_leave_room_for_renewals() -> None:
    limits = Limits()
    for number in range(40):
        limits.record(number, CA, [f"n{number}.example.com"], renewal=False, issued=True)
    wait, why = limits.wait(4 * 3600.0, CA, ["new.example.com"], renewal=False)
    assert wait > 6 * DAY
    assert "example.com" in why
    assert limits.wait(4 * 3600.0, CA, ["n1.example.com"], renewal=True) == (0.0, "")
    assert limits.wait(4 * 3600.0, CA, ["new.example.org"], renewal=False) == (0.0, "")


def test_failed_orders_count_for_the_account() -> None:
    limits = Limits()
    for number in range(100):
        limits.record(number, CA, [f"n{number}.test{number}.com"], renewal=False, issued=False)
    wait, why = limits.wait(100, CA, ["other.org"], renewal=True)
    assert 0 < wait <= 3 * 3600
    assert "3 hours" in why


def test_orders_survive_a_restart_except_those_in_the_future() -> None:
    limits = Limits()
    limits.record(1_000, CA, ["a.example.com"], renewal=False, issued=True)
    limits.record(10**9, CA, ["b.example.com"], renewal=False, issued=True)
    other = Limits()
    other.load(msgspec.json.decode(msgspec.json.encode(limits.dump())), 2_000.0)
    assert [order.names for order in other.dump()] == []  # the first was a week before the second
    limits = Limits()
    limits.record(1_000, CA, ["a.example.com"], renewal=False, issued=True)
    other.load(msgspec.to_builtins(limits.dump()), 2_000.0)
    assert [order.names for order in other.dump()] == [("a.example.com",)]
    with pytest.raises(msgspec.ValidationError):
        other.load([{"at": "x"}], 0.0)


def test_the_registered_domain_is_the_last_two_labels() -> None:
    assert registered_domain("*.shop.example.com") == "example.com"
    assert registered_domain("example.com") == "example.com"
