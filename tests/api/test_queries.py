from __future__ import annotations

import pytest

from pilotage.api.history import ChangeFilter
from pilotage.api.queries import QueryError, read_change_filter, read_route_filter
from pilotage.api.routes import RouteFilter


def test_parameters_become_a_filter() -> None:
    query = {"state": "ready,failing", "engine": "local", "problem": "true", "text": "a b", "limit": "5", "after": "x"}
    assert read_route_filter(query) == RouteFilter(
        states=frozenset({"ready", "failing"}), engine="local", problem=True, text="a b", limit=5, after="x"
    )
    assert read_route_filter({"state": "", "container": "", "problem": "false"}) == RouteFilter(problem=False)
    assert read_change_filter({"since": "0", "route": "SHOP", "kind": "added removed"}) == ChangeFilter(
        alias="shop", kinds=frozenset({"added", "removed"})
    )


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"stat": "ready"}, "there is no parameter 'stat'; did you mean 'state'?"),
        ({"sort": "a"}, "there is no parameter 'sort'; the parameters are state, engine, "),
        ({"state": "redy"}, "state is 'redy'; did you mean 'ready'?"),
        ({"problem": "maybe"}, "problem is 'maybe'; write true or false"),
        ({"limit": "0"}, "limit is '0'; write a whole number from 1 to 1000"),
        ({"limit": "many"}, "limit is 'many'; write a whole number from 1 to 1000"),
        ({"text": "a " * 200}, "text has 400 characters; write at most 200"),
    ],
)
def test_a_wrong_parameter_is_named_with_what_to_write(query: dict[str, str], message: str) -> None:
    with pytest.raises(QueryError) as error:
        read_route_filter(query)
    assert str(error.value).startswith(message)


def test_a_version_is_a_whole_number() -> None:
    with pytest.raises(QueryError, match="since is '-1'; write a whole number of at least 0"):
        read_change_filter({"since": "-1"})
