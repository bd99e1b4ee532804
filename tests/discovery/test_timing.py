from __future__ import annotations

from pilotage import Timing
from tests.support.defaults import filled_by_default


def test_a_container_stays_draining_for_longer_than_engines_wait_before_they_kill() -> None:
    assert Timing().drain_grace > 10


def test_a_lost_connection_is_noticed_within_half_a_minute() -> None:
    assert Timing().silence + Timing().ping <= 30


def test_fields_are_empty_by_default_except_these() -> None:
    assert filled_by_default("discovery") == {
        "Timing.reconcile": 30.0,
        "Timing.silence": 15.0,
        "Timing.ping": 10.0,
        "Timing.drain_grace": 30.0,
        "Timing.first_pause": 0.5,
        "Timing.longest_pause": 30.0,
        "Timing.pause_after_session": 0.5,
        "Timing.lasting_session": 60.0,
    }
