from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from pilotage.routes.port_syntax import PortPair
from pilotage.routes.schema import LoadBalance
from pilotage.table.table import Table
from pilotage.xds.table_problems import problems_of_table
from tests.support.gateway import route

if TYPE_CHECKING:
    import pytest

    from pilotage.routes.route import Route


def found(*routes: Route) -> list[tuple[str, str, bool]]:
    """Return the alias, path and ``refused`` of each problem."""
    problems = problems_of_table(Table({it.alias: it for it in routes}))
    return [(it.route, it.path, it.refused) for it in problems]


def test_of_two_routes_on_a_port_the_second_is_refused() -> None:
    first = route("first", 1, scheme="tcp", port=PortPair(7001, 1), created=1)
    assert found(first) == []
    assert found(first, route("second", 2, port=PortPair(7001, 2), created=2)) == [("second", "port", True)]


def test_a_member_that_differs_from_its_pool_is_refused() -> None:
    pool = LoadBalance(link="shop")
    members = route("a", 1, load_balance=pool, created=1), route("b", 2, load_balance=pool, scheme="https", created=2)
    assert found(*members) == [("b", "load_balance.link", True)]


def test_a_route_whose_auth_service_is_not_served_is_refused() -> None:
    guarded = route("app", 1, middlewares={"forwardauth": {"route": "login"}})
    assert found(guarded) == [("app", "middlewares.forwardauth", True)]
    assert found(guarded, route("login", 2, excluded=True)) == [("app", "middlewares.forwardauth", True)]
    assert found(guarded, route("login", 2)) == []


def test_routes_that_depend_on_no_other_need_no_envoy_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pilotage.xds.snapshot", None)
    plain = route("app", 1, middlewares={"redirect_http": None})
    assert found(plain) == []
    # Without these packages, nothing can be served, and so nothing is refused.
    assert found(plain, route("db", 2, scheme="tcp", port=PortPair(7001, 2))) == []
