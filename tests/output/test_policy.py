from __future__ import annotations

import pytest

from pilotage.output.explain import explain_name
from pilotage.output.policy import JudgedClaim, judge_service
from pilotage.policy import Policy, PolicyRule
from pilotage.routes.build import build_routes
from pilotage.table.snapshot import build_snapshot
from pilotage.table.store import build_table
from tests.support.summaries import LOCAL, container

TEAM_A = {"com.docker.compose.project": "team-a", "com.docker.compose.service": "web"}
RULE = PolicyRule(name="a", place="pilotage.yml:3", project=("team-a",), hosts=("a-*",), middlewares=("redirect_http",))
POLICY = Policy(rules=(RULE,), default="deny")
DECIDER = "rule 1 'a' (pilotage.yml:3)"


def test_every_claim_of_a_service_is_judged_once() -> None:
    labels = {
        "proxy.aliases": "a-shop, b-shop",
        "proxy.*.middlewares": "{redirect_http: , oidc: }",
        "proxy.*.host": "10.0.0.7",
        "proxy.*.load_balance.link": "a-pool",
        "proxy.*.ssl_trusted_certificate": "/etc/ca.pem",
    }
    found = judge_service(container(labels=TEAM_A | labels), POLICY)
    assert (found.service, found.project, found.engine, found.image) == ("web", "team-a", "local", "acme/web:1.0")
    assert (found.decider, found.note) == (DECIDER, "")
    assert [(claim.kind, claim.value, claim.allowed) for claim in found.claims] == [
        ("host", "a-shop", True),
        ("host", "a-pool", True),
        ("file", "/etc/ca.pem", False),
        ("middleware", "redirect_http", True),
        ("middleware", "oidc", False),
        ("target", "10.0.0.7:80", False),
        ("pool", "a-pool", True),
        ("host", "b-shop", False),
    ]
    assert found.refused == 4
    assert found.claims[-1] == JudgedClaim(
        "host",
        "b-shop",
        allowed=False,
        rule=DECIDER,
        reason=f"this container may not claim the host b-shop: {DECIDER} does not allow it",
    )


def test_ports_of_streams_are_claims() -> None:
    labels = {"proxy.web.port": "9000:80", "proxy.web.bind": "127.0.0.1"}
    found = judge_service(container(labels=labels), Policy(addresses=("10.0.0.1",)))
    assert [(claim.kind, claim.value, claim.allowed) for claim in found.claims[1:]] == [
        ("port", "9000", True),
        ("port", "127.0.0.1", False),
    ]
    reserved = judge_service(container(labels=labels), Policy(), reserved_ports=frozenset({9000}))
    assert [claim.allowed for claim in reserved.claims] == [True, False, True]


@pytest.mark.parametrize(
    ("host", "port", "allowed"),
    [
        ("127.0.0.1", 8080, None),  # published by the container, so it is its own
        ("localhost", 8080, None),
        ("127.0.0.1", 8081, False),
        ("0x7f.1", 8081, False),
        ("127.0.0.1", 8888, False),
        ("10.0.0.7", 8888, True),
        ("nas.lan", 5000, True),
    ],
)
def test_targets_are_judged_as_the_daemon_judges_them(host: str, port: int, allowed: bool | None) -> None:
    labels = {"proxy.web.host": host, "proxy.web.port": str(port)}
    ports = [{"PrivatePort": 80, "PublicPort": 8080, "Type": "tcp", "IP": "0.0.0.0"}]
    made, reserved = container(labels=labels, Ports=ports), frozenset({8888})
    (served,) = build_routes(made, reserved_ports=reserved).routes
    targets = [each for each in judge_service(made, Policy(), reserved_ports=reserved).claims if each.kind == "target"]
    assert [(each.value, each.allowed) for each in targets] == (
        [] if allowed is None else [(f"{host}:{port}", allowed)]
    )
    assert served.excluded is (allowed is False)
    assert [each.reason for each in targets if each.reason] == [problem.message for problem in served.problems]


@pytest.mark.parametrize(
    ("project", "rule", "allowed", "reason"),
    [
        ("team-a", None, True, "only with containers on its engine that are in the project team-a"),
        ("team-a", (), True, "only with containers on its engine that are in the project team-a"),
        ("team-a", ("shop",), True, ""),
        ("", None, True, "only with containers on its engine that are in no project"),
        ("", (), False, "this container may not join the pool shop: rule 1 does not allow it"),
        ("", ("shop",), True, ""),
    ],
)
def test_pools_are_claims(project: str, rule: tuple[str, ...] | None, allowed: bool, reason: str) -> None:
    labels = {"proxy.web.load_balance.link": "shop"} | ({"com.docker.compose.project": project} if project else {})
    policy = Policy(rules=(PolicyRule(pools=rule),))
    (claim,) = [it for it in judge_service(container(labels=labels), policy).claims if it.kind == "pool"]
    assert (claim.value, claim.allowed, claim.reason) == ("shop", allowed, reason)


def test_a_service_without_claims_says_why() -> None:
    assert judge_service(container(labels={"proxy.exclude": "1"}), POLICY).note == (
        "web claims nothing, because it is not served: Manual exclusion"
    )
    lost = judge_service(container(labels={"proxy.network": "none-such"}), POLICY)
    assert lost.note == "no routes: network 'none-such' not found"
    assert lost.decider == "the default (deny), because no rule matches"


def test_explanations_name_the_deciding_rule() -> None:
    snapshot = build_snapshot(LOCAL, [container(labels=TEAM_A)], policy=POLICY)
    (found,) = explain_name("web", [snapshot], build_table([snapshot])).containers
    assert [(fact.name, fact.value) for fact in found.facts][-1] == ("policy", DECIDER)
    assert DECIDER in found.routes[0].problems[0].message
    plain = build_snapshot(LOCAL, [container(labels=TEAM_A)])
    (found,) = explain_name("web", [plain], build_table([plain])).containers
    assert "policy" not in {fact.name for fact in found.facts}
