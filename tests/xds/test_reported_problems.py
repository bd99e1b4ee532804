from __future__ import annotations

import pytest

from pilotage.core.problems import Problem
from pilotage.xds.reported_problems import ReportedProblems

A, B = Problem(message="a"), Problem(message="b")


@pytest.fixture
def reported() -> list[tuple[list[Problem], list[Problem]]]:
    return []


@pytest.fixture
def problems(reported: list[tuple[list[Problem], list[Problem]]]) -> ReportedProblems:
    found = ReportedProblems()
    found.listener = lambda added, gone: reported.append((added, gone))
    return found


def test_new_and_resolved_problems_are_reported_once(
    problems: ReportedProblems, reported: list[tuple[list[Problem], list[Problem]]]
) -> None:
    problems.report("route/a", [A])
    problems.report_changes()
    problems.report_changes()
    problems.report("route/a", [B])
    problems.report_changes()
    assert reported == [([A], []), ([B], [A])]
    assert problems == {"route/a": (B,)}


def test_what_changes_back_before_it_is_reported_is_no_news(
    problems: ReportedProblems, reported: list[tuple[list[Problem], list[Problem]]]
) -> None:
    problems.report("route/a", [A])
    problems.report("route/a", [])
    problems.report_changes()
    assert reported == []
    assert problems == {}


def test_a_problem_that_moves_to_another_source_is_no_news(
    problems: ReportedProblems, reported: list[tuple[list[Problem], list[Problem]]]
) -> None:
    problems.report("route/a", [A])
    problems.report_changes()
    problems.report("route/a", [])
    problems.report("made/a", [A])
    problems.report_changes()
    assert reported == [([A], [])]


def test_a_successor_reports_only_the_differences(
    problems: ReportedProblems, reported: list[tuple[list[Problem], list[Problem]]]
) -> None:
    problems.report("route/a", [A])
    problems.report_changes()
    successor = ReportedProblems()
    successor.report("route/a", [A])
    successor.report("route/b", [B])
    successor.follow(problems)
    successor.report_changes()
    assert reported == [([A], []), ([B], [])]


def test_changes_without_a_listener_are_not_reported_later() -> None:
    found = ReportedProblems()
    found.report("route/a", [A])
    found.report_changes()
    reported: list[list[Problem]] = []
    found.listener = lambda added, _: reported.append(added)
    found.report_changes()
    assert reported == []


def test_the_listener_hears_of_problems_that_others_reported_and_that_are_resolved() -> None:
    heard: list[object] = []
    problems = ReportedProblems()
    problems.resolve([Problem(message="odd")])
    problems.listener = lambda *lists: heard.append(lists)
    problems.resolve([])
    problems.resolve([Problem(message="odd")])
    assert heard == [([], [Problem(message="odd")])]
