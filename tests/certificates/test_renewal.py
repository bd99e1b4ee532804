from __future__ import annotations

import pytest

from pilotage.certificates.renewal import back_off, jitter_of, renewal_time
from tests.support.certificates import DAY


@pytest.mark.parametrize(("days", "earliest", "latest"), [(90, 58.0, 60.0), (6, 3.8, 4.0)])
def test_certificates_are_renewed_at_two_thirds_of_their_lifetime(days: int, earliest: float, latest: float) -> None:
    for jitter in (0.0, 0.5, 1.0):
        assert earliest * DAY <= renewal_time(0, days * DAY, jitter) <= latest * DAY


def test_jitter_depends_only_on_the_serial_number() -> None:
    values = {jitter_of(f"{number * 2_654_435_761 % 2**64:x}") for number in range(100)}
    assert len(values) == 100
    assert all(0 <= value <= 1 for value in values)
    assert jitter_of("abc") == jitter_of("abc")
    assert jitter_of("") == 0


def test_failures_are_at_most_five_in_the_first_hour_and_daily_in_the_end() -> None:
    times, now = [0.0], 0.0
    for number in range(1, 12):
        now += back_off(number)
        times.append(now)
    assert sum(time < 3600 for time in times) <= 5
    assert back_off(11) == DAY


def test_a_ca_that_asks_to_wait_is_obeyed() -> None:
    assert back_off(1, retry_after=7200) == 7200
    assert back_off(8, retry_after=1) == DAY
