"""Rules that send requests to other routes, other addresses and files, through a real Envoy."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from pilotage.daemon.files import start_file_server
from pilotage.policy import Policy, Reach
from pilotage.routes.schema import LoadBalance
from pilotage.table.table import Table
from pilotage.xds.options import GatewayOptions
from pilotage.xds.rule_targets import RuleTargets, target_alias
from pilotage.xds.snapshot import Snapshot
from tests.support.gateway import route, target

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.gateway import Gateway
    from tests.xds.conftest import Envoy

ELSEWHERE = """
path glob("/api/*") {
  rewrite /api /v1
  route other
}
path /gone { route nobody }
path /closed { route closed }
path /ruled { route ruled }
path /limited { route limited }
path glob("/far/*") { proxy http://127.0.0.1:PORT/base }
path /logged {
  route other
  set resp_header X-Never seen
  log info /dev/stdout "$req_path to $upstream_name"
}
"""


def test_hidden_routes_follow_their_owner_and_only_its_rules_lead_to_them() -> None:
    targets = RuleTargets()
    owner = route("app", 80, rules="{ proxy http://other.internal:81/x }")
    alias = target_alias("app", ("proxy", "http://other.internal:81/x"))
    found = targets.follow({"app": owner}, ["app"], Policy())
    hidden = found[alias]
    assert hidden is not None
    assert (hidden.scheme, hidden.host, hidden.port.proxy) == ("http", "other.internal", 81)
    assert isinstance(hidden.endpoints[0].reach, Reach)  # so that its addresses are checked like those of labels
    assert (targets.owner(alias), targets.users[alias]) == ("app", {"app"})
    assert targets.follow({"app": owner}, [alias], Policy()) == found
    assert targets.follow({}, ["app"], Policy()) == {"app": None, alias: None}
    assert (targets.hidden, set(targets.users[alias])) == ({}, set())


def test_names_in_rules_do_not_lead_to_loopback() -> None:
    snapshot = Snapshot(GatewayOptions())
    rules = "path /far { proxy http://other.internal:81 }"
    alias = target_alias("app", ("proxy", "http://other.internal:81"))
    addresses: dict[str, tuple[str, ...]] = {}
    snapshot.targets.resolved = addresses
    snapshot.replace(Table({"app": route("app", 80, rules=rules)}, version=1))
    assert snapshot.targets.names[alias] == ("local/id-app", frozenset({"other.internal"}))
    for found, loopback in (("10.0.0.9", False), ("127.0.0.1", True), ("10.0.0.9", False), ("::ffff:127.0.0.1", True)):
        addresses["other.internal"] = (found,)
        snapshot.check_again(snapshot.targets.users("other.internal"))
        backend = snapshot.backend(f"route/{alias}")
        assert backend is not None
        assert [it.host for it in backend.members] == ([] if loopback else [found])
        problems = snapshot.problems.get(f"route/{alias}", ())
        assert [(it.route, it.path) for it in problems] == ([("app", "rules")] if loopback else [])
        if loopback:
            assert "a loopback address" in problems[0].message
    snapshot.replace(Table({}, version=2))
    assert not [key for key in snapshot.resources if "app" in key[1]]
    assert not snapshot.problems


async def _by(gw: Gateway, path: str, host: str = "app") -> tuple[int, str, str]:
    answer = await gw.ask(host, path)
    return answer.status, answer.by, answer.json["path"] if answer.by else ""


async def test_requests_go_to_other_routes_and_addresses(envoy: Envoy) -> None:
    async with target("own") as own, target("other") as other, target("far") as far, envoy() as gw:
        rules = ELSEWHERE.replace("PORT", str(far.port))
        app = route("app", own.port, rules=rules, container="", folders=None)  # of a file, which may name loopback
        deny = {"cidr_whitelist": {"allow": ["192.0.2.1"]}}
        others = [
            route("other", other.port, middlewares={"request": {"set_headers": {"X-Set": "yes"}}}),
            route("closed", other.port, middlewares=deny),
            route("limited", other.port, middlewares={"rate_limit": {"average": 1}}),
            route("ruled", other.port, rules="{ error 403 no }"),
        ]
        await gw.publish(app, *others)
        assert gw.refused == []
        assert await _by(gw, "/x") == (200, "own", "/x")
        assert await _by(gw, "/api/x?q=1") == (200, "other", "/v1/x?q=1")
        assert (await gw.ask("app", "/api/x")).json["headers"]["x-set"] == "yes"
        assert await _by(gw, "/far/x") == (200, "far", "/base/far/x")
        for path in ("/gone", "/closed", "/ruled", "/limited"):
            assert (path, *await _by(gw, path)) == (path, 503, "", "")
        messages = [problem.message for problem in gw.ads.problems if problem.route == "app"]
        for name, why in (("nobody", "is not served"), ("closed", "has rules or middlewares of its own")):
            assert any(f"{name!r} are rejected, because that route {why}" in it for it in messages)
        assert "X-Never" not in (await gw.ask("app", "/logged")).headers

        # The rules lead to the other route as it is now.
        await gw.publish(app, route("other", far.port), *others[1:])
        assert await _by(gw, "/api/x") == (200, "far", "/v1/x")
        await gw.publish(app, *others[1:], route("nobody", other.port))
        assert [(await _by(gw, path))[:2] for path in ("/api/x", "/gone")] == [(503, ""), (200, "other")]
        await gw.publish(
            app, route("other", other.port, middlewares={"cidr_whitelist": {"allow": ["127.0.0.1"]}}), *others[1:]
        )
        assert (await _by(gw, "/api/x"))[:2] == (503, "")
        await gw.publish(route("app", own.port), others[0])
        assert await _by(gw, "/api/x") == (200, "own", "/api/x")


async def test_requests_go_to_pools_and_the_rules_of_pools_lead_elsewhere(envoy: Envoy) -> None:
    async with target("own") as own, target("other") as other, envoy() as gw:
        pool = {"load_balance": LoadBalance(link="all")}
        rules = "path /x { route one }"
        await gw.publish(
            route("app", own.port, rules=rules),
            *(route(name, other.port, **pool) for name in ("one", "two")),
            route("ruled", own.port, load_balance=LoadBalance(link="led"), rules="path /z { route app2 }"),
            route("app2", other.port),
        )
        assert gw.refused == []
        assert await _by(gw, "/x") == (200, "other", "/x")
        assert await _by(gw, "/z", "led") == (200, "other", "/z")


async def test_what_restricts_the_owner_also_applies_to_requests_that_go_elsewhere(envoy: Envoy) -> None:
    async with target("own") as own, target("other") as other, envoy() as gw:
        deny = {"cidr_whitelist": {"allow": ["192.0.2.1"]}}
        await gw.publish(route("app", own.port, rules="{ route other }", middlewares=deny), route("other", other.port))
        assert (await _by(gw, "/"))[:2] == (403, "")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "169.254.169.254", "[::1]", "2130706433"])
async def test_rules_of_containers_do_not_reach_special_addresses(envoy: Envoy, host: str) -> None:
    async with target("own") as own, target("far") as far, envoy() as gw:
        await gw.publish(route("app", own.port, rules=f"path /far {{ proxy http://{host}:{far.port} }}"))
        assert (await _by(gw, "/far"))[:2] == (503, "")
        assert (await _by(gw, "/near"))[:2] == (200, "own")
        assert far.seen == []


async def test_files_are_served_from_allowed_folders(envoy: Envoy, tmp_path: Path) -> None:
    site = tmp_path / "site"
    (site / "docs").mkdir(parents=True)
    (site / "docs" / "a.txt").write_text("A")
    (site / "one file.html").write_text("<p>one")
    (tmp_path / "secret.txt").write_text("secret")
    rules = f"""
        path glob("/files/*") {{
          rewrite /files/ /docs/
          serve {site}
        }}
        path glob("/top/*") {{
          rewrite /top /
          serve {site}
        }}
        path glob("/one*") {{ serve_file "{site}/one file.html" }}
        path /none {{ serve {tmp_path}/none }}
    """
    async with target("own") as own, envoy(files_socket=str(tmp_path / "files.sock")) as gw, AsyncExitStack() as stack:
        await start_file_server(gw.ads, stack)
        await gw.publish(
            route("app", own.port, rules=rules, container="", folders=None), route("label", own.port, rules=rules)
        )
        assert gw.refused == []
        for path in ("/files/a.txt", "/top/docs/a.txt", "/top//docs/a.txt"):
            assert (path, (await gw.ask("app", path)).body) == (path, b"A")
        for path in ("/one", "/one/more?x=1"):
            answer = await gw.ask("app", path)
            assert (answer.body, answer.headers["Content-Type"]) == (b"<p>one", "text/html; charset=utf-8")
        for path in ("/files/b.txt", "/files/..%2f..%2fsecret.txt", "/files/../../secret.txt"):
            assert (await gw.ask("app", path)).body != b"secret"
        assert await _by(gw, "/else") == (200, "own", "/else")
        for path in ("/files/a.txt", "/one"):  # gateway.label_roots allows no folder
            assert (await gw.ask("label", path)).status in (404, 503)
