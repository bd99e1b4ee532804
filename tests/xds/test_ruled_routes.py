from __future__ import annotations

from typing import TYPE_CHECKING

from pilotage.xds.ruled_routes import RuledRoutes
from tests.support.gateway import route
from tests.xds.test_rule_budget import ruled

if TYPE_CHECKING:
    from pathlib import Path


def test_a_route_without_a_file_stays_as_it_is(tmp_path: Path) -> None:
    routes = RuledRoutes(1)
    for given in (route("app", 1), route("app", 1, rule_file="embed://webui.yml")):
        assert routes.read(given) == (given, ())
    _, problems = routes.read(route("app", 1, rule_file=f"{tmp_path}/missing"))
    assert (len(problems), routes.files.aliases) == (1, {"app"})
    routes.read(route("app", 1))
    assert routes.files.aliases == set()


def test_served_routes_keep_their_places_when_settings_change() -> None:
    before = RuledRoutes(1)
    served = [name for name in map(str, range(60)) if before.admit(name, ruled(name, size=40))[0] is not None]
    assert 0 < len(served) < 60
    after = RuledRoutes(1, before)
    assert after.admit("new", ruled("new", size=40))[0] is None
    assert all(after.admit(name, ruled(name, size=40))[0] is not None for name in served)
    after.admit(served[0], None)
    assert list(after.retry()) == ["new"]
