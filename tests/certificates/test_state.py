from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pilotage.certificates.errors import CertificateError, StorageError
from pilotage.certificates.state import State
from tests.support.certificates import CA, opened

if TYPE_CHECKING:
    from pathlib import Path


def test_failures_hold_names_back_for_longer_each_time() -> None:
    state = State()
    state.fail(["a.example.com"], CertificateError("no", retry_after=500), 0.0)
    assert state.held(499) == {"a.example.com"}
    assert state.held(501) == set()
    state.fail(["a.example.com"], CertificateError("no"), 501.0)
    assert state.failures["a.example.com"].count == 2
    assert state.failures["a.example.com"].until == 801.0
    state.succeed(["a.example.com", "b.example.com"])
    assert state.failures == {}


def test_failures_and_orders_survive_a_restart(tmp_path: Path) -> None:
    storage, state = opened(tmp_path), State()
    state.fail(["a.example.com"], CertificateError("no", "check DNS"), 1_000.0)
    state.limits.begin(1_000.0, CA, ["a.example.com"], renewal=False)
    state.save(storage)
    other = State()
    other.load(storage)
    assert other.failures == state.failures
    assert len(other.limits.dump()) == 1


def test_what_was_recorded_with_a_wrong_clock_holds_nothing_up(tmp_path: Path) -> None:
    storage, state = opened(tmp_path), State()
    state.fail(["a.example.com"], CertificateError("no"), 10**9)
    state.save(storage)
    other = State()
    other.load(storage)
    assert other.held(1_000.0) == set()
    assert other.held(10**9 + 1) == {"a.example.com"}  # the clock was right, and has been behind meanwhile


def test_a_damaged_file_is_an_error(tmp_path: Path) -> None:
    storage = opened(tmp_path)
    State().load(storage)
    for content in (b"{", b'{"failures": 3}', b"[" * 100_000):
        storage.write("state.json", content)
        with pytest.raises(StorageError, match="damaged"):
            State().load(storage)


def test_the_number_of_failures_is_limited() -> None:
    state = State()
    state.fail([f"n{number}.example.com" for number in range(10_100)], CertificateError("no"), 0.0)
    assert len(state.failures) == 10_000


def test_a_retry_keeps_the_count_and_what_the_ca_asked_for() -> None:
    state = State()
    state.fail(["a"], CertificateError("slow", retry_after=100.0), 1_000.0)
    assert state.failures["a"].closed_until == 1_100.0
    state.retry(["a", "b"], 1_010.0)
    assert state.held(1_010.0) == set()
    state.fail(["a"], CertificateError("no"), 1_010.0)
    assert (state.failures["a"].count, state.failures["a"].closed_until) == (2, 0.0)
