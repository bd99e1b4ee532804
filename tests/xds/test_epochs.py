"""Numbers for the names of clusters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pilotage.xds.epochs import Epochs

if TYPE_CHECKING:
    import pytest


def test_numbers_are_above_all_that_an_envoy_has_seen_even_if_the_clock_was_set_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = Epochs().next()
    monkeypatch.setattr("pilotage.xds.epochs.time.time", lambda: before - 86_400.0)
    epochs = Epochs()
    epochs.seen(before)
    epochs.seen(before - 5)
    assert epochs.next() == before + 1
    assert epochs.next() == before + 2


def test_a_number_that_no_control_plane_has_given_out_is_ignored() -> None:
    epochs = Epochs(7)
    epochs.seen(10**30)
    assert epochs.next() == 7
