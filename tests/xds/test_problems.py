from __future__ import annotations

from pilotage.xds.backend import route_backend
from pilotage.xds.problems import auth_route_not_served, build_failed, port_in_use
from tests.support.gateway import route


def test_each_problem_names_its_route_and_a_remedy() -> None:
    app, other = route("app", 80), route("other", 81)
    backends = route_backend(app), route_backend(other)
    problems = [
        build_failed(app, ValueError("odd")),
        auth_route_not_served(app, "auth"),
        port_in_use(*backends, "tcp/0.0.0.0:2222", "which is older"),
    ]
    assert {problem.route for problem in problems} == {"app"}
    assert all(problem.hint for problem in problems)
    assert [problem.path for problem in problems] == ["", "middlewares.forwardauth", "port"]
    assert problems[2].message == "tcp port 0.0.0.0:2222 belongs to other, which is older"


def test_an_unexpected_error_does_not_quote_secrets() -> None:
    app = route("app", 80, middlewares={"request": {"set_headers": {"X-Key": "canary-1"}}})
    assert "canary" not in build_failed(app, ValueError("odd value 'canary-1'")).message
