from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pilotage.routes.schema import LoadBalance
from pilotage.table.table import Table
from pilotage.xds.auth_routes import auth_checked, auth_problem, restricts_access, without_auth_route
from pilotage.xds.backend import route_backend
from pilotage.xds.options import GatewayOptions
from pilotage.xds.reported_problems import ReportedProblems
from pilotage.xds.resources import SCOPE
from pilotage.xds.snapshot import Snapshot
from tests.support.gateway import becomes, route, target

if TYPE_CHECKING:
    from pilotage.routes.route import Route
    from pilotage.xds.resources import Key

WHITELIST = {"middlewares": {"cidr_whitelist": {"allow": ["192.0.2.0/24"]}}}


def asking(name: str = "auth") -> dict[str, Any]:
    return {"middlewares": {"forwardauth": {"route": name, "auth_endpoint": "/ok"}}}


@pytest.mark.parametrize(
    ("fields", "restricts"),
    [({}, False), (WHITELIST, True), (asking(), True), ({"rules": "{ require_auth }"}, True)],
)
def test_a_route_that_restricts_access_approves_no_requests(fields: dict[str, Any], restricts: bool) -> None:
    auth = route("auth", 80, **fields)
    assert restricts_access(auth) is restricts
    problem = auth_problem(route("app", 81), "auth", auth)
    assert (problem is not None and "restricts access, too" in problem.message) is restricts


def test_a_route_with_the_same_client_certificates_approves_requests() -> None:
    auth = route("auth", 80, inbound_mtls_profile="staff")
    for profile, refused in (("staff", False), ("others", True), ("", True)):
        app = route("app", 81, inbound_mtls_profile=profile)
        assert (auth_problem(app, "auth", auth) is not None) is refused, profile


def test_a_route_that_is_not_served_approves_no_requests() -> None:
    problem = auth_problem(route("app", 81), "auth", None)
    assert problem is not None
    assert "not served" in problem.message
    assert not restricts_access(None)


def test_users_of_an_auth_route_hear_that_it_has_joined_a_pool() -> None:
    snapshot = Snapshot(GatewayOptions())
    auth, app = route("auth", 80), route("app", 81, **asking())
    snapshot.replace(Table({"auth": auth, "app": app}))
    assert "auth/route/app" not in snapshot.problems
    pooled = route("auth", 80, load_balance=LoadBalance(link="pool"))
    snapshot.change(Table({"auth": pooled, "app": app}, pool_members={"pool": ("auth",)}), ["auth"])
    assert "not served" in snapshot.problems["auth/route/app"][0].message


@pytest.mark.parametrize("fields", [WHITELIST, asking("other")])
@pytest.mark.parametrize("link", ["", "shop"])
def test_users_of_an_auth_route_hear_that_it_begins_or_ceases_to_restrict_access(
    fields: dict[str, Any], link: str
) -> None:
    snapshot = Snapshot(GatewayOptions())
    app = route("app", 81, **asking(), load_balance=LoadBalance(link=link))

    def change(auth: Route) -> frozenset[Key]:
        return snapshot.change(Table({"app": app, "auth": auth, "other": route("other", 82)}), ["auth"])

    snapshot.replace(Table({"app": app, "auth": route("auth", 80), "other": route("other", 82)}))
    before = dict(snapshot.resources)
    assert snapshot.problems == {}
    assert (SCOPE, link or "app") in change(route("auth", 80, **fields))
    (problem,) = (problem for found in snapshot.problems.values() for problem in found)
    assert problem.route == "app"
    assert "the route 'auth', which must approve them, restricts access, too" in problem.message
    assert (SCOPE, link or "app") in change(route("auth", 80))
    assert (snapshot.problems, snapshot.resources) == ({}, before)


def test_without_an_auth_route_no_cluster_is_asked() -> None:
    backend = without_auth_route(route_backend(route("app", 80, **asking())))
    assert backend.route_policy.auth is not None
    assert backend.route_policy.auth.route == "/"


async def test_forwardauth_does_not_get_round_a_whitelist(envoy: Any) -> None:
    async with target("admin") as admin, target("app") as app, envoy() as gw:
        open_admin, closed = route("admin", admin.port), route("admin", admin.port, **WHITELIST)
        evil = route("evil", app.port, **asking("admin"))

        async def answered() -> tuple[str, int]:
            answer = await gw.ask("evil")
            return answer.by, len(admin.seen)

        await gw.publish(closed, evil)
        assert await answered() == ("", 0)
        assert "restricts access, too" in gw.ads.problems[0].message
        await gw.publish(open_admin, evil)
        await becomes(lambda: _by(gw), "app")
        before = len(admin.seen)
        await gw.publish(closed, evil)  # a restriction that comes later counts, too
        await becomes(lambda: _by(gw), "")
        admin.seen.clear()
        assert await answered() == ("", 0)
        assert before


async def _by(gw: Any) -> str:
    found: str = (await gw.ask("evil")).by
    return found


def test_a_missing_auth_route_is_reported_until_it_is_there() -> None:
    problems = ReportedProblems()
    app, auth = route("app", 81, **asking()), route("auth", 80)
    backend = route_backend(app)
    assert auth_checked("route/app", backend, {}, problems) == without_auth_route(backend)
    assert [it.path for it in problems["auth/route/app"]] == ["middlewares.forwardauth"]
    assert auth_checked("route/app", backend, {"auth": auth}, problems) is backend
    assert list(problems) == []
