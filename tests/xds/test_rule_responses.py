"""Rules about responses, through a real Envoy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from pilotage.routes.rules import read_rules
from pilotage.xds.rule_outcomes import compile_rules
from tests.support.gateway import route, target

if TYPE_CHECKING:
    from tests.xds.conftest import Envoy

RULES = """
status 404 & path glob(/nice/*) { error 404 "nothing at $req_path" }
status 5xx {
  set status 502
  set resp_header X-Was-Broken yes
  remove resp_header Server-Secret
}
status 502 & !path /other { add resp_header X-Seen 502 }
resp_header X-Kind glob({a,b}*) | path /also { set resp_header X-Kind-Seen "$resp_header(X-Kind)" }
!resp_header X-Kind !regex(^b[0-9]+$) & status 200-299 { set resp_header X-No-Other yes }
resp_header X-Kind {
  resp_header X-Kind a1 { set resp_header X-Nested a }
  elif resp_header X-Kind b1 { set resp_header X-Nested b }
  else { set resp_header X-Nested c }
}
path /own { error 403 "no entry" }
status 403 { set resp_body hidden }
"""
RULES = RULES.replace("}\n  elif", "} elif").replace("}\n  else", "} else")


@pytest.mark.parametrize("host", ["app", "APP:80"])
async def test_responses_change_as_rules_say(envoy: Envoy, host: str) -> None:
    async def respond(request: web.Request) -> web.Response:
        headers = [("Server-Secret", "1"), *(("X-Kind", it) for it in request.query.getall("kind", []))]
        return web.Response(status=int(request.query.get("status", "200")), headers=headers, text="text")

    async with target() as it, envoy() as gw:
        it.handlers |= dict.fromkeys(("/a", "/nice/a", "/also", "/other"), respond)
        await gw.publish(route("app", it.port, rules=RULES))
        assert gw.refused == []

        async def ask(path: str) -> tuple[int, str, dict[str, str]]:
            answer = await gw.ask(host, path)
            names = ("x-was-broken", "x-seen", "x-kind-seen", "x-no-other", "x-nested", "server-secret")
            seen = {name: answer.headers[name] for name in names if name in answer.headers}
            return answer.status, answer.body.decode(), seen

        plain = {"server-secret": "1"}
        assert await ask("/a") == (200, "text", {**plain, "x-no-other": "yes"})
        assert await ask("/a?status=404") == (404, "text", plain)
        assert await ask("/nice/a?status=404") == (404, "nothing at /nice/a\n", plain)
        assert await ask("/a?status=503") == (502, "text", {"x-was-broken": "yes", "x-seen": "502"})
        assert await ask("/other?status=503") == (502, "text", {"x-was-broken": "yes"})
        assert await ask("/a?status=502") == (502, "text", {"x-was-broken": "yes", "x-seen": "502"})
        kinds = {
            "a1": {"x-kind-seen": "a1", "x-nested": "a"},
            "b1": {"x-kind-seen": "b1", "x-no-other": "yes", "x-nested": "b"},
            "c1": {"x-nested": "c"},
            "%C3%A9": {"x-nested": "c"},
        }
        for kind, changes in kinds.items():
            assert (kind, await ask(f"/a?kind={kind}")) == (kind, (200, "text", {**plain, **changes}))
        assert (await ask("/a?kind=c&kind=b1"))[2] == {
            **plain,
            "x-kind-seen": "c",
            "x-no-other": "yes",
            "x-nested": "b",
        }
        assert (await ask("/also?kind=c1"))[2]["x-kind-seen"] == "c1"
        assert await ask("/own") == (403, "hidden\n", {})


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ("status 404 { rewrite /a /b }", "the command rewrite has no effect once there is a response"),
        ("status 404 { set header X-A b }", "the command set header has no effect once there is a response"),
        ("status 404 { path /a { set status 200 } }", "a block inside a rule about responses tests the request"),
        ("path /a { status 404 { redirect /b } }", "the command redirect has no effect once there is a response"),
        (
            f"resp_header X-A regex({'a' * 200}) {{ set status 200 }}",
            "a pattern of the condition resp_header is too large",
        ),
        ("status 404 {\n" + "set resp_header X-A b\n" * 60 + "}", "a response would need more than 50 commands"),
    ],
)
def test_what_cannot_be_done_to_a_response_is_refused(rules: str, message: str) -> None:
    refused = compile_rules(read_rules(rules), "app").refused
    assert refused is not None
    assert refused[0].startswith(message)


def test_the_status_of_a_rule_without_response_conditions_costs_no_script() -> None:
    (case, _) = compile_rules(read_rules('path /a { error 404 "" }'), "app").cases
    assert case.outcome.after == ()
