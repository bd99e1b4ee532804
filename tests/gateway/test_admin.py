from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from pilotage.core.errors import GatewayError
from pilotage.gateway.admin import AdminClient

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
async def responses(tmp_path: Path) -> AsyncIterator[dict[str, str]]:
    """An admin interface on ``admin.sock`` that answers paths with these bodies."""
    bodies: dict[str, str] = {}

    async def answer(request: web.Request) -> web.Response:
        body = bodies.get(request.path)
        return web.Response(text=body) if body is not None else web.Response(status=503)

    app = web.Application()
    app.router.add_route("*", "/{any:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.UnixSite(runner, str(tmp_path / "admin.sock")).start()
    yield bodies
    await runner.cleanup()


async def test_envoy_is_ready_when_it_answers_with_200(responses: dict[str, str], tmp_path: Path) -> None:
    admin = AdminClient(tmp_path / "admin.sock", 5)
    assert not await admin.is_ready()
    responses["/ready"] = "LIVE"
    assert await admin.is_ready()


async def test_the_version_is_the_second_part_of_the_build_version(responses: dict[str, str], tmp_path: Path) -> None:
    responses["/server_info"] = json.dumps({"version": "5fb1/1.40.0/Clean/RELEASE/BoringSSL", "state": "LIVE"})
    assert await AdminClient(tmp_path / "admin.sock", 5).version() == "1.40.0"


@pytest.mark.parametrize("body", ["", "{}", '{"version": 1}', '{"version": "unknown"}'])
async def test_an_unknown_version_is_empty(responses: dict[str, str], body: str, tmp_path: Path) -> None:
    responses["/server_info"] = body
    assert await AdminClient(tmp_path / "admin.sock", 5).version() == ""


async def test_active_requests_do_not_include_those_to_the_admin_interface(
    responses: dict[str, str], tmp_path: Path
) -> None:
    responses["/stats/prometheus"] = """
# TYPE envoy_http_downstream_rq_active gauge
envoy_http_downstream_rq_active{envoy_http_conn_manager_prefix="admin"} 1
envoy_http_downstream_rq_active{envoy_http_conn_manager_prefix="http"} 2
# TYPE envoy_tcp_downstream_cx_active gauge
envoy_tcp_downstream_cx_active{envoy_tcp_prefix="admin"} 3
"""
    assert await AdminClient(tmp_path / "admin.sock", 5).active() == 5


async def test_statistics_come_from_the_path_that_takes_envoy_little_time(
    responses: dict[str, str], tmp_path: Path
) -> None:
    responses["/stats/prometheus"] = """
envoy_listener_clients_refused{envoy_listener_address="127.0.0.1_80"} 3
envoy_overload_pressure{} 7
envoy_http_downstream_rq_time_bucket{le="0.5"} 1.5
"""
    assert await AdminClient(tmp_path / "admin.sock", 5).stats("^overload") == {
        'envoy_listener_clients_refused{envoy_listener_address="127.0.0.1_80"}': 3,
        "envoy_overload_pressure{}": 7,
    }


async def test_a_missing_envoy_is_a_gateway_error(tmp_path: Path) -> None:
    with pytest.raises(GatewayError, match="Envoy does not respond"):
        await AdminClient(tmp_path / "admin.sock", 5).get("/clusters")
