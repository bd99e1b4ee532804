from __future__ import annotations

from pilotage.xds.asset_routes import asset_routes
from pilotage.xds.backend import route_backend
from pilotage.xds.options import GatewayOptions
from tests.support.gateway import route

PAGES = GatewayOptions(error_pages="/pages")


def test_only_routes_with_error_pages_serve_their_files() -> None:
    backend = route_backend(route("app", 80, middlewares={"error_page": None}))
    assert backend is not None
    (found,) = asset_routes(backend, PAGES)
    assert found.match.prefix == "/$gperrorpage/"
    assert found.direct_response.status == 404  # while this process is away
    assert asset_routes(backend, GatewayOptions()) == []
    plain = route_backend(route("app", 80))
    assert plain is not None
    assert asset_routes(plain, PAGES) == []
