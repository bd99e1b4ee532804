from __future__ import annotations

from typing import Any

import pytest

from pilotage.routes.port_syntax import PortPair
from pilotage.xds.backend import Backend, route_backend
from pilotage.xds.frontends import Frontends, keys_of
from pilotage.xds.options import GatewayOptions
from pilotage.xds.resources import LISTENER, SCOPE
from tests.support.gateway import route


def backend(alias: str, listening: int = 0, **fields: Any) -> Backend:
    return route_backend(route(alias, 80, **{"port": PortPair(listening, 80), **fields}))


@pytest.mark.parametrize(
    ("made", "keys"),
    [
        (backend("app.example.com"), [(SCOPE, "app")]),
        (backend("app", bind="10.0.0.1"), [(SCOPE, "app")]),
        (backend("a*b"), []),
        (backend("db", 53, scheme="udp"), [(LISTENER, "udp/0.0.0.0:53")]),
        (backend("app", 8081, bind="::1"), [(SCOPE, "on.tcp/[::1]:8081"), (LISTENER, "tcp/[::1]:8081")]),
    ],
    ids=["full name", "address", "no host", "udp", "own port"],
)
def test_a_backend_has_a_scope_a_listener_or_both(made: Backend, keys: list[Any]) -> None:
    assert keys_of(made) == keys


def test_a_change_affects_the_scopes_and_ports_before_and_after_it() -> None:
    found, old, new = Frontends(), backend("app", 8081), backend("app", 8082, scheme="tcp")
    assert found.follow("route/app", None, old) == ({"on.tcp/0.0.0.0:8081"}, {"tcp/8081"})
    assert found.follow("route/app", old, new) == ({"on.tcp/0.0.0.0:8081"}, {"tcp/8081", "tcp/8082"})
    assert found.scope("on.tcp/0.0.0.0:8081", {}, GatewayOptions(), ()) == (None, [])
    assert found.listeners("tcp/8081", {}, GatewayOptions(), (), []) == ({}, [])
    made, problems = found.listeners("tcp/8082", {"route/app": new}, GatewayOptions(), (), [])
    assert (list(made), problems) == ([(LISTENER, "tcp/0.0.0.0:8082")], [])


def test_routes_that_share_a_port_share_its_scope_and_listener() -> None:
    found, known = Frontends(), {f"route/{name}": backend(name, 8081) for name in ("a", "b")}
    for key, each in known.items():
        found.follow(key, None, each)
    scope, _ = found.scope("on.tcp/0.0.0.0:8081", known, GatewayOptions(), ())
    made, _ = found.listeners("tcp/8081", known, GatewayOptions(), (), [])
    (listener,) = made.values()
    assert scope is not None
    assert listener is not None
    assert scope.answers == listener.answers == ("a", "b")
