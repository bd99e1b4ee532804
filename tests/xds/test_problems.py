from __future__ import annotations

from typing import Any

from pilotage import Problem
from pilotage.xds.backend import route_backend
from pilotage.xds.problems import (
    auth_route_not_served,
    auth_route_restricted,
    build_failed,
    port_in_use,
    speaks_plain_http,
)
from tests.support.gateway import route


def test_each_problem_names_its_route_and_a_remedy() -> None:
    app, other = route("app", 80), route("other", 81)
    backends = route_backend(app), route_backend(other)
    problems = [
        build_failed(app, ValueError("odd")),
        auth_route_not_served(app, "auth", "forwardauth"),
        port_in_use(*backends, "tcp/0.0.0.0:2222", "which is older"),
    ]
    assert {problem.route for problem in problems} == {"app"}
    assert all(problem.hint for problem in problems)
    assert [problem.path for problem in problems] == ["", "middlewares.forwardauth", "port"]
    assert problems[2].message == "tcp port 0.0.0.0:2222 belongs to other, which is older"


def test_an_unexpected_error_does_not_quote_secrets() -> None:
    app = route("app", 80, middlewares={"request": {"set_headers": {"X-Key": "canary-1"}}})
    assert "canary" not in build_failed(app, ValueError("odd value 'canary-1'")).message


def test_each_problem_says_what_is_wrong_and_what_to_do() -> None:
    app, other = route("app", 80), route("other", 81)
    where: dict[str, Any] = {"provider": app.provider, "container": app.container, "route": "app"}
    assert build_failed(app, ValueError("odd")) == Problem(
        message="not served, because its Envoy configuration cannot be built: ValueError: odd",
        hint="look for an unusual value in its labels, and report this as a bug in pilotage",
        **where,
    )
    assert auth_route_not_served(app, "auth", "forwardauth") == Problem(
        message="all requests are rejected, because they must be approved by the route 'auth', which is not served",
        hint="start a container with the alias 'auth', or use another route",
        path="middlewares.forwardauth",
        **where,
    )
    assert auth_route_restricted(app, "auth", "forwardauth") == Problem(
        message="all requests are rejected, because the route 'auth', which must approve them, restricts access, too",
        hint="use a route without cidr_whitelist and forwardauth, because requests for approval bypass them",
        path="middlewares.forwardauth",
        **where,
    )
    assert port_in_use(route_backend(app), route_backend(other), "udp/0.0.0.0:53", "which is older") == Problem(
        message="udp port 0.0.0.0:53 belongs to other, which is older",
        hint="choose another listening port for app",
        path="port",
        refused=True,
        **where,
    )
    assert speaks_plain_http(app) == Problem(
        message="the target speaks plain HTTP, so requests are sent to it as http, not https",
        severity="warning",
        hint="set proxy.app.scheme: http, or let the target speak TLS",
        path="scheme",
        **where,
    )


def test_a_long_error_is_shortened() -> None:
    message = build_failed(route("app", 80), ValueError("x" * 200)).message
    assert message.endswith(f"ValueError: {'x' * 159}…")
