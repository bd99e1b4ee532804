from __future__ import annotations

from pilotage import Timing


def test_a_container_stays_draining_for_longer_than_engines_wait_before_they_kill() -> None:
    assert Timing().drain_grace > 10


def test_a_lost_connection_is_noticed_within_half_a_minute() -> None:
    assert Timing().silence + Timing().ping <= 30
