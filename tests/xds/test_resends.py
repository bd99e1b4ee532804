"""Scopes that Envoy has stored without serving them are served once they are sent again."""

from __future__ import annotations

import collections
from typing import TYPE_CHECKING, Any

import pytest
from envoy.config.route.v3 import scoped_route_pb2

from pilotage.xds import scoped_routes
from pilotage.xds.resends import Resends
from pilotage.xds.resources import SCOPE
from pilotage.xds.session import Session
from tests.support.gateway import route, target
from tests.support.session import Envoy as SimulatedEnvoy
from tests.support.session import cluster, hosts

if TYPE_CHECKING:
    from pilotage.routes.route import Route
    from pilotage.xds.backend import Backend
    from pilotage.xds.options import GatewayOptions
    from tests.xds.conftest import Envoy


def test_only_scopes_of_rejected_responses_are_marked_and_every_attempt_differs() -> None:
    resends = Resends()
    assert resends.mark("app", 1.0) == b""
    resends.rejected(["app", "web"])
    first = resends.mark("app", 1.0)
    resends.rejected(["app"])
    assert len({b"", first, resends.mark("app", 1.0)}) == 3
    assert resends.may_be_stored("app")
    assert not resends.may_be_stored("shop")
    resends.accepted("app")
    assert resends.mark("app", 1.0) == b""
    assert resends.mark("web", 1.0)


def test_after_an_earlier_session_scopes_are_marked_until_envoy_has_acknowledged_them() -> None:
    resends = Resends()
    resends.take_over()
    assert len({b"", resends.mark("app", 1.0), resends.mark("app", 2.0)}) == 3
    resends.accepted("app")
    resends.take_over()  # Envoy lists its resources of another type
    assert resends.mark("app", 3.0) == b""


def test_a_mark_changes_only_the_metadata() -> None:
    scope, resends = hosts("app", ("app.a", "1", "c"), ("app.b", "2", "")), Resends()
    resends.rejected(["app"])
    plain, marked = (
        scoped_route_pb2.ScopedRouteConfiguration.FromString(scope.body + mark)
        for mark in (b"", resends.mark("app", 1.0))
    )
    assert plain != marked
    marked.route_configuration.ClearField("metadata")
    assert plain == marked


def _simulated() -> SimulatedEnvoy:
    envoy = SimulatedEnvoy(cluster("c"), *(hosts(f"s{n}", (f"s{n}", "1", "c")) for n in range(20)))
    envoy.connect()
    envoy.run()
    return envoy


def _change(envoy: SimulatedEnvoy, version: str) -> None:
    envoy.change(*(hosts(f"s{n}", (f"s{n}", version, "c")) for n in range(20)))


def test_a_scope_that_was_stored_but_is_no_longer_wanted_is_removed() -> None:
    envoy = _simulated()
    envoy.bad = {("t9", "1")}
    envoy.change(hosts("t1", ("t1", "1", "c")), hosts("t9", ("t9", "1", "c")))
    envoy.round()
    assert "t1" in envoy.stored
    envoy.change(gone=((SCOPE, "t1"),))
    envoy.run()
    assert "t1" not in envoy.stored
    envoy.change(hosts("t1", ("t1", "1", "c")))
    envoy.run()
    assert envoy.hosts["t1"] == {"t1": "1"}


@pytest.mark.parametrize("rounds", [1, 2, 3])
def test_scopes_that_an_earlier_session_left_stored_are_served(rounds: int) -> None:
    envoy = _simulated()
    envoy.bad = {("s13", "2")}
    _change(envoy, "2")
    for _ in range(rounds):
        envoy.round()
    envoy.session = Session(envoy.should)
    envoy.session.now = 5.0
    envoy.connect()
    envoy.run()
    assert envoy.hosts == {f"s{n}": {f"s{n}": "503" if n == 13 else "2"} for n in range(20)}


@pytest.mark.parametrize("bad", [{0}, {7}, {19}, {3, 4, 11}], ids=["first", "middle", "last", "several"])
async def test_of_twenty_routes_that_are_added_at_once_envoy_serves_those_that_it_does_not_reject(
    envoy: Envoy, monkeypatch: pytest.MonkeyPatch, bad: set[int]
) -> None:
    real = scoped_routes._virtual_host

    def spoiled(backend: Backend, options: GatewayOptions) -> Any:
        host = real(backend, options)
        if backend.route.container == "bad":
            host.routes[0].match.safe_regex.regex = "("
        return host

    monkeypatch.setattr(scoped_routes, "_virtual_host", spoiled)

    def routes(port: int, bad: set[int]) -> list[Route]:
        headers = {"response": {"set_headers": {"X-A": "1"}}}  # no template is used
        return [
            route(f"s{n:02}", port, middlewares=headers, container="bad" if n in bad else "good") for n in range(20)
        ]

    async with target("one") as one, target("two") as two, envoy() as gw:

        async def found() -> dict[str, int]:
            answers = [await gw.ask(f"s{n:02}") for n in range(20)]
            return dict(collections.Counter(answer.by or str(answer.status) for answer in answers))

        await gw.publish(*routes(one.port, bad))
        assert await found() == {"one": 20 - len(bad), "503": len(bad)}
        await gw.publish(*routes(two.port, bad))
        assert await found() == {"two": 20 - len(bad), "503": len(bad)}
        await gw.publish(*routes(one.port, set()))
        assert await found() == {"one": 20}
        await gw.publish(*routes(two.port, bad))
        assert await found() == {"two": 20 - len(bad), "503": len(bad)}
