from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pilotage.xds.path_patterns import refusing_routes
from tests.support.gateway import route, target

if TYPE_CHECKING:
    from tests.xds.conftest import Envoy


def test_a_route_without_patterns_has_no_further_routes() -> None:
    assert refusing_routes(()) == []


@pytest.mark.proves("path_patterns")
async def test_only_paths_and_methods_that_match_reach_the_target(envoy: Envoy) -> None:
    async with target() as it, envoy() as gw:

        async def statuses(*asked: str, **options: Any) -> list[int]:
            found = []
            for each in asked:
                method, _, path = each.rpartition(" ")
                answer = await gw.ask("app.example.com", path, method or "GET", **options)
                assert answer.by == ("target" if answer.status == 200 else "")
                found.append(answer.status)
            return found

        for options in ({}, {"max_conns_per_host": 9}, {"compression": True}):
            patterns = ("/public/", "/users/{id}/name", "GET /items/{id}", "POST /login", "/{$}")
            await gw.publish(route("app", it.port, path_patterns=patterns, **options))
            assert await statuses("/", "/public/", "/public/a?b=/x", "/items/5?x", "/?/public/") == [200] * 5
            assert await statuses("PURGE /public/a", "HEAD /items/5", "POST /login") == [200] * 3
            assert await statuses("/a", "/public/../a", "/items/5/6") == [404] * 3
            assert await statuses("/users/5", "/users/5/name", "/users/5?/name") == [404, 200, 404]
            assert await statuses("/login", "PUT /login", "POST /items/5", "DELETE /items/5") == [405] * 4
            assert (await gw.ask("app", "/login")).headers["Allow"] == "GET, HEAD, POST"
            redirect = await gw.ask("app", "/public?a=b")
            assert (redirect.status, redirect.headers["Location"]) == (301, "http://app/public/?a=b")
            # No target may find its way out of the folder.
            assert await statuses("/public/..%2fa", "/public/%2e%2e%2fa", "/public/..%5ca") in ([400] * 3, [403] * 3)
            assert await statuses("/PUBLIC/a", "/%70ublic/a") == [404, 200]
        # An unusual spelling of the host makes no difference.
        assert (await gw.ask("APP.example.com:80", "/a")).status == 404
        assert (await gw.ask("APP.example.com:80", "/public/a")).status == 200


@pytest.mark.parametrize("pattern", ["GET /", "/"])
async def test_a_pattern_for_everything(envoy: Envoy, pattern: str) -> None:
    async with target() as it, envoy() as gw:
        await gw.publish(route("app", it.port, path_patterns=(pattern,)))
        assert [(await gw.ask("app", "/any", method)).status for method in ("GET", "HEAD", "POST")] == [
            *(200, 200, 405 if pattern.startswith("GET") else 200),
        ]
