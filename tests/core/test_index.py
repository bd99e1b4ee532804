from __future__ import annotations

import pytest

from pilotage.core.index import Index
from tests.support.steps import same_cost, steps_of


def test_a_key_has_the_values_that_were_added() -> None:
    index: Index[str, str] = Index()
    assert index["a"] == set()
    assert "a" not in index
    index.add("a", "1")
    index.add("a", "1")
    assert index["a"] == {"1"}
    index.add("a", "2")
    index.add("a", "3")
    assert index["a"] == {"1", "2", "3"}
    assert "a" in index
    assert len(index) == 1


def test_a_key_is_gone_with_its_last_value() -> None:
    index: Index[str, str] = Index()
    for value in "123":
        index.add("a", value)
    assert not index.discard("a", "4")
    assert not index.discard("a", "1")
    assert not index.discard("a", "2")
    assert index["a"] == {"3"}
    assert not index.discard("a", "2")
    assert index.discard("a", "3")
    assert not index.discard("a", "3")
    assert len(index) == 0


def test_a_value_may_be_a_tuple() -> None:
    index: Index[str, tuple[str, str]] = Index()
    index.add("a", ("x", "y"))
    index.add("a", ("x", "z"))
    assert index["a"] == {("x", "y"), ("x", "z")}


def test_replace_returns_the_former_keys_without_values() -> None:
    index: Index[str, str] = Index()
    assert index.replace("1", (), ("a", "b", "c")) == []
    index.add("b", "2")
    assert index.replace("1", ("a", "b", "c"), ("c", "d")) == ["a"]
    assert {key: set(index[key]) for key in "abcd"} == {"a": set(), "b": {"2"}, "c": {"1"}, "d": {"1"}}


@pytest.mark.parametrize("shared", [True, False])
def test_a_change_costs_the_same_however_many_there_are(shared: bool) -> None:
    def cost(size: int) -> int:
        index: Index[int, int] = Index()
        for value in range(size):
            index.add(0 if shared else value, value)
        return steps_of(lambda: index.replace(1, (0 if shared else 1,), (size,)))

    assert same_cost(cost(10_000), cost(100))
