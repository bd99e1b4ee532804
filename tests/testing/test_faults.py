from __future__ import annotations

from pilotage.testing.faults import Fault, due


def test_a_fault_affects_only_its_endpoint() -> None:
    fault = Fault("list")
    assert due([fault], "list") is fault
    assert due([fault], "events") is None


def test_a_fault_for_all_affects_every_endpoint() -> None:
    fault = Fault()
    assert due([fault], "list") is due([fault], "events") is fault


def test_a_fault_ends_after_its_number_of_requests() -> None:
    fault = Fault("list", times=2)
    assert [due([fault], "list") for _ in range(3)] == [fault, fault, None]


def test_the_earlier_of_two_faults_applies_first() -> None:
    first, second = Fault("list", times=1), Fault("*", times=1)
    assert [due([first, second], "list") for _ in range(3)] == [first, second, None]
