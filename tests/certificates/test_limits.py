from __future__ import annotations

import msgspec
import pytest

from pilotage.certificates.limits import Limits, registered_domain
from tests.support.certificates import CA, DAY


def test_the_same_names_are_certified_at_most_four_times_a_week() -> None:
    limits = Limits()
    for number in range(4):
        assert limits.wait(number, CA, ["a.example.com"], renewal=True) == (0.0, "")
        limits.begin(number, CA, ["a.example.com"], renewal=True)()
    wait, why = limits.wait(4, CA, ["a.example.com"], renewal=True)
    assert wait == 7 * DAY - 4
    assert "same names" in why
    assert limits.wait(4, CA, ["b.example.com"], renewal=True) == (0.0, "")
    assert limits.wait(4, "https://other.example/dir", ["a.example.com"], renewal=True) == (0.0, "")
    assert limits.wait(7 * DAY + 5, CA, ["a.example.com"], renewal=True) == (0.0, "")


def test_certificates_for_a_day_are_renewed_for_weeks() -> None:
    limits, now = Limits(), 0.0
    for _ in range(40):
        now += DAY * 2 / 3
        assert limits.wait(now, CA, ["nas.lan"], renewal=True, lifetime=DAY) == (0.0, "")
        limits.begin(now, CA, ["nas.lan"], renewal=True)()
    for _ in range(4):
        limits.begin(now, CA, ["nas.lan"], renewal=True)()
    wait, why = limits.wait(now, CA, ["nas.lan"], renewal=True, lifetime=DAY)
    assert wait == 2 * DAY
    assert "twice their lifetime" in why


def test_new_names_below_one_domain_leave_room_for_renewals() -> None:
    limits = Limits()
    for number in range(40):
        limits.begin(number, CA, [f"n{number}.example.com"], renewal=False)()
    wait, why = limits.wait(4 * 3600.0, CA, ["new.example.com"], renewal=False)
    assert wait > 6 * DAY
    assert "example.com" in why
    assert limits.wait(4 * 3600.0, CA, ["n1.example.com"], renewal=True) == (0.0, "")
    assert limits.wait(4 * 3600.0, CA, ["new.example.org"], renewal=False) == (0.0, "")


def test_failed_orders_count_for_the_account() -> None:
    limits = Limits()
    for number in range(100):
        limits.begin(number, CA, [f"n{number}.test{number}.com"], renewal=False)
    wait, why = limits.wait(100, CA, ["other.org"], renewal=True)
    assert 0 < wait <= 3 * 3600
    assert "3 hours" in why


def test_orders_survive_a_restart_and_count_once_their_time_has_come() -> None:
    limits, other = Limits(), Limits()
    for _ in range(4):
        limits.begin(10 * DAY, CA, ["a.example.com"], renewal=True)()
    other.load(msgspec.json.decode(msgspec.json.encode(limits.dump())))
    assert other.wait(0, CA, ["a.example.com"], renewal=True) == (0.0, "")  # the clock is behind
    assert other.wait(10 * DAY, CA, ["a.example.com"], renewal=True)[0] == 7 * DAY
    with pytest.raises(msgspec.ValidationError):
        other.load([{"at": "x"}])


def test_the_registered_domain_is_the_last_two_labels() -> None:
    assert registered_domain("*.shop.example.com") == "example.com"
    assert registered_domain("example.com") == "example.com"
