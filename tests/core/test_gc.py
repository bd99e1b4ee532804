from __future__ import annotations

import gc

import pytest

from pilotage.core.gc import gc_paused


def test_the_collector_rests_while_many_containers_are_read() -> None:
    with gc_paused(10_000):
        assert not gc.isenabled()
    assert gc.isenabled()


def test_the_collector_is_left_alone_for_a_few() -> None:
    with gc_paused(3):
        assert gc.isenabled()


def test_the_collector_comes_back_after_a_failure() -> None:
    with pytest.raises(RuntimeError), gc_paused(10_000):
        raise RuntimeError
    assert gc.isenabled()


def test_a_collector_that_somebody_switched_off_stays_off() -> None:
    gc.disable()
    try:
        with gc_paused(10_000):
            assert not gc.isenabled()
        assert not gc.isenabled()
    finally:
        gc.enable()
