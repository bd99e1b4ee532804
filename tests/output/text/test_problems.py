from __future__ import annotations

import io
from typing import TYPE_CHECKING

from pilotage.core.problems import Problem
from pilotage.output.console import Out
from pilotage.output.text.problems import print_problems
from tests.support.terminal import printed

if TYPE_CHECKING:
    from syrupy.assertion import SnapshotAssertion

    from pilotage.output.view import View


def test_problems(out: Out, example: View, snapshot: SnapshotAssertion) -> None:
    print_problems(out, example.table.problems)
    assert printed(out) == snapshot


def test_no_problems_take_no_line() -> None:
    out = Out(io.StringIO())
    print_problems(out, [])
    assert printed(out) == ""


def test_no_name_of_another_container_makes_a_problem_long() -> None:
    long = "n" * 20_000
    out = Out(io.StringIO())
    print_problems(out, [Problem(message="m", container=long, route=long, path=long)])
    assert len(printed(out)) < 1_000
