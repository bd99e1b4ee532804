from __future__ import annotations

import pytest

from pilotage.core.problems import Problem
from pilotage.xds.reported_problems import ReportedProblems

A, B = Problem(message="a"), Problem(message="b")


@pytest.fixture
def told() -> list[tuple[list[Problem], list[Problem]]]:
    return []


@pytest.fixture
def problems(told: list[tuple[list[Problem], list[Problem]]]) -> ReportedProblems:
    found = ReportedProblems()
    found.listener = lambda added, gone: told.append((added, gone))
    return found


def test_new_and_resolved_problems_are_told_once(
    problems: ReportedProblems, told: list[tuple[list[Problem], list[Problem]]]
) -> None:
    problems.report("route/a", [A])
    problems.tell()
    problems.tell()
    problems.report("route/a", [B])
    problems.tell()
    assert told == [([A], []), ([B], [A])]
    assert problems == {"route/a": (B,)}


def test_what_changes_back_before_it_is_told_is_no_news(
    problems: ReportedProblems, told: list[tuple[list[Problem], list[Problem]]]
) -> None:
    problems.report("route/a", [A])
    problems.report("route/a", [])
    problems.tell()
    assert told == []
    assert problems == {}


def test_a_problem_that_moves_to_another_source_is_no_news(
    problems: ReportedProblems, told: list[tuple[list[Problem], list[Problem]]]
) -> None:
    problems.report("route/a", [A])
    problems.tell()
    problems.report("route/a", [])
    problems.report("made/a", [A])
    problems.tell()
    assert told == [([A], [])]


def test_a_successor_tells_only_the_differences(
    problems: ReportedProblems, told: list[tuple[list[Problem], list[Problem]]]
) -> None:
    problems.report("route/a", [A])
    problems.tell()
    successor = ReportedProblems()
    successor.report("route/a", [A])
    successor.report("route/b", [B])
    successor.follow(problems)
    successor.tell()
    assert told == [([A], []), ([B], [])]


def test_without_a_listener_nothing_is_told_later() -> None:
    found = ReportedProblems()
    found.report("route/a", [A])
    found.tell()
    told: list[list[Problem]] = []
    found.listener = lambda added, _: told.append(added)
    found.tell()
    assert told == []
