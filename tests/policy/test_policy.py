from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from pilotage.policy.claims import Claimant, PolicyRule
from pilotage.policy.policy import FILE_REFUSED, NO_POLICY, Policy

if TYPE_CHECKING:
    from pathlib import Path

A = Claimant(engine="edge", project="team-a", service="web")
B = Claimant(engine="edge", project="team-b", service="web")
RULE = PolicyRule(
    name="teams",
    place="pilotage.yml:9",
    project=("team-*",),
    hosts=("{{project}}-*", "*.{{project}}.example.com"),
    targets=("10.0.0.0/8",),
    ports=((9000, 9100),),
    files=("/srv/certs/{{project}}",),
    middlewares=("redirect_*",),
    pools=("shared",),
)
TEAMS = Policy(rules=(PolicyRule(number=1, project=("team-x",)), RULE), default="deny")


def test_without_rules_any_host_target_and_middleware_may_be_claimed_but_no_file() -> None:
    assert NO_POLICY.may_use_host(A, "shop").allowed
    assert NO_POLICY.may_reach(A, "10.0.0.1", 80).allowed
    assert NO_POLICY.may_use_middleware(A, "oidc").allowed
    assert not NO_POLICY.may_read(A, "/etc/hostname").allowed


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("team-a-shop", True),
        ("TEAM-A-shop", True),
        ("team-b-shop", False),
        ("shop.team-a.example.com", True),
        ("shop.team-b.example.com", False),
        ("*.team-a.example.com", True),
        ("*.example.com", False),
    ],
)
def test_a_rule_allows_the_hosts_it_lists_and_no_others(host: str, expected: bool) -> None:
    verdict = TEAMS.may_use_host(A, host)
    assert verdict.allowed is expected
    assert verdict.rule is RULE
    if not expected:
        assert verdict.reason == (
            f"this container may not claim the host {host}: rule 1 'teams' (pilotage.yml:9) does not allow it"
        )


def test_only_a_glob_for_all_hosts_covers_the_default_route() -> None:
    for hosts in (("*",), ("*.example.com",), ("**.example.com",), ("shop",), ()):
        policy = Policy(rules=(PolicyRule(hosts=hosts),), domains=("example.com",))
        assert not policy.may_use_host(A, "*").allowed
    assert Policy(rules=(PolicyRule(hosts=("**",)),)).may_use_host(A, "*").allowed
    assert Policy().may_use_host(A, "*").allowed


def test_an_alias_and_its_name_below_a_domain_are_one_host() -> None:
    policy = Policy(rules=(PolicyRule(hosts=("shop", "*.a.org")),), domains=("example.com", "a.org"))
    assert policy.may_use_host(A, "shop.example.com").allowed
    assert policy.may_use_host(A, "cart.a.org").allowed
    assert not policy.may_use_host(A, "cart").allowed  # it would be served below example.com, too
    assert not policy.may_use_host(A, "cart.example.com").allowed
    one = Policy(rules=(PolicyRule(hosts=("*.a.org",)),), domains=("a.org",))
    assert one.may_use_host(A, "cart").allowed
    assert not one.may_use_host(A, "*.example.com").allowed
    deep = Policy(rules=(PolicyRule(hosts=("b.c",)),), domains=("a.org",))
    assert not deep.may_use_host(A, "b.c.a.org").allowed  # no alias has a dot


def test_the_first_rule_that_matches_decides_alone() -> None:
    first, second = PolicyRule(number=1, service=("web",), hosts=("a",)), PolicyRule(number=2, hosts=("*",))
    policy = Policy(rules=(first, second))
    assert policy.may_use_host(A, "b").rule is first
    assert not policy.may_use_host(A, "b").allowed
    assert policy.may_use_host(Claimant(), "b").rule is second


def test_a_claimant_that_is_kept_asks_each_policy_for_its_own_rule() -> None:
    known = TEAMS.identify(A)
    kept = known.without_rule()
    assert (kept.decider, kept.rule) == (known.decider, None)
    other = Policy(rules=(PolicyRule(pools=()),))
    assert other.rule_for(kept) is other.rules[0]
    assert TEAMS.rule_for(kept) is RULE
    assert A.without_rule() is A


def test_an_identified_claimant_is_matched_only_once(monkeypatch: pytest.MonkeyPatch) -> None:
    known, stranger = TEAMS.identify(A), TEAMS.identify(Claimant(engine="edge", project="x"))
    assert (known.rule, known.decider) == (RULE, "rule 1 'teams' (pilotage.yml:9)")
    assert (stranger.rule, stranger.decider) == (None, "the default (deny), because no rule matches")
    assert NO_POLICY.identify(A) is A
    monkeypatch.setattr(PolicyRule, "matches", lambda *_: pytest.fail("matched again"))
    assert TEAMS.may_use_host(known, "team-a-shop").rule is RULE
    assert not TEAMS.may_use_host(stranger, "shop").allowed


def test_what_no_rule_mentions_is_decided_by_the_default() -> None:
    rule = PolicyRule(project=("team-a",), hosts=("*",))
    open_, closed = Policy(rules=(rule,)), Policy(rules=(rule,), default="deny")
    assert open_.may_use_middleware(A, "oidc").allowed
    assert open_.may_listen(A, 9000).allowed
    assert not open_.may_listen(A, 22).allowed
    refused = closed.may_use_middleware(A, "oidc")
    assert not refused.allowed
    assert "does not mention middlewares, and the default is deny" in refused.reason
    assert not closed.may_listen(A, 9000).allowed
    assert not closed.may_reach(A, "10.0.0.1", 80).allowed
    assert not closed.may_use_host(B, "shop").allowed
    assert open_.may_use_host(B, "shop").allowed


def test_own_targets_and_pools_of_the_own_project_need_no_permission() -> None:
    closed = Policy(default="deny")
    assert closed.may_reach(A, "172.17.0.2", 80, own=True).allowed
    assert closed.may_join_pool(A, "shop", A).allowed


def test_targets_may_be_limited_to_the_containers_own() -> None:
    assert not Policy(targets="own").may_reach(A, "10.0.0.1", 80).allowed
    assert Policy(targets="own", rules=(RULE,)).may_reach(A, "10.0.0.1", 80).allowed
    assert not TEAMS.may_reach(A, "192.0.2.1", 80).allowed


def test_containers_without_a_project_share_pools_unless_a_rule_or_the_default_forbids_it() -> None:
    one, two, far = Claimant(engine="edge"), Claimant(engine="edge", service="two"), Claimant(engine="far")
    assert NO_POLICY.may_join_pool(two, "shop", one).allowed
    assert not NO_POLICY.may_join_pool(far, "shop", one).allowed
    assert Policy(rules=(PolicyRule(hosts=("shop",)),)).may_join_pool(two, "shop", one).allowed
    separated = Policy(rules=(PolicyRule(pools=()),))
    refused = separated.may_join_pool(two, "shop", one)
    assert (refused.allowed, refused.rule) == (False, separated.rules[0])
    assert not Policy(default="deny").may_join_pool(two, "shop", one).allowed
    assert Policy(rules=(PolicyRule(pools=("shop",)),), default="deny").may_join_pool(two, "shop", one).allowed
    assert separated.may_join_pool(A, "shop", A).allowed


def test_pools_of_others_need_a_rule() -> None:
    assert not NO_POLICY.may_join_pool(A, "shared", B).allowed
    assert TEAMS.may_join_pool(A, "shared", B).allowed
    assert not TEAMS.may_join_pool(A, "other", B).allowed


@pytest.mark.parametrize(
    ("port", "whose"),
    [(22, "the SSH port"), *((port, "a port used by container engines") for port in (2375, 2376, 2377))],
)
def test_ports_of_ssh_and_of_engines_must_be_listed(port: int, whose: str) -> None:
    refused = NO_POLICY.may_listen(A, port)
    assert (refused.allowed, refused.reason) == (False, f"port {port} is {whose}")
    assert Policy(stream_ports=((1, 65535),)).may_listen(A, port).allowed


def test_streams_listen_only_on_ports_that_the_gateway_offers() -> None:
    policy = Policy(stream_ports=((9000, 9100),))
    assert policy.may_listen(A, 9100).allowed
    verdict = policy.may_listen(A, 9101)
    assert verdict.reason == "port 9101 is not in gateway.stream_ports"
    assert verdict.hint == "choose a listening port in 9000-9100"
    assert not Policy(stream_ports=()).may_listen(A, 9100).allowed


def test_a_rule_may_open_further_ports_but_never_our_own() -> None:
    policy = Policy(rules=(RULE,), stream_ports=((7000, 7000),))
    assert policy.may_listen(A, 9000).allowed
    assert not policy.may_listen(A, 7000).allowed
    assert not policy.may_listen(A, 9000, own_ports=frozenset({9000})).allowed


@pytest.mark.parametrize(
    ("ours", "address", "expected"),
    [
        ((), "192.0.2.1", True),
        (("10.0.0.1",), "10.0.0.1", True),
        (("10.0.0.1",), "0.0.0.0", False),
        (("0.0.0.0",), "192.0.2.1", True),
        (("0.0.0.0",), "::1", False),
        (("::",), "::1", True),
    ],
)
def test_streams_listen_only_on_addresses_of_the_gateway(ours: tuple[str, ...], address: str, expected: bool) -> None:
    assert Policy(addresses=ours).may_bind(address).allowed is expected


def test_files_must_lie_below_an_allowed_folder(tmp_path: Path) -> None:
    inside, outside = str(tmp_path / "a.pem"), "/etc/hostname"
    folders = Policy(label_files=(str(tmp_path),))
    assert folders.may_read(A, inside).allowed
    refused = {folders.may_read(A, path) for path in (outside, "/etc/nothing", f"{tmp_path}/../x", "relative")}
    assert [verdict.reason for verdict in refused] == [FILE_REFUSED]
    assert not Policy(label_files=(str(tmp_path),), default="deny").may_read(A, inside).allowed


def test_a_rule_has_its_own_folders() -> None:
    assert TEAMS.folders_for(A) == ("/srv/certs/team-a",)
    assert TEAMS.folders_for(Claimant(engine="edge", project="team-x/..")) == ()
    assert TEAMS.may_read(A, "/srv/certs/team-a/x.pem").rule is RULE
    assert not TEAMS.may_read(A, "/srv/certs/team-b/x.pem").allowed


def test_middlewares_are_matched_by_their_usual_name() -> None:
    assert TEAMS.may_use_middleware(A, "redirect_http").allowed
    assert not TEAMS.may_use_middleware(A, "oidc").allowed


FILE = "a label may refer only to a readable file below a folder that gateway.label_files or a rule allows"


def test_a_refusal_says_why_and_what_to_do() -> None:
    closed = Policy(default="deny")
    named = Policy(rules=(PolicyRule(number=3, project=("team-a",)),), default="deny")
    found = [
        NO_POLICY.may_listen(A, 8080, own_ports=frozenset({8080})),
        NO_POLICY.may_listen(A, 22),
        Policy(stream_ports=()).may_listen(A, 9000),
        Policy(addresses=("10.0.0.1",)).may_bind("0.0.0.0"),
        NO_POLICY.may_read(A, "/etc/passwd"),
        TEAMS.may_read(A, "/etc/passwd"),
        NO_POLICY.may_join_pool(A, "shared", B),
        closed.may_use_middleware(A, "oidc"),
        named.may_listen(A, 9000),
        TEAMS.may_join_pool(A, "other", B),
    ]
    assert [(verdict.reason, verdict.hint) for verdict in found] == [
        ("pilotage itself listens on port 8080", "choose another listening port, as in port: 9000:5432"),
        (
            "port 22 is the SSH port",
            "choose another listening port, or list this one in gateway.stream_ports",
        ),
        ("port 9000 is not in gateway.stream_ports", ""),
        ("the gateway does not listen on 0.0.0.0", "remove bind, or set it to 10.0.0.1"),
        (FILE, "remove it, or ask the operator to allow its folder"),
        (FILE, "remove it, or ask the operator to allow its folder in rule 1 'teams' (pilotage.yml:9)"),
        (
            "the pool shared belongs to another Compose project or engine",
            "choose another name for the pool, or allow it in a policy rule",
        ),
        (
            "no policy rule allows this container to use the middleware oidc",
            "policy.default is deny; add a rule for it",
        ),
        (
            "this container may not listen on port 9000: rule 3 does not mention ports, and the default is deny",
            "",
        ),
        ("this container may not join the pool other: rule 1 'teams' (pilotage.yml:9) does not allow it", ""),
    ]
    assert not any(verdict.allowed for verdict in found)
    assert [verdict.rule for verdict in found] == [*[None] * 5, RULE, None, None, named.rules[0], RULE]


def test_the_rule_of_a_file_is_the_one_that_lists_folders(tmp_path: Path) -> None:
    inside = str(tmp_path / "a.pem")
    silent = Policy(rules=(PolicyRule(hosts=("*",)),), label_files=(str(tmp_path),))
    assert silent.may_read(A, inside).allowed
    assert silent.may_read(A, inside).rule is None
    assert silent.folders_for(A) == (str(tmp_path),)


def test_names_of_middlewares_in_rules_may_have_capitals() -> None:
    assert Policy(rules=(PolicyRule(middlewares=("Redirect_*",)),)).may_use_middleware(A, "redirect_http").allowed


def test_a_rule_whose_placeholders_have_no_value_allows_nothing() -> None:
    odd = Claimant(engine="edge", project="team-x/..")
    policy = Policy(rules=(PolicyRule(hosts=("{{project}}",), middlewares=("{{service}}",)),))
    assert not policy.may_use_host(odd, "team-x").allowed
    assert not policy.may_use_middleware(odd, "oidc").allowed
    assert policy.may_use_host(A, "team-a").allowed


def test_a_folder_is_published_only_below_one_that_the_operator_lists(tmp_path: Path) -> None:
    (tmp_path / "www" / "site").mkdir(parents=True)
    site, roots = str(tmp_path / "www" / "site"), (str(tmp_path / "www"),)
    assert Policy(label_roots=roots).may_publish(A, site).allowed
    assert Policy(label_roots=roots).may_publish(A, roots[0]).allowed
    assert not Policy(label_files=roots).may_publish(A, site).allowed
    assert not Policy(label_roots=(site,)).may_publish(A, str(tmp_path)).allowed
    assert not Policy(label_roots=roots, default="deny").may_publish(A, site).allowed
    for files, allowed in ((roots, True), (("/srv",), False), ((), False), (None, True)):
        rules = (PolicyRule(files=files),)
        assert Policy(label_roots=roots, rules=rules).may_publish(A, site).allowed is allowed


def test_published_folders_are_below_all_that_limit_them(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "www").symlink_to(tmp_path / "data")
    www, data = f"{tmp_path}/www", os.path.realpath(tmp_path / "data")
    assert Policy(label_roots=(www,)).roots_for(A) == (www,)
    assert Policy(label_roots=(www,), default="deny").roots_for(A) == ()
    rules = (PolicyRule(files=(f"{www}/{{{{project}}}}", f"{data}/x/y", "/srv")),)
    assert Policy(label_roots=(f"{www}/*",), rules=rules).roots_for(A) == (f"{data}/team-a", f"{data}/x/y")
