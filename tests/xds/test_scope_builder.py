"""Scopes of which one backend cannot be built."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pilotage.xds import scope_builder, scoped_routes
from pilotage.xds.backend import route_backend
from pilotage.xds.options import GatewayOptions
from pilotage.xds.scope_parts import split_hosts
from tests.support.gateway import route

if TYPE_CHECKING:
    import pytest


def test_a_backend_that_cannot_be_built_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    real = scoped_routes.scope

    def failing(label: str, backends: Any, options: GatewayOptions) -> Any:
        if any(backend.name == "app.bad" for backend in backends):
            raise ValueError("odd")
        return real(label, backends, options)

    monkeypatch.setattr(scope_builder, "scope", failing)
    backends = [route_backend(route(name, 80)) for name in ("app", "app.bad", "app.good")]
    made, (problem,) = scope_builder.build_scope("app", backends, GatewayOptions())
    assert made is not None
    assert [host.name for host in split_hosts(made)] == ["app", "app.good"]
    assert (problem.route, "odd" in problem.message) == ("app.bad", True)


def test_a_label_without_backends_has_no_scope() -> None:
    assert scope_builder.build_scope("app", [], GatewayOptions()) == (None, [])
