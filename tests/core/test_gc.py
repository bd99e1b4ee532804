from __future__ import annotations

import gc

import pytest

from pilotage.core.gc import gc_paused


def test_the_collector_is_off_while_many_containers_are_decoded() -> None:
    with gc_paused(10_000):
        assert not gc.isenabled()
    assert gc.isenabled()


def test_the_collector_stays_on_for_a_few_containers() -> None:
    with gc_paused(3):
        assert gc.isenabled()


def test_the_collector_comes_back_after_a_failure() -> None:
    with pytest.raises(RuntimeError), gc_paused(10_000):
        raise RuntimeError
    assert gc.isenabled()


def test_a_collector_that_was_off_stays_off() -> None:
    gc.disable()
    try:
        with gc_paused(10_000):
            assert not gc.isenabled()
        assert not gc.isenabled()
    finally:
        gc.enable()
