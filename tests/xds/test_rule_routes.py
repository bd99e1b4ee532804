"""Rules through a real Envoy: examples, and random rules compared with a reference interpreter."""

from __future__ import annotations

import random
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING
from urllib.parse import unquote

import bcrypt
import pytest
from aiohttp import ClientTimeout, FormData, encode_basic_auth
from multidict import CIMultiDict
from yarl import URL

from pilotage.daemon.sign_in import start_sign_in
from pilotage.routes.rules import RuleError, read_rules
from pilotage.xds.rule_outcomes import compile_rules
from pilotage.xds.rule_routes import with_rules
from tests.support.gateway import Answer, route, target
from tests.support.rule_interpreter import Request, Result, interpret

if TYPE_CHECKING:
    from pilotage.routes.rules import RuleSet
    from tests.support.gateway import Gateway
    from tests.xds.conftest import Envoy

EXAMPLES = r"""
// refuse
path /exact { error 403 "no entry" }
path glob("/admin/*") & !header X-Key s3cret { error 403 admin }
path regex("^/item/[0-9]+$") { error 410 gone }
path regex("^/any/.+$") { error 403 any }
path /spéc%ial!x { error 418 special }
header X-Bad glob(evil*) { error 400 bad }
query debug true { error 404 hidden }
cookie sid abc { error 409 cookie }
host app.other.example { redirect https://app.example/login?from=other }
path /login { redirect /auth }
path glob("/told/*") { error 404 "100% nothing at $req_path for $req_method, $$5" }
path /secret { require_basic_auth "Staff \"only\"" }
!remote 127.0.0.0/8 { error 403 elsewhere }
path glob("/strip*") {
  rewrite /strip /
  pass
}

path glob("/v1/*") {
  rewrite /v1 /v2
  set header X-Version 2
  add header X-Host "$req_host $upstream_name"
  set resp_header X-Was $status_code
  remove header X-Internal
  method GET {
    set resp_header X-Mode get
  } elif method POST {
    set resp_header X-Mode post
  } else {
    set resp_header X-Mode other
  }
}
path /fixed { proxy /health?x }
default { set resp_header X-Default $$5 }
"""
CASES = [
    ("/exact", {}, 403, "no entry\n"),
    ("/exact/", {}, 403, "no entry\n"),
    ("/ex%61ct?x=1", {}, 403, "no entry\n"),
    ("//exact", {}, 403, "no entry\n"),
    ("/%2F.%2Fexact", {}, 403, "no entry\n"),
    ("/x/..%2fexact", {}, 400, "The path of this request is not valid.\n"),
    ("/any/x%41", {}, 403, "any\n"),
    ("/any/x%", {}, 400, "The path of this request is not valid.\n"),
    ("/any/%zz", {}, 400, "The path of this request is not valid.\n"),
    ("/any/x%4", {}, 400, "The path of this request is not valid.\n"),
    ("/exactly?100%", {}, 200, None),
    ("/exact;x", {}, 403, "no entry\n"),
    ("/exact%3Bx/?y", {}, 403, "no entry\n"),
    ("/;a/exact;x", {}, 403, "no entry\n"),
    ("/.;/exact", {}, 403, "no entry\n"),
    ("/exact?;x", {}, 403, "no entry\n"),
    ("/exac;t", {}, 200, None),
    ("/admin;x/a", {}, 403, "admin\n"),
    ("/exact;x%2fa", {}, 400, "The path of this request is not valid.\n"),
    ("/exact/..;/a", {}, 200, None),
    ("/a/..;/exact", {}, 403, "no entry\n"),
    ("/exact/..%3b/a", {}, 400, "The path of this request is not valid.\n"),
    ("/strip/exact", {}, 200, None),
    ("/strip../exact", {}, 400, "The path of this request is not valid.\n"),
    ("/strip..?x", {}, 400, "The path of this request is not valid.\n"),
    ("/strip.%2f../exact", {}, 400, "The path of this request is not valid.\n"),
    ("/strip..;/exact", {}, 400, "The path of this request is not valid.\n"),
    ("/strip..a", {}, 200, None),
    ("/exactly", {}, 200, None),
    ("/admin/a/b%20c", {}, 403, "admin\n"),
    ("/admin/a", {"X-Key": "s3cret"}, 200, None),
    ("/admin/a", {"X-Key": "s3cre"}, 403, "admin\n"),
    ("/item/1%32", {}, 410, "gone\n"),
    ("/item/x", {}, 200, None),
    ("/sp%C3%A9c%25ial%21x", {}, 418, "special\n"),
    ("/", {"X-Bad": "evil one"}, 400, "bad\n"),
    ("/?a=b&debug=tr%75e", {}, 404, "hidden\n"),
    ("/?debug=truest", {}, 200, None),
    ("/", {"Cookie": "a=b; sid=abc"}, 409, "cookie\n"),
    ("/", {"Cookie": "xsid=abc"}, 200, None),
    ("/told/x%20y?a", {}, 404, "100% nothing at /told/x%20y for GET, $5\n"),
]


async def _ask(gw: Gateway, host: str, path: str, method: str = "GET", headers: dict[str, str] | None = None) -> Answer:
    """Send a path exactly as it is written."""
    url = URL(gw.url + path, encoded=True)
    sent = {"Host": host, **(headers or {})}
    async with gw.client.request(method, url, headers=sent, allow_redirects=False) as answer:
        return Answer(answer.status, answer.headers, await answer.read())


@pytest.mark.proves("rules")
async def test_rules_decide_what_happens_to_a_request(envoy: Envoy) -> None:
    async with target() as it, envoy() as gw:
        await gw.publish(
            route("app", it.port, rules=EXAMPLES),
            route("*.wild.example", it.port, rules="remote 127.0.0.1 { error 451 local }"),
            route("far", it.port, rules="remote 10.0.0.0/8 | remote ::1 { error 451 near }"),
        )
        assert gw.refused == []
        for path, headers, status, body in CASES:
            answer = await _ask(gw, "app", path, headers=headers)
            assert (path, answer.status) == (path, status)
            assert body is None or answer.body.decode() == body
        # The name under which the gateway itself looks up wildcards is no way past them.
        for host, status in (("a.wild.example", 451), ("__any__.wild.example", 451), ("~any~.wild.example", 400)):
            assert (host, (await gw.ask(host)).status) == (host, status)
        for host, path, location in (
            ("App.Other.Example:80", "/", "https://app.example/login?from=other"),
            ("app", "/login", "/auth"),
        ):
            answer = await gw.ask(host, path)
            assert (answer.status, answer.headers["Location"]) == (307, location)
        answer = await gw.ask("app", "/secret")
        assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, 'Basic realm="Staff \\"only\\""')
        for method, mode in (("GET", "get"), ("POST", "post"), ("PUT", "other")):
            answer = await _ask(gw, "app", "/v1/x%20y?q=1", method, headers={"X-Internal": "1"})
            assert answer.headers["X-Mode"] == mode
            assert answer.json["path"] == "/v2/x%20y?q=1"
            assert answer.json["headers"]["x-version"] == "2"
            assert (answer.json["headers"]["x-host"], answer.headers["X-Was"]) == ("app app", "200")
            assert {"x-internal", "x-pilotage-address"}.isdisjoint(answer.json["headers"])
        assert (await gw.ask("app", "/fixed?y=2")).json["path"] == "/health%3Fx?y=2"
        answer = await gw.ask("app", "/other")
        assert answer.headers["X-Default"] == "$5"
        for host in ("a.wild.example", "A.Wild.example:80"):
            assert (await gw.ask(host)).body == b"local\n"
        forged = {"X-Pilotage-Address": "4:0a000001"}
        assert [(await gw.ask(host, headers=forged)).status for host in ("far", "FAR:80")] == [200, 200]


# ---- random rules ----------------------------------------------------------------------------------------------------

_PATHS = [
    "/",
    "/a",
    "/a/",
    "/a/b",
    "/b",
    "/b%20c",
    "/%61",
    "//a",
    "/a.css",
    "/a/.%2fb",
    "/b?a=1",
    "/a?k=v",
    "/a?k=%76&k=2",
    "/a;x",
    "/a;x=1/b?k=v",
    "/b;a.css",
    "/a.css%3Bx",
    "/;/a",
    "/a;/b",
]
_VALUES = ["v", "1", "vw", "", "a b"]
_ADDRESSES = ["127.0.0.1", "10.1.2.3", "10.200.0.1", "2001:db8::1", "2001:db8:8000::ffff", "::ffff:10.1.2.3", "::1"]
_PATTERNS = ["v", "1", "glob(v*)", "glob(*)", "glob(?)", "glob({v,1})", "regex(^v)", "regex([0-9]$)", "regex(v)", "!v"]
_PATTERNS += ["!glob(v*)", "'a b'"]
_PATH_PATTERNS = [
    "/a",
    "/a/b",
    "glob(/a*)",
    "glob(/*/b)",
    "regex(^/a$)",
    "regex([.]css$)",
    "regex(/b)",
    "!/a",
    "'/b c'",
]
_NETWORKS = ["127.0.0.1", "10.0.0.0/8", "10.1.0.0/15", "2001:db8::/33", "::1", "::ffff:10.0.0.0/104", "0.0.0.0/0"]
_USERS, _PASSWORDS = ["me", "you"], ["secret", "other", "a:b"]
_HASHES = [bcrypt.hashpw(it.encode(), bcrypt.gensalt(4)).decode() for it in _PASSWORDS]
_CONDITIONS = [
    lambda it: f"path {it.choice(_PATH_PATTERNS)}",
    lambda it: f"header X-{it.choice('AB')} {it.choice([*_PATTERNS, ''])}",
    lambda it: f"query {it.choice(['k', 'a'])} {it.choice([*_PATTERNS, ''])}",
    lambda it: f"cookie {it.choice(['k', 'a'])} {it.choice([*_PATTERNS[:-1], ''])}",
    lambda it: f"method {it.choice(['GET', 'POST'])}",
    lambda it: f"remote {it.choice(_NETWORKS)}",
    lambda it: f"route {it.choice(['glob(r*)', 'r1'])}",
    lambda it: f"{it.choice(['form', 'postform'])} {it.choice(['k', 'f'])} {it.choice([*_PATTERNS, ''])}",
    lambda it: f"basic_auth {it.choice(_USERS)} {it.choice(_HASHES)}",
    lambda it: f"proto {it.choice(['http', 'https', 'h1', 'h2', 'h2c', 'h3'])}",
]
_COMMANDS = [
    *[f"error {status} text{status}" for status in (403, 404, 410)],
    "redirect /elsewhere",
    "pass",
    "set header X-Sent one",
    "add header X-Sent two",
    "remove header X-B",
    "set resp_header X-Answer three",
    "add resp_header X-Answer four",
    "rewrite /a /z",
    "set query k new",
    "add query a more",
    "remove query k",
    "set cookie k new",
    "remove cookie a",
    "set status 299",
    "set resp_body told",
    "route other",
]


def _condition(it: random.Random) -> str:
    parts = []
    for _ in range(it.choice([1, 1, 2])):
        checks = [("!" if it.random() < 0.25 else "") + it.choice(_CONDITIONS)(it) for _ in range(it.choice([1, 1, 2]))]
        parts.append(" | ".join(checks))
    return " & ".join(parts)


def _body(it: random.Random, depth: int = 0) -> str:
    lines = []
    for _ in range(it.choice([1, 1, 2])):
        if depth < 2 and it.random() < 0.2:
            lines.append(f"{_condition(it)} {{\n{_body(it, depth + 1)}\n}} else {{\n{_body(it, depth + 1)}\n}}")
        else:
            lines.append(it.choice(_COMMANDS))
    return "\n".join(lines)


def _response_rule(it: random.Random) -> str:
    about = it.choice(["status 200", "status 4xx", "status 300-404", "resp_header X-From", "resp_header X-Answer t*"])
    about = about.replace("t*", it.choice(["three", "glob(*e)", "regex(^f)", "!four", "!glob(t*)"]))
    other = it.choice(["", f" & {_condition(it)}", f" | {it.choice(_CONDITIONS)(it)}"])
    commands = [it.choice(_RESPONSE_COMMANDS) for _ in range(it.choice([1, 2]))]
    negate = "!" if it.random() < 0.25 else ""
    return f"{negate}{about}{other} {{\n" + "\n".join(commands) + "\n}"


_RESPONSE_COMMANDS = [f"{name} resp_header X-Answer five" for name in ("set", "add")] + ["remove resp_header X-Answer"]


def _rules(it: random.Random) -> str:
    blocks = [f"{_condition(it)} {{\n{_body(it)}\n}}" for _ in range(it.choice([1, 2, 3]))]
    if it.random() < 0.4:
        blocks += [_response_rule(it) for _ in range(it.choice([1, 2]))]
    if it.random() < 0.5:
        blocks.insert(it.randrange(len(blocks) + 1), f"default {{\n{_body(it)}\n}}")
    return "\n".join(blocks)


def _request(it: random.Random, alias: str) -> Request:
    headers = [(f"x-{name}", it.choice(_VALUES)) for name in "ab" for _ in range(it.choice([0, 1, 1, 2]))]
    if it.random() < 0.5:
        headers.append(("cookie", it.choice(["k=v", "a=1; k=vw", "k=", 'k="1"', "ak=v"])))
    made = Request(it.choice(["GET", "POST", "DELETE"]), it.choice(_PATHS), alias, it.choice(_ADDRESSES), headers)
    if made.method == "POST":
        made.form = [(it.choice("kf"), it.choice(_VALUES)) for _ in range(it.choice([0, 1, 2]))]
    if it.random() < 0.5:
        made.user, made.password = it.choice(_USERS), it.choice(_PASSWORDS)
    return made


async def _seen(gw: Gateway, request: Request) -> Result:
    headers = CIMultiDict([("Host", request.host), ("X-Forwarded-For", request.address), *request.headers])
    url = URL(gw.url + request.target, encoded=True)
    if request.user:
        headers["Authorization"] = encode_basic_auth(request.user, request.password)
    async with gw.client.request(
        request.method,
        url,
        headers=headers,
        data=FormData(request.form) if request.form else None,
        allow_redirects=False,
        timeout=ClientTimeout(total=20),
    ) as answer:
        result = Result(answer.status, location=answer.headers.get("Location", ""))
        answers = answer.headers.getall("X-Answer", [])
        result.answered = {"x-answer": ", ".join(answers)} if answers else {}
        if answer.headers.get("X-From") and await answer.read() != b"told\n":
            said = await answer.json()
            result.target = unquote(said["path"].partition("?")[0]).replace("////", "//")  # aiohttp doubles them
            result.by, text = said["by"], said["path"].partition("?")[2].replace("+", " ")
            result.query = [
                (unquote(it.partition("=")[0]), unquote(it.partition("=")[2])) for it in text.split("&") if it
            ]
            cookies = said["headers"].get("cookie", "")
            result.cookies = [each.strip() for each in cookies.split(";")] if cookies else []
            result.sent = {name: said["headers"][name] for name in ("x-sent", "x-b") if name in said["headers"]}
        else:
            result.body = await answer.text()
    return result


def _expected(rules: RuleSet, request: Request, alias: str) -> Result:
    result = interpret(rules, request, alias)
    if result.target:
        values = request.values("x-b")
        sent = {"x-b": values[-1] if values else None, **result.sent}
        # The target tells only the last of several values.
        result.sent = {name: value.split(", ")[-1] for name, value in sent.items() if value is not None}
    else:
        result.sent = {}
    result.answered = {name: value for name, value in result.answered.items() if value is not None}
    return result


async def test_envoy_does_what_an_interpreter_of_the_rules_does(envoy: Envoy) -> None:
    it, kept = random.Random(15), {}
    for number in range(220):
        text, alias = _rules(it), f"r{number}"
        try:
            found = read_rules(text)
        except RuleError:
            continue  # a rule that never runs
        if compile_rules(found, alias).refused is None:
            kept[alias] = (text, found)
    assert len(kept) > 100
    async with (
        target() as web,
        target("other") as other,
        envoy(trusted_proxies=("127.0.0.1/32",)) as gw,
        AsyncExitStack() as stack,
    ):
        start_sign_in(gw.ads, {}, "", stack)
        routes = [route(alias, web.port, rules=text) for alias, (text, _) in kept.items()]
        await gw.publish(route("other", other.port), *routes)
        assert gw.refused == []
        counts: dict[int, int] = {}
        for alias, (text, found) in kept.items():
            for _ in range(12):
                request = _request(it, alias)
                wanted = _expected(found, request, alias)
                seen = await _seen(gw, request)
                assert seen == wanted, f"{text}\n{request}"
                counts[wanted.status] = counts.get(wanted.status, 0) + 1
    assert min(counts.get(status, 0) for status in (200, 299, 307, 403, 404, 410)) > 20


def test_routes_without_rules_are_left_as_they_are() -> None:
    from pilotage.xds.usual_routes import sample_backend

    routes = [object()]
    assert with_rules(sample_backend("app", "127.0.0.1", 80, "own"), routes) is routes


async def test_protective_middlewares_apply_before_all_rules(envoy: Envoy) -> None:
    rules = "path /a { error 404 x }\npath /b { redirect /a }\npath /c { pass }\nremote 127.0.0.1 { proxy /d }"
    closed = {"cidr_whitelist": {"allow": ["10.0.0.0/8"]}}
    async with target() as it, envoy() as gw:
        await gw.publish(route("app", it.port, rules=rules, middlewares=closed), route("open", it.port, rules=rules))
        statuses = {path: (await gw.ask("open", path)).status for path in ("/a", "/b", "/c", "/d")}
        assert statuses == {"/a": 404, "/b": 307, "/c": 200, "/d": 200}
        for host in ("app", "APP:80"):
            assert {(await gw.ask(host, path)).status for path in statuses} == {403}
