from __future__ import annotations

import pytest

from pilotage.core.budget import Budget, BudgetError, container_budget


def test_a_used_up_budget_raises_from_then_on() -> None:
    budget = Budget("the labels have", values=3)
    budget.take(3)
    for _ in range(2):
        with pytest.raises(BudgetError, match="the labels have more than 3 values"):
            budget.take()


def test_a_text_that_does_not_fit_leaves_room_for_a_shorter_one() -> None:
    budget = Budget("the labels have", characters=10)
    with pytest.raises(BudgetError, match="the labels have more than 10 characters of YAML"):
        budget.take_yaml(11)
    budget.take_yaml(10)
    with pytest.raises(BudgetError):
        budget.take_yaml(1)


def test_problems_beyond_the_budget_are_counted_and_the_first_one_of_a_route_is_kept() -> None:
    budget = Budget(problems=2)
    assert [budget.take_problem() for _ in range(4)] == [True, True, False, False]
    assert budget.take_problem(is_first=True)
    assert budget.dropped == 2


def test_names_are_looked_up_once_and_only_while_the_budget_lasts() -> None:
    budget = Budget(suggestions=1)
    assert budget.nearest("prot", ("port", "host")) == "port"
    assert budget.nearest("prot", ("port", "host")) == "port"
    assert budget.nearest("hots", ("port", "host")) is None


def test_a_text_that_may_no_longer_be_searched_counts_as_holding_a_secret() -> None:
    budget = Budget(searches=10)
    assert not budget.holds_secret("harmless")
    assert budget.holds_secret("abc")
    assert Budget(searches=20).holds_secret("http://me:pw@host")
    assert Budget(searches=3).take_search(3)


def test_a_container_has_the_documented_budget() -> None:
    budget = container_budget()
    assert (budget.values, budget.characters, budget.problems, budget.suggestions) == (2_000, 262_144, 100, 20)
    assert budget.searches == 16_384


def test_a_message_is_cleaned_each_time_however_many_others_there_were() -> None:
    budget = Budget()
    for number in [*range(200), *range(200)]:
        assert budget.clean(f"http://me:pw{number}@host is wrong") == budget.clean("http://me:pw@host is wrong")
