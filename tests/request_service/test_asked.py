from __future__ import annotations

from envoy.service.auth.v3 import external_auth_pb2

from pilotage.request_service.asked import read_check


def test_a_check_becomes_a_request_with_its_origin_and_path() -> None:
    check = external_auth_pb2.CheckRequest(
        attributes={
            "context_extensions": {"service": "oidc", "route": "route/app"},
            "source": {"address": {"socket_address": {"address": "192.0.2.7"}}},
            "request": {
                "http": {
                    "method": "GET",
                    "host": "app.example.com:8443",
                    "path": "/a?b=c",
                    "scheme": "http",
                    "headers": {"X-Forwarded-Proto": "https", "accept": "text/html"},
                }
            },
        }
    )
    asked = read_check(check)
    assert (asked.service, asked.route, asked.client) == ("oidc", "route/app", "192.0.2.7")
    assert (asked.origin, asked.path_only, asked.query) == ("https://app.example.com:8443", "/a", "b=c")
    assert asked.headers["x-forwarded-proto"] == "https"


def test_a_client_without_https_is_not_secure() -> None:
    check = external_auth_pb2.CheckRequest(
        attributes={"request": {"http": {"host": "app", "path": "/", "scheme": "http"}}}
    )
    assert read_check(check).origin == "http://app"
