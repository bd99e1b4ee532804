from __future__ import annotations

import pytest

from pilotage.core.problems import Problem


@pytest.mark.parametrize(
    ("problem", "text"),
    [
        (Problem(message="wrong"), "wrong"),
        (Problem(message="wrong", hint="fix it"), "wrong; fix it"),
        (Problem(message="wrong", file="p.yml", line=3, column=5, path="a.b"), "p.yml:3:5: a.b: wrong"),
        (Problem(message="wrong", file="p.yml"), "p.yml: wrong"),
        (Problem(message="wrong", provider="local", container="web"), "local/web: wrong"),
        (Problem(message="wrong", provider="local"), "local: wrong"),
        (Problem(message="wrong", container="web", label="proxy.web", path="x"), "web: proxy.web: x: wrong"),
        (
            Problem(message="wrong", container="web", label="proxy.web", path="x", line=2, column=4),
            "web: proxy.web: x (line 2, column 4): wrong",
        ),
        (Problem(message="wrong", label="proxy.web", line=2, column=4), "proxy.web: line 2, column 4: wrong"),
        (Problem(message="wrong", container="web", route="app"), "web: route app: wrong"),
        (Problem(message="wrong", container="web", route="web"), "web: wrong"),
    ],
)
def test_a_problem_reads_from_its_outermost_place_to_its_remedy(problem: Problem, text: str) -> None:
    assert str(problem) == text


def test_at_sets_the_outer_place_and_keeps_the_rest() -> None:
    problem = Problem(message="wrong", label="proxy.a", container="web").at(provider="local", route="a")
    assert problem == Problem(message="wrong", label="proxy.a", container="web", provider="local", route="a")
    assert problem.at(container="") == Problem(message="wrong", label="proxy.a", provider="local", route="a")


def test_a_problem_shows_as_one_printable_line_whatever_labels_hold() -> None:
    problem = Problem(message="bad", label="proxy.\x1b[31m\n", container="a\u2028b", hint="write\tx")
    assert str(problem) == "a\\u2028b: proxy.\\x1b[31m\\n: bad; write\\tx"


def test_a_problem_gets_the_parts_of_its_place_that_are_given() -> None:
    placed = Problem(message="wrong", route="old", path="x").at(provider="local", container="web", label="proxy.web")
    assert placed == Problem(
        message="wrong", provider="local", container="web", route="old", label="proxy.web", path="x"
    )
    assert placed.at(route="") == Problem(
        message="wrong", provider="local", container="web", label="proxy.web", path="x"
    )


def test_long_texts_are_cut_wherever_they_come_from() -> None:
    long = "x" * 10_000
    problem = Problem(message=long, hint=long, value=long, provider=long, container=long, label=long, path=long)
    assert {len(problem.message), len(problem.hint), len(problem.value)} == {2_000}
    assert len(str(problem)) < 5_000
    assert len(Problem(message="bad", container="web", route=long).place) < 300
    assert Problem(message="bad", label=long).label == long


@pytest.mark.parametrize("name", ["provider", "container", "route", "label", "path"])
def test_a_long_name_in_its_place_is_shown_cut_but_kept_whole(name: str) -> None:
    problem = Problem(message="m", **{name: "n" * 20_000})  # type: ignore[arg-type]
    assert getattr(problem, name) == "n" * 20_000
    assert getattr(problem.shown, name) == "n" * 199 + "…"
    short = Problem(message="m", **{name: "n" * 200})  # type: ignore[arg-type]
    assert short.shown is short
