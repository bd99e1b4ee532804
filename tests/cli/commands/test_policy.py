from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.commandline import Said

COMPOSE = "services: {web: {image: nginx, labels: {proxy.aliases: 'a-shop, b-shop'}}}\n"
POLICY = "policy:\n  - who: {}\n    may: {hosts: [a-*]}\n"


def test_policy_test_prints_what_each_service_would_get(pilotage: Callable[..., Said]) -> None:
    Path("compose.yml").write_text(COMPOSE)
    Path("rules.yml").write_text(POLICY)
    done = pilotage("policy", "test", "compose.yml", "--config", "rules.yml")
    assert done.status == 1
    assert "decided by rule 1 (rules.yml:2)" in done.out
    assert "✓ host a-shop" in done.out
    assert "✗ host b-shop: this container may not claim the host b-shop: rule 1 (rules.yml:2)" in done.out
    (web,) = json.loads(pilotage("policy", "test", "compose.yml", "--config", "rules.yml", "--format", "json").out)[
        "services"
    ]
    assert [(claim["value"], claim["allowed"]) for claim in web["claims"]] == [("a-shop", True), ("b-shop", False)]


def test_without_refusals_its_status_is_0(pilotage: Callable[..., Said]) -> None:
    Path("compose.yml").write_text(COMPOSE)
    done = pilotage("policy", "test", "compose.yml")
    assert (done.status, done.err) == (0, "")
    assert "1 service: 2 claims allowed, 0 refused" in done.out


def test_a_missing_file_is_an_error(pilotage: Callable[..., Said]) -> None:
    done = pilotage("policy", "test", "compose.yml")
    assert done.status == 2
    assert done.err.startswith("error: compose.yml: ")


def test_a_rule_about_an_unknown_engine_is_a_warning(pilotage: Callable[..., Said]) -> None:
    Path("compose.yml").write_text(COMPOSE)
    rule = "policy: [{who: {engine: nod1}, may: nothing}]\n"
    Path("pilotage.yml").write_text(f"{rule}providers: {{docker: {{node1: unix:///a.sock}}}}\n")
    words = (
        "warning: pilotage.yml:1: who.engine: rule 1 applies to an engine 'nod1', but no engine has this name; did you"
    )
    done = pilotage("policy", "test", "compose.yml")
    assert (done.status, done.err.startswith(words)) == (0, True)
    done = pilotage("check", "pilotage.yml")
    assert words in done.out
