"""Every condition and every command of rules, through a real Envoy."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest
from yarl import URL

from pilotage.daemon.files import start_file_server
from pilotage.daemon.sign_in import start_sign_in
from pilotage.routes.rules import COMMANDS, SUBJECTS, read_rules
from pilotage.xds.rule_outcomes import compile_rules
from tests.request_service.test_passwords import HASH, basic
from tests.support.gateway import Answer, route, target
from tests.support.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.gateway import Gateway
    from tests.xds.conftest import Envoy

FORWARDED = {"X-Forwarded-For": "192.0.2.9"}
CONDITIONS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "header": ("header X-A 1", {"headers": {"X-A": "1"}}, {"headers": {"X-A": "2"}}),
    "query": ("query a 1", {"path": "/?a=1"}, {"path": "/?a=2"}),
    "cookie": ("cookie a 1", {"headers": {"Cookie": "a=1"}}, {"headers": {"Cookie": "a=2"}}),
    "form": ("form a 1", {"method": "POST", "data": {"a": "1"}}, {"method": "POST", "data": {"a": "2"}}),
    "postform": ("postform a 1", {"method": "POST", "data": {"a": "1"}}, {"path": "/?a=1"}),
    "resp_header": ("resp_header X-From own", {}, {"path": "/refused"}),
    "method": ("method PUT", {"method": "PUT"}, {}),
    "host": ("host glob(*.one)", {"host": "host.one"}, {"host": "host.two"}),
    "path": ("path glob(/a/*)", {"path": "/a/b"}, {"path": "/b"}),
    "route": ("route route", {}, {"host": "another"}),
    "remote": ("remote 192.0.2.0/24", {"headers": FORWARDED}, {}),
    "proto": ("proto https", {"headers": {"X-Forwarded-Proto": "https"}}, {}),
    "basic_auth": (f"basic_auth me {HASH}", {"headers": {"Authorization": basic("me:secret")}}, {}),
    "status": ("status 418", {"path": "/refused"}, {}),
}
"""A condition, a request for which it holds, and one for which it does not."""

COMMANDS_AND_EFFECTS: dict[str, tuple[str, str, Any]] = {
    "upstream": ("path /a/b { upstream }\n{ error 403 no }", "status", 200),
    "pass": ("path /a/b { pass }\n{ error 403 no }", "status", 200),
    "bypass": ("path /a/b { bypass }\n{ error 403 no }", "status", 200),
    "rewrite": ("{ rewrite /a /z }", "path", "/z/b?q=1"),
    "serve": ("{ serve FOLDER }", "body", b"page"),
    "serve_file": ("{ serve_file FOLDER/a/b }", "body", b"page"),
    "proxy": ("{ proxy http://127.0.0.1:OTHER/x }", "path", "/x/a/b?q=1"),
    "route": ("{ route other }", "by", "other"),
    "redirect": ("{ redirect /login }", "headers", ("Location", "/login")),
    "error": ("{ error 403 no }", "body", b"no\n"),
    "require_basic_auth": ("{ require_basic_auth Staff }", "headers", ("WWW-Authenticate", 'Basic realm="Staff"')),
    "set header": ("{ set header X-Old 1 }", "sent", ("x-old", "1")),
    "add header": ("{ add header X-A 1 }", "sent", ("x-a", "1")),
    "remove header": ("{ remove header X-Old }", "sent", ("x-old", None)),
    "set resp_header": ("{ set resp_header X-From 1 }", "headers", ("X-From", "1")),
    "add resp_header": ("{ add resp_header X-A 1 }", "headers", ("X-A", "1")),
    "remove resp_header": ("{ remove resp_header X-From }", "headers", ("X-From", None)),
    "set query": ("{ set query q 2 }", "path", "/a/b?q=2"),
    "add query": ("{ add query q 2 }", "path", "/a/b?q=1&q=2"),
    "remove query": ("{ remove query q }", "path", "/a/b"),
    "set cookie": ("{ set cookie c 2 }", "sent", ("cookie", "c=2")),
    "add cookie": ("{ add cookie d 2 }", "sent", ("cookie", "c=1; d=2")),
    "remove cookie": ("{ remove cookie c }", "sent", ("cookie", None)),
    "set body": ("{ set body new }", "received", 4),
    "set resp_body": ("{ set resp_body new }", "body", b"new\n"),
    "set status": ("{ set status 299 }", "status", 299),
    "log": ('{ log warn /dev/stderr "told $req_path" }', "log", "told /a/b"),
}
"""A rule with the command, and what it changes."""

ELSEWHERE = {"require_auth": "test_login_rules"}
REFUSED = {
    "notify": ("notify info ntfy title text", "needs a notification provider, which pilotage does not support yet"),
    "handle": ("handle api", "needs a part of GoDoxy that pilotage does not have"),
}


def test_all_conditions_and_commands_are_here_or_refused() -> None:
    assert set(CONDITIONS) == set(SUBJECTS)
    names = {it.partition(" ")[0] for it in COMMANDS_AND_EFFECTS}
    assert names | set(ELSEWHERE) | set(REFUSED) == set(COMMANDS)


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("rules", ["{{\n{0}\n}}", "status 4xx {{\n{0}\n}}", "{{\nstatus 4xx {{\n{0}\n}}\n}}"])
def test_what_has_no_effect_is_refused_with_the_reason(name: str, rules: str) -> None:
    command, why = REFUSED[name]
    refused = compile_rules(read_rules(rules.format(command)), "app").refused
    assert refused is not None
    assert why in refused[0] or (name == "handle" and "has no effect once there is a response" in refused[0])


async def _ask(gw: Gateway, host: str, *, path: str = "/", method: str = "GET", **options: Any) -> Answer:
    headers = {"Host": host, **options.pop("headers", {})}
    url = URL(gw.url + path)
    async with gw.client.request(method, url, headers=headers, allow_redirects=False, **options) as answer:
        return Answer(answer.status, answer.headers, await answer.read())


async def test_every_condition_holds_for_some_requests_and_not_for_others(envoy: Envoy) -> None:
    async with target("own") as own, envoy(trusted_proxies=("127.0.0.0/8",)) as gw, AsyncExitStack() as stack:
        start_sign_in(gw.ads, {}, "", stack)
        rules = {
            name: f'path /refused {{ error 418 "" }}\n{condition} {{ set resp_header X-Held yes }}'
            for name, (condition, _, _) in CONDITIONS.items()
        }
        routes = [route(name.replace("_", "-"), own.port, rules=text) for name, text in rules.items()]
        hosts = [route(f"host.{name}", own.port, rules=rules["host"]) for name in ("one", "two")]
        await gw.publish(*routes, *hosts, route("another", own.port, rules=rules["route"]))
        assert gw.refused == []
        for name, (_, *requests) in CONDITIONS.items():
            answers = [await _ask(gw, **{"host": name.replace("_", "-"), **request}) for request in requests]
            assert (name, ["X-Held" in it.headers for it in answers]) == (name, [True, False])


async def test_the_text_of_an_error_is_sent_unchanged_whatever_its_status(envoy: Envoy) -> None:
    rules = 'path /a { error 503 "closed today" }\npath /b { error 502 $req_path }\npath /c { error 504 $cookie(x) }'
    bodies = {"/a": (503, b"closed today\n"), "/b": (502, b"/b\n"), "/c": (504, b"cook\n")}
    async with target("own") as own, envoy() as gw:
        hosts = ("app", "*.wild.example")
        await gw.publish(*(route(name, own.port, rules=f"{rules}\npath /d {{ route nobody }}") for name in hosts))
        for host in ("app", "App:80", "a.wild.example"):
            for kind in ("text/html", "application/json", "*/*"):
                headers = {"Accept": kind, "Cookie": "x=cook"}
                for path, wanted in bodies.items():
                    answer = await _ask(gw, host, path=path, headers=headers)
                    assert (answer.status, answer.body) == wanted
                    assert "Retry-After" not in answer.headers
            answer = await _ask(gw, host, path="/d")  # the gateway's own sentence
            assert answer.body == b"The target of this request is not available. Try again in a moment.\n"


def _effect(answer: Answer, kind: str, wanted: Any) -> Any:
    match kind:
        case "headers":
            return wanted[0], answer.headers.get(wanted[0])
        case "sent":
            return wanted[0], answer.json["headers"].get(wanted[0])
        case "path" | "received":
            return answer.json[kind]
    return getattr(answer, kind)


@pytest.mark.slow
async def test_every_command_has_its_effect(envoy: Envoy, tmp_path: Path) -> None:
    (tmp_path / "www" / "a").mkdir(parents=True)
    (tmp_path / "www" / "a" / "b").write_text("page")
    files = str(tmp_path / "files.sock")
    async with (
        target("own") as own,
        target("other") as other,
        envoy(files_socket=files) as gw,
        AsyncExitStack() as all_,
    ):
        await start_file_server(gw.ads, all_)
        given = {"container": "", "folders": None}  # of a file, which may name loopback
        routes = [route("other", other.port)]
        for number, (rules, _, _) in enumerate(COMMANDS_AND_EFFECTS.values()):
            text = rules.replace("FOLDER", str(tmp_path / "www")).replace("OTHER", str(other.port))
            routes.append(route(f"r{number}", own.port, rules=text, **given))
        await gw.publish(*routes)
        assert gw.refused == []
        sent = {"X-Old": "old", "Cookie": "c=1"}
        for number, (name, (_, kind, wanted)) in enumerate(COMMANDS_AND_EFFECTS.items()):
            answer = await _ask(gw, f"r{number}", path="/a/b?q=1", headers=sent)
            if kind == "log":
                await until(lambda wanted=wanted: wanted in gw.log)  # type: ignore[misc]
            else:
                assert (name, _effect(answer, kind, wanted)) == (name, wanted)
