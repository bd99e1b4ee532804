from __future__ import annotations

from pilotage.xds.auth_requests import ask_route
from pilotage.xds.auth_services import ForwardAuth
from pilotage.xds.middlewares import RoutePolicy


def test_an_auth_service_is_asked_through_its_own_cluster() -> None:
    settings = ask_route(ForwardAuth(route="login", path="/verify", headers=("x-user",)), RoutePolicy()).check_settings
    assert settings.http_service.server_uri.cluster == "route/login"
    assert b"/verify" in settings.http_service.SerializeToString()
