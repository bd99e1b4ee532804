from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yarl

from pilotage.routes import read_compositions
from pilotage.routes.port_syntax import PortPair
from tests.support.gateway import Gateway, Target, route, target

if TYPE_CHECKING:
    from tests.xds.conftest import Envoy

REQUEST = {
    "req_method": "GET",
    "req_scheme": "http",
    "req_host": "app.example.org",
    "req_port": "{port}",
    "req_addr": "app.example.org:{port}",
    "req_path": "/a%20b/c",
    "req_query": "q=1&Name=x%20y",
    "req_url": "http://app.example.org:{port}/a%20b/c?q=1&Name=x%20y",
    "req_uri": "/a%20b/c?q=1&Name=x%20y",
    "req_content_type": "text/x-odd",
    "req_content_length": "",
    "remote_host": "127.0.0.1",
    "upstream_name": "app",
    "upstream_scheme": "http",
    "upstream_host": "127.0.0.1",
    "upstream_port": "{target}",
    "upstream_addr": "127.0.0.1:{target}",
    "upstream_url": "http://127.0.0.1:{target}",
    "header(Accept-Language)": "de",
    "header(X-Absent)": "",
    "arg(name)": "x%20y",
    "arg(absent)": "",
}
RESPONSE = {
    "status_code": "200",
    "resp_content_type": "application/json; charset=utf-8",
    "resp_header(X-From)": "target",
    "resp_header(X-Absent)": "",
}
PATH = "/a%20b/c?q=1&Name=x%20y"


def named(names: Any) -> dict[str, str]:
    """Return a header for each variable."""
    return {f"X-V-{index}": f"<${name}>" for index, name in enumerate(names)}


async def ask(gw: Gateway, path: str, host: str, **headers: str) -> Any:
    """Ask with a path that is sent as it is written."""
    url = yarl.URL(f"{gw.url}{path}", encoded=True)
    async with gw.client.get(url, headers={"Host": host, **headers}) as answer:
        return answer.headers, await answer.json()


@pytest.mark.proves("middlewares.request.set_headers", "middlewares.response.set_headers")
async def test_every_variable_has_its_value_in_requests_and_responses(envoy: Envoy) -> None:
    async with target() as it, envoy() as gw:
        port = str(gw.options.http_port)
        host = f"app.example.org:{port}"
        given = {"Accept-Language": "de", "Content-Type": "text/x-odd"}
        await gw.publish(*_routes(it))

        def filled(expected: dict[str, str]) -> list[str]:
            return [f"<{text.format(port=port, target=it.port)}>" for text in expected.values()]

        answer, said = await ask(gw, PATH, host, **given)
        assert [said["headers"][f"x-v-{index}"] for index in range(len(REQUEST))] == filled(REQUEST)
        whole = REQUEST | RESPONSE
        assert [answer[f"X-V-{index}"] for index in range(len(whole))] == filled(whole)
        length = answer["X-Length"]
        assert length == answer["Content-Length"]

        # An address that has no port in the request, and the client's own.
        _, said = await ask(gw, "/", "app.example.org")
        assert (said["headers"]["x-v-2"], said["headers"]["x-v-3"]) == ("<app.example.org>", "<>")
        client, _, client_port = said["headers"]["x-remote"].rpartition(":")
        assert client == "127.0.0.1"
        assert client_port == said["headers"]["x-port"] != "0"

        await _line_breaks_stay_encoded(gw, it)
        await _hidden_headers_can_be_read(gw)
        await _only_the_wrong_header_is_left_out(gw)
        _, said = await ask(gw, "/", "host")
        assert said["headers"]["host"] == f"127.0.0.1:{it.port}"
        _, said = await ask(gw, "/", "kept")
        assert said["headers"]["host"] == "kept"


def _routes(it: Target) -> list[Any]:
    put = {
        "request": {
            "set_headers": {
                **named(REQUEST),
                "X-Remote": "$remote_addr",
                "X-Port": "$remote_port",
                "X-Text": "$$arg(name)",
            }
        },
        "response": {"set_headers": {**named(REQUEST | RESPONSE), "X-Length": "$resp_content_length"}},
    }
    hidden = {
        "request": {"set_headers": {"X-Copy": "$header(X-Own)"}, "hide_headers": "X-Own"},
        "response": {
            "set_headers": {"X-Copy": "$resp_header(X-From)"},
            "hide_headers": "X-From, X-Both",
            "add_headers": {"X-Both": "1"},
        },
    }
    wrong = {"request": {"set_headers": [{"X-A": "$nothing"}, {"X-B": "$req_method"}]}}
    port = PortPair(0, it.port)
    return [
        route("app", it.port, port=port, middlewares=put),
        route("hidden", it.port, port=port, middlewares=hidden),
        route("wrong", it.port, port=port, middlewares=wrong),
        route("host", it.port, port=port, middlewares={"request": {"set_headers": {"Host": "$upstream_addr"}}}),
        route("kept", it.port, port=port, middlewares={"request": {"set_headers": {"Host": "$req_addr"}}}),
    ]


async def _line_breaks_stay_encoded(gw: Gateway, it: Target) -> None:
    answer, said = await ask(gw, "/?name=a%0d%0aX-Evil:%201&NAME=b", "app")
    assert "x-evil" not in it.seen[-1][2]
    assert "X-Evil" not in answer
    arg = list(REQUEST).index("arg(name)")
    assert said["headers"][f"x-v-{arg}"] == answer[f"X-V-{arg}"] == "<a%0d%0aX-Evil:%201>"
    assert said["headers"]["x-text"] == "$arg(name)"


async def _hidden_headers_can_be_read(gw: Gateway) -> None:
    answer, said = await ask(gw, "/", "hidden", **{"X-Own": "mine"})
    assert said["headers"]["x-copy"] == "mine"
    assert "x-own" not in said["headers"]
    assert answer["X-Copy"] == "target"
    assert not {"X-From", "X-Both"} & set(answer)


async def _only_the_wrong_header_is_left_out(gw: Gateway) -> None:
    _, said = await ask(gw, "/", "wrong")
    assert said["headers"]["x-b"] == "GET"
    assert "x-a" not in said["headers"]


@pytest.mark.proves("middlewares.priority")
async def test_a_list_from_a_file_applies_to_requests(envoy: Envoy) -> None:
    text = """\
lan: [{use: cidr_whitelist, allow: [127.0.0.0/8]}, {use: response, set_headers: {X-A: "1", X-B: "1"}}]
nobody: [{use: cidr_whitelist, allow: [10.0.0.0/8]}]
"""
    compositions, problems = read_compositions([("m.yml", text)])
    assert problems == ()

    def with_lists(alias: str, port: int, **middlewares: Any) -> Any:
        filled_in, missing = compositions.fill_in(middlewares)
        assert missing == ()
        return route(alias, port, middlewares=middlewares, filled_in=filled_in)

    async with target() as it, envoy() as gw:
        later = {"response": {"set_headers": {"X-A": "2"}, "priority": 20}}
        await gw.publish(
            with_lists("app", it.port, **{"lan@file": None}, **later),
            with_lists(
                "closed", it.port, **{"lan@file": None, "cidr_whitelist": {"allow": "127.0.0.0/30, 10.0.0.0/8"}}
            ),
            with_lists("none", it.port, **{"nobody@file": None}),
        )
        answer = await gw.ask("app")
        assert (answer.status, answer.headers["X-A"], answer.headers["X-B"]) == (200, "2", "1")
        assert (await gw.ask("closed")).status == 200
        assert (await gw.ask("none")).status == 403


@pytest.mark.proves("middlewares.hide_x_forwarded")
async def test_hidden_forwarded_headers_do_not_reach_the_target_even_from_a_trusted_proxy(envoy: Envoy) -> None:
    names = ("For", "Method", "Proto", "Host", "Uri", "Port", "Server", "Prefix", "Ssl")
    given = {f"X-Forwarded-{name}": "https" if name == "Proto" else "1.2.3.4" for name in names}
    async with target() as it, envoy(trusted_proxies=("127.0.0.0/8",)) as gw:
        await gw.publish(
            route("app", it.port),
            route("hidden", it.port, middlewares={"hide_x_forwarded": None}),
            route("scheme", it.port, middlewares={
                "hide_x_forwarded": None, "request": {"set_headers": {"X-Scheme": "$req_scheme"}}
            }),
        )  # fmt: skip
        _, said = await ask(gw, "/", "app", **given)
        assert {f"x-forwarded-{name.lower()}" for name in names} <= set(said["headers"])
        for host in ("hidden", "scheme"):
            _, said = await ask(gw, "/", host, **given)
            assert not [name for name in said["headers"] if name.startswith("x-forwarded-")]
        assert said["headers"]["x-scheme"] == "https"
