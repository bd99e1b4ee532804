"""Commands of rules that a script in Envoy runs: queries, cookies, bodies, the status and log lines."""

from __future__ import annotations

import asyncio
import io
import json
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from yarl import URL

from pilotage.routes.rules import read_rules
from pilotage.xds.rule_outcomes import compile_rules
from pilotage.xds.rule_script import EDITS, add_script, script_settings
from pilotage.xds.rule_state import Outcome, ScriptEdit
from pilotage.xds.variables import Upstream
from tests.support.gateway import Answer, becomes, route, target

if TYPE_CHECKING:
    from tests.support.gateway import Gateway
    from tests.xds.conftest import Envoy

UPSTREAM = Upstream("app", "http", "10.0.0.1", "80", "10.0.0.1:80")


def test_routes_without_commands_for_the_script_do_not_run_it() -> None:
    from envoy.config.route.v3 import route_components_pb2

    made = route_components_pb2.Route()
    add_script(made, Outcome(status=403), "app", UPSTREAM)
    assert made == route_components_pb2.Route()
    assert script_settings(compile_rules(read_rules("{ error 403 no }"), "app")) == {}
    assert set(script_settings(compile_rules(read_rules("{ set query a b }"), "app"))) == {EDITS}
    add_script(made, Outcome(before=(ScriptEdit("set query", "a", "b $upstream_host"),)), "app", UPSTREAM)
    assert list(made.metadata.filter_metadata[EDITS]["request"][0]) == ["set query", "a", "=b 10.0.0.1"]


async def ask(
    gw: Gateway,
    path: str,
    method: str = "GET",
    *,
    host: str = "app",
    body: bytes = b"",
    headers: dict[str, str] | None = None,
) -> Answer:
    """Send a path exactly as it is written."""
    sent = {"Host": host, **(headers or {})}
    url = URL(gw.url + path, encoded=True)
    async with gw.client.request(
        method, url, headers=sent, data=io.BytesIO(body) if body else None, allow_redirects=False
    ) as answer:
        return Answer(answer.status, answer.headers, await answer.read())


async def _body_and_headers(request: web.Request) -> web.Response:
    body = (await request.read()).decode()
    return web.json_response({"body": body, "headers": {n.lower(): v for n, v in request.headers.items()}})


QUERY = """
path /set { set query debug "no & $req_method" }
path /add { add query a "$arg(a)" }
path /remove { remove query debug }
path /moved {
  rewrite /moved /there
  set query at "$req_path"
  set query again "$arg(at)"
}
"""


async def test_queries_are_changed_however_clients_encode_them(envoy: Envoy) -> None:
    async with target() as it, envoy() as gw:
        await gw.publish(route("app", it.port, rules=QUERY))
        assert gw.refused == []
        for path, expected in (
            ("/set", "/set?debug=no%20%26%20GET"),
            ("/set?x=1&%64ebug=a&debug=b&y=+", "/set?x=1&debug=no%20%26%20GET&y=+"),
            ("/set?debug", "/set?debug=no%20%26%20GET"),
            ("/add?a=%2f+b", "/add?a=%2f+b&a=%2F%20b"),
            ("/remove?debug=1", "/remove"),
            ("/remove?d%65bug=1&b=2&debug", "/remove?b=2"),
            ("/remove?a=debug", "/remove?a=debug"),
            ("/moved?q", "/there?q&at=%2Fmoved&again=%2Fmoved"),
        ):
            assert (path, (await ask(gw, path)).json["path"]) == (path, expected)
        await gw.ads.close()  # the script needs no daemon
        assert (await ask(gw, "/set")).json["path"] == "/set?debug=no%20%26%20GET"


COOKIES = """
path /set { set cookie sid "new;v\\"al" }
path /add { add cookie a "two words" }
path /remove { remove cookie sid }
path /copy {
  set header X-Sid "<$cookie(sid)>"
  set header X-Hidden plain
  add header X-Hidden $redacted($cookie(sid))
  set header X-Second "$header(X-Two, 1) $cookie(sid, 1)"
}
"""


async def test_cookies_are_changed_and_read(envoy: Envoy) -> None:
    async with target() as it, envoy() as gw:
        await gw.publish(route("app", it.port, rules=COOKIES))
        assert gw.refused == []
        for path, cookie, expected in (
            ("/set", "a=b; sid=old; c=d; sid=older", "a=b; sid=newval; c=d"),
            ("/set", "", "sid=newval"),
            ("/add", "a=1", 'a=1; a="two words"'),
            ("/remove", "sid=1; b=2;sid=3", "b=2"),
            ("/remove", "sid=1", None),
        ):
            headers = {"Cookie": cookie} if cookie else {}
            found = (await ask(gw, path, headers=headers)).json["headers"].get("cookie")
            assert (path, cookie, found) == (path, cookie, expected)
        found = (await ask(gw, "/copy", headers={"Cookie": "sid=a-long-secret; sid=2"})).json["headers"]
        assert (found["x-sid"], found["x-hidden"]) == ("<a-long-secret>", "a-*********et")  # the last of its values
        assert found["x-second"] == "2"
        assert "cookie" in found


BODIES = """
path /body { set body "$req_method $arg(q)" }
path /resp {
  set resp_body "$status_code of $req_path from $remote_host: $resp_header(X-From)"
  set status 202
}
path /status { set status 418 }
path /none { set status 204 }
path /gone { error 410 "gone" }
{
  path /gone { set resp_body "really $status_code" }
}
path /told { error 403 "no $cookie(sid)" }
"""


async def test_bodies_and_the_status_are_replaced(envoy: Envoy) -> None:
    async with target() as it, envoy() as gw:
        it.handlers["/body"] = _body_and_headers
        it.handlers["/empty"] = it.handlers["/resp/empty"] = _body_and_headers
        await gw.publish(route("app", it.port, rules=BODIES))
        assert gw.refused == []
        for method, body in (("GET", b""), ("POST", b"x"), ("PUT", b"y" * 100_000)):
            answer = await ask(gw, "/body?q=%3C", method, body=body)
            assert answer.json["body"] == f"{method} %3C\n"
            assert answer.json["headers"]["content-length"] == str(len(answer.json["body"]))
        assert (await ask(gw, "/body", "PUT", body=b"y" * 3_000_000)).status == 413
        answer = await ask(gw, "/resp")
        assert (answer.status, answer.body.decode()) == (202, "200 of /resp from 127.0.0.1: target\n")
        assert answer.headers["X-From"] == "target"
        head = await ask(gw, "/resp", "HEAD")
        assert (head.status, head.body, head.headers["Content-Length"]) == (202, b"", str(len(answer.body)))
        assert [(await ask(gw, path)).status for path in ("/status", "/none", "/status", "/other")] == [
            418,
            204,
            418,
            200,
        ]
        assert (await ask(gw, "/none")).body == b""
        assert (await ask(gw, "/status")).json["path"] == "/status"
        answer = await ask(gw, "/told", headers={"Cookie": "sid=me"})
        assert (answer.status, answer.body) == (403, b"no me\n")


async def test_responses_without_a_body_and_large_ones_are_replaced(envoy: Envoy) -> None:
    async def empty(_request: web.Request) -> web.Response:
        return web.Response(status=204)

    async def large(_request: web.Request) -> web.Response:
        return web.Response(body=b"x" * 8_000_000, headers={"ETag": '"x"'})

    async with target() as it, envoy() as gw:
        it.handlers |= {"/empty": empty, "/large": large, "/still": empty}
        rules = "path /still { set resp_body text }\n{ set status 200\n set resp_body text }"
        await gw.publish(route("app", it.port, rules=rules))
        assert gw.refused == []
        for path in ("/empty", "/large"):
            answer = await ask(gw, path)
            assert (path, answer.status, answer.body) == (path, 200, b"text\n")
            assert "ETag" not in answer.headers


async def test_wildcards_and_unusual_spellings_of_hosts_get_the_same(envoy: Envoy) -> None:
    async with target() as it, envoy() as gw:
        rules = "{ set status 299\n set query a b }"
        await gw.publish(route("*.wild.example", it.port, rules=rules), route("app", it.port, rules=rules))
        assert gw.refused == []
        for host in ("x.wild.example", "X.Wild.Example:80", "app", "APP", "app.example.com:8080"):
            answer = await ask(gw, "/", host=host)
            assert (host, answer.status, answer.json["path"]) == (host, 299, "/?a=b")


LOG = """
path /quiet { set query a b }
path /told {
  error 403 "no"
  log info /dev/stdout "$req_method $req_uri -> $status_code"
}
path /twice {
  log info /dev/stdout "first $remote_host"
  log WARN /dev/stderr "again $redacted($header(X-Key)) $header(X-Odd)"
}
"""


def _entries(gw: Gateway) -> list[Any]:
    return [json.loads(line) for line in gw.log.splitlines() if line.startswith('{"time"')]


async def test_lines_are_logged_with_their_level_and_escaped(envoy: Envoy) -> None:
    async with target() as it, envoy() as gw:
        await gw.publish(route("app", it.port, rules=LOG))
        assert gw.refused == []
        await ask(gw, "/quiet")
        await ask(gw, "/told?q=%0a")
        odd = b'\xff\xfe"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\xed\xa0\x80'
        reader, writer = await asyncio.open_connection("127.0.0.1", gw.options.http_port)
        head = b"GET /twice HTTP/1.1\r\nHost: app\r\nConnection: close\r\nX-Key: 0123456789abcdef\r\nX-Odd: "
        writer.write(head + odd + b"\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 200")
        writer.close()
        await becomes(lambda: asyncio.to_thread(lambda: len(_entries(gw))), 3)
        assert sorted((it["level"], it["route"], it["message"]) for it in _entries(gw)) == [
            ("info", "app", "GET /told?q=%0a -> 403"),
            ("info", "app", "first 127.0.0.1"),
            ("warn", "app", 'again 01************ef \ufffd\ufffd"é€😀\ufffd\ufffd\ufffd'),
        ]


async def test_a_flood_of_requests_is_logged_in_part_and_counted(envoy: Envoy) -> None:
    async with target() as it, envoy() as gw:
        await gw.publish(route("app", it.port, rules='{ log info /dev/stdout "$req_path" }'))
        for number in range(400):
            await ask(gw, f"/{number}")

        async def written() -> bool:
            await ask(gw, "/last")  # reports the earlier ones that were left out
            found = await asyncio.to_thread(_entries, gw)
            return any("left out the lines of " in it["message"] for it in found) and len(found) > 100

        await becomes(written, expected=True)
        assert len(_entries(gw)) < 400


@pytest.mark.parametrize(
    "rules", ["{ set body x }", "{ set resp_body x }", "{ set status 404 }", "{ set query a b\n set status 404 }"]
)
async def test_websockets_stay_connected(envoy: Envoy, rules: str) -> None:
    async def echo(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            await socket.send_str(f"{message.data} {request.query_string}")
        return socket

    async with target() as it, envoy() as gw:
        it.handlers["/socket"] = echo
        await gw.publish(route("app", it.port, rules=rules))
        async with gw.client.ws_connect(f"{gw.url}/socket", headers={"Host": "app"}) as socket:
            await socket.send_str("hello")
            assert (await socket.receive_str()).startswith("hello")
