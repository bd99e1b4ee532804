from __future__ import annotations

from typing import Any

import msgspec
import pytest

from pilotage import build_routes
from pilotage.core.problems import Problem
from pilotage.routes.problems import identity, limited, place, unexpected, unique
from tests.support.summaries import container


def test_a_problem_is_placed_at_its_container_and_route() -> None:
    found = place(Problem(message="x"), container(), "shop")
    assert (found.provider, found.container, found.route) == ("local", "web", "shop")


def test_an_unexpected_exception_is_named_with_its_place_but_without_its_message() -> None:
    with pytest.raises(ValueError, match="canary") as caught:
        int("canary")
    message = unexpected(caught.value).message
    assert "ValueError in test_an_unexpected_exception" in message
    assert "canary" not in message


def test_after_a_hundred_problems_the_rest_is_counted() -> None:
    found = limited([Problem(message=str(n)) for n in range(103)], 2, container())
    assert len(found) == 101
    assert found[-1].message == "and 5 more problems with this container's labels"
    assert len(limited([Problem(message="x")], 0, container())) == 1


def test_an_error_in_a_wildcard_label_is_reported_once() -> None:
    first, second = (Problem(message="x", label="proxy.*.port", route=route) for route in ("a", "b"))
    assert unique([first, second], set()) == ([first], 0)
    assert unique([first], {identity(second, "b"), identity(second, "c")}) == ([first], 0)
    unlabelled = [Problem(message="x", route="a"), Problem(message="x", route="b")]
    assert unique(unlabelled, set()) == (unlabelled, 0)


def test_problems_that_were_not_placed_are_counted_once_each() -> None:
    kept, other = (Problem(message=text, label="proxy.*.port") for text in "xy")
    unplaced = {identity(problem, alias) for problem in (kept, other) for alias in "abc"}
    assert unique([kept], unplaced) == ([kept], 1)
    assert unique([kept], {identity(Problem(message="z"), alias) for alias in "abc"}) == ([kept], 3)


def test_exactly_a_hundred_problems_are_all_listed() -> None:
    problems = [Problem(message=str(n)) for n in range(100)]
    assert limited(problems, 0, container()) == tuple(problems)
    one_more = limited(problems, 1, container())
    assert one_more[:100] == tuple(problems)
    assert (one_more[100].message, one_more[100].provider, one_more[100].container) == (
        "and 1 more problem with this container's labels",
        "local",
        "web",
    )


@pytest.mark.parametrize("fields", [{"path": "b"}, {"message": "y"}, {"line": 2}, {"column": 2}, {"label": "b"}])
def test_problems_at_different_places_of_a_label_are_different(fields: dict[str, Any]) -> None:
    first = Problem(message="x", label="a", path="a", line=1, column=1)
    both = [first, msgspec.structs.replace(first, **fields)]
    assert unique(both, set()) == (both, 0)
    assert unique([first, first, *both], set()) == (both, 0)


def test_an_unexpected_exception_asks_for_a_report() -> None:
    problem = unexpected(ValueError("canary"))
    assert problem.message == "its labels cannot be processed, so it gets no routes: ValueError"
    assert problem.hint == "this is a bug in pilotage; please report it with the container's labels"


@pytest.mark.parametrize(
    ("labels", "is_reported"),
    [
        ({"proxy.idle_timeout": "5m", "proxy.exclude": "true"}, True),
        ({"proxy.idle_timeout": "-1s", "proxy.exclude": "true"}, False),
        ({"proxy.idle_timeout": "5m"}, False),
        ({"proxy.idle_timeout": "5m", "proxy.web.port": "nonsense"}, False),
    ],
)
def test_a_container_that_no_request_could_wake_is_reported(labels: dict[str, str], is_reported: bool) -> None:
    found = [
        problem for problem in build_routes(container("web", labels)).problems if "never sleeps" in problem.message
    ]
    assert len(found) == is_reported
    assert all((it.severity, it.label, it.container) == ("warning", "proxy.idle_timeout", "web") for it in found)
