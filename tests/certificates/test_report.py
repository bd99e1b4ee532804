from __future__ import annotations

from pilotage.certificates.report import problems_of
from pilotage.certificates.state import Failure


def test_names_that_failed_for_the_same_reason_are_one_problem() -> None:
    failure = Failure(1, 0.0, 60.0, "the CA could not connect", "check port 80")
    failures = {f"{letter}.example.com": failure for letter in "abcde"} | {
        "x.org": Failure(2, 0.0, 9.0, "no such zone")
    }
    first, second = problems_of((), failures, 0.0)
    assert str(first) == (
        "autocert: no certificate for a.example.com, b.example.com, c.example.com and 2 other names: "
        "the CA could not connect; check port 80"
    )
    assert "no such zone" in second.message


def test_the_folder_and_the_clock_are_problems() -> None:
    folder, clock = problems_of(["/var/lib/x: No space left on device"], {}, -7200.0)
    assert "No space left" in folder.message
    assert "2.0 hours ahead of" in clock.message
    assert "behind" in problems_of((), {}, 7200.0)[0].message
