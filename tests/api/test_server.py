from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import aiohttp
import pytest

from pilotage.api.listen import Listen
from pilotage.api.openapi import document
from pilotage.api.server import Api
from pilotage.api.snapshot import SNAPSHOT_PATH, unpack
from pilotage.core.errors import ConfigError
from pilotage.routes.route import EndpointHealth
from pilotage.table.envoys import RouteState
from tests.support.api_server import check, serving
from tests.support.ports import free_port
from tests.support.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

    from pilotage.table.table import Table


async def test_the_api_serves_routes_containers_problems_and_engines() -> None:
    async with serving() as caller:
        routes = await caller.json("/v1/routes")
        assert routes["version"] == caller.source.discovery.table.version
        assert routes["routes"]["web"]["container"] == "web"
        assert routes["routes"]["web"]["stale_since"] is None
        containers = (await caller.json("/v1/containers"))["containers"]
        assert sorted(container["name"] for container in containers) == ["db", "web"]
        problems = (await caller.json("/v1/problems"))["problems"]
        assert {problem["label"] for problem in problems} == {"", "proxy.web.sheme"}
        assert problems[-1]["message"] == "of the configuration"
        (engine,) = (await caller.json("/v1/engines"))["engines"]
        assert (engine["name"], engine["state"], engine["containers"]) == ("local", "live", 2)


async def test_the_api_says_which_envoy_has_which_version_of_each_route() -> None:
    async with serving() as caller:
        found = await caller.json("/v1/envoys")
        assert found["version"] == caller.source.discovery.table.version
        assert found["routes"] == {"web": {"edge": {"state": "waiting", "version": 1}}}
        (edge,) = found["envoys"]
        assert (edge["node"], edge["connected"], edge["lag_s"], edge["waiting"]) == ("edge", True, 0.25, 2)


async def test_snapshots_name_what_envoys_have_only_if_asked(tmp_path: Path) -> None:
    async with serving(Listen(path=str(tmp_path / "api.sock"))) as caller:
        connector = aiohttp.UnixConnector(str(tmp_path / "api.sock"))
        async with aiohttp.ClientSession("http://pilotage", connector=connector) as session:
            for query, expected in (("", {}), ("?envoys", {"web": {"edge": RouteState("waiting", 1)}})):
                async with session.get(SNAPSHOT_PATH + query) as answer:
                    snapshot = unpack(await answer.read())
                assert snapshot is not None
                assert snapshot.on_envoys == expected
        assert caller.source.discovery.table.routes


async def test_routes_of_a_stale_engine_say_since_when() -> None:
    async with serving() as caller:
        await caller.engine.close()

        def table() -> Table:
            return caller.source.discovery.table

        await until(lambda: table().engines["local"].state == "stale")
        route = (await caller.json("/v1/routes"))["routes"]["web"]
        assert route["stale_since"] == table().engines["local"].since
        (engine,) = (await caller.json("/v1/engines"))["engines"]
        assert engine["state"] == "stale"
        assert engine["error"]


async def test_the_api_serves_explanations_and_corrects_unknown_names() -> None:
    async with serving() as caller:
        told = await caller.json("/v1/explain/web")
        assert told["containers"][0]["name"] == "web"
        error = await caller.json("/v1/explain/wep", 404)
        assert error == {"error": "no container or alias is called 'wep'", "hint": "did you mean 'web'?"}


async def test_the_api_serves_and_explains_routes_from_files(tmp_path: Path) -> None:
    file = tmp_path / "routes.yml"
    file.write_text("nas: {host: 10.0.0.9, port: 80}")
    async with serving() as caller:
        await caller.source.discovery.use_files([str(file)])
        assert (await caller.json("/v1/routes"))["routes"]["nas"]["target"] == "http://10.0.0.9:80"
        assert (await caller.json("/v1/explain/nas"))["files"]


async def test_responses_match_the_openapi_document() -> None:
    async with serving() as caller:
        address = caller.source.discovery.table.routes["web"].endpoints[0].address
        caller.source.discovery.set_health({"web": {address: EndpointHealth("pending", 5.0)}})
        promised = await caller.json("/openapi.json")
        assert promised == document()
        for path, methods in promised["paths"].items():
            operation = methods.get("get")  # tests of sleep send the others
            if operation is None or "text/event-stream" in operation["responses"]["200"]["content"]:
                continue
            status, body = await caller.raw(path.replace("{name}", "web"))
            if path == "/v1/certificates/root":
                assert status == 404  # there is no CA here
                continue
            assert status == 200, path
            content = operation["responses"]["200"]["content"]
            if "application/json" in content:
                check(json.loads(body), content["application/json"]["schema"], promised, path)


async def test_health_readiness_and_metrics() -> None:
    async with serving() as caller:
        assert await caller.raw("/healthz") == (200, b"ok\n")
        assert await caller.raw("/readyz") == (200, b"ready\n")
        assert (await caller.raw("/metrics"))[0] == 200
        assert await caller.raw("/metrics/envoy") == (200, b"envoy_up 1\n")
        caller.source.why = "Envoy has not accepted the first table yet"
        assert await caller.raw("/readyz") == (503, b"not ready: Envoy has not accepted the first table yet\n")
        assert await caller.json("/metrics/envoy", 503) == {"error": "Envoy does not respond", "hint": "wait"}
        assert (await caller.raw("/healthz"))[0] == 200


async def test_an_unknown_path_gets_a_404_with_a_hint() -> None:
    async with serving() as caller:
        error = await caller.json("/v2/routes", 404)
        assert error == {"error": "not found: GET /v2/routes", "hint": "GET / lists all paths"}
        assert "/v1/routes" in (await caller.json("/"))["paths"]
        async with caller.session.post(caller.url + "/v1/routes") as answer:
            assert answer.status == 403


async def test_an_internal_error_has_no_traceback(caplog: pytest.LogCaptureFixture) -> None:
    async with serving() as caller:
        caller.source.not_ready = None  # type: ignore[method-assign,assignment]
        error = await caller.json("/readyz", 500)
        assert error["error"] == "internal error; see pilotage's log"
    assert "request GET /readyz failed" in caplog.text


# ---- who may ask


async def test_web_pages_cannot_ask_by_pointing_their_own_name_here() -> None:
    async with serving() as caller:
        error = await caller.json("/v1/routes", 403, Host="evil.example.com")
        assert error["error"] == "'evil.example.com' is not a host name of this API"
        port = caller.api.places[0].port
        for host in ("localhost", f"localhost:{port}", f"127.0.0.1:{port}", "[::1]:1", "[::1]"):
            await caller.json("/v1/routes", 200, Host=host)
        assert (await caller.raw("/healthz", Host="evil.example.com"))[0] == 200


async def test_places_that_others_reach_need_a_token() -> None:
    with pytest.raises(ConfigError, match=r"would be open to everyone on http://0\.0\.0\.0:1; set api\.token_file"):
        async with serving(Listen(host="0.0.0.0", port=1)):
            pass


async def test_with_a_token_a_name_does_not_matter_and_on_loopback_either_will_do() -> None:
    async with serving(token="a secret of some length") as caller:
        right = {"Authorization": "Bearer a secret of some length", "Host": "pilotage.lan"}
        await caller.json("/v1/routes", 200, **right)
        await caller.json("/v1/routes", 200)
        await caller.json("/v1/routes", 403, Authorization="Bearer wrong", Host="pilotage.lan")


async def test_a_token_that_is_not_text_is_rejected(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(token="a secret of some length") as caller:
        reader, writer = await asyncio.open_connection("127.0.0.1", caller.api.places[0].port)
        writer.write(b"GET /v1/routes HTTP/1.1\r\nHost: pilotage.lan\r\nAuthorization: Bearer \xff\xfe\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 403 ")
        writer.close()
    assert caplog.records == []


async def test_an_invalid_http_request_is_not_logged_as_an_error(caplog: pytest.LogCaptureFixture) -> None:
    async with serving() as caller:
        for wrong in (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 20_000, b"GET / HTTP/1.1\r\n"):
            reader, writer = await asyncio.open_connection("127.0.0.1", caller.api.places[0].port)
            writer.write(wrong + b"\r\n\r\n")
            assert (await reader.readline()).endswith(b" 400 Bad Request\r\n")
            writer.close()
    assert [record for record in caplog.records if record.levelname != "DEBUG"] == []


async def test_other_machines_need_the_token(monkeypatch: pytest.MonkeyPatch) -> None:
    # Whatever address of this machine a test used would be loopback.
    monkeypatch.setattr("pilotage.api.access.is_loopback", lambda host: host == "localhost")
    async with serving(token="a secret of some length") as caller:
        assert (await caller.raw("/v1/routes", Authorization="Bearer a secret of some length"))[0] == 200
        for wrong in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic a secret of some length"}):
            error = await caller.json("/v1/routes", 401, **wrong)
            assert "Authorization: Bearer" in error["error"]
        assert (await caller.raw("/readyz"))[0] == 200


async def test_file_permissions_protect_the_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    async with serving(Listen(path=str(path)), token="a secret of some length") as caller:
        connector = aiohttp.UnixConnector(str(path))
        async with aiohttp.ClientSession(connector=connector) as session:
            async with session.get("http://anything/v1/routes") as answer:
                assert answer.status == 200
            async with session.get(f"http://anything{SNAPSHOT_PATH}") as answer:
                snapshot = unpack(await answer.read())
    assert snapshot is not None
    assert snapshot.file == "/etc/pilotage/pilotage.yml"
    assert snapshot.snapshots == caller.source.discovery.snapshots()
    assert [problem.message for problem in snapshot.table.problems if problem.file] == ["of the configuration"]
    assert not path.exists()


async def test_the_snapshot_with_labels_is_served_on_the_unix_socket_only() -> None:
    async with serving() as caller:
        await caller.json(SNAPSHOT_PATH, 403)


async def test_a_place_that_is_taken_is_an_error_unless_it_was_only_the_usual_one(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with serving() as caller:
        (taken,) = caller.api.places
        with pytest.raises(ConfigError, match=r"the API cannot listen on http://127\.0\.0\.1:\d+: .*choose another"):
            async with Api(caller.source, [taken]):
                pass
        async with Api(caller.source, [taken], if_free=True) as other:
            assert other.places == []
        assert "the API cannot listen on" in caplog.text


async def test_when_a_second_place_is_taken_the_first_one_is_free_again(tmp_path: Path) -> None:
    first = Listen(host="127.0.0.1", port=free_port())
    async with serving() as caller:
        (taken,) = caller.api.places
        for before in (first, Listen(path=str(tmp_path / "api.sock"))):
            with pytest.raises(ConfigError, match="the API cannot listen on"):
                async with Api(caller.source, [before, taken]):
                    pass
            async with Api(caller.source, [before]) as api:  # nobody listens there any more
                assert api.places == [before]
