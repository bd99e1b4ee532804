from __future__ import annotations

from pilotage.xds.backend import route_backend
from pilotage.xds.body_filter import BACKEND, BODY_FILTER, body_filter, body_settings
from tests.support.gateway import route


def test_only_routes_that_change_bodies_use_the_filter() -> None:
    assert body_settings(route_backend(route("app", 80))) == {}
    changed = body_settings(route_backend(route("app", 80, middlewares={"themed": {"theme": "dark"}})))
    assert set(changed) == {BODY_FILTER}
    assert f"{BACKEND}" in str(changed[BODY_FILTER].value)


def test_responses_pass_without_the_control_plane() -> None:
    assert body_filter("pilotage").failure_mode_allow
