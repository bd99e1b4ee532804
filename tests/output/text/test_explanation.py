from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest

from pilotage.output.console import Out
from pilotage.output.explain import explain_name
from pilotage.output.text.containers import print_containers
from pilotage.output.text.explanation import print_explanation
from pilotage.output.text.problems import print_problems
from pilotage.output.text.routes import print_routes
from pilotage.output.view import View
from pilotage.routes.file import read_route_file
from pilotage.table.store import build_table
from pilotage.xds import read_rule_file
from tests.support.example_engine import engine_snapshot, one, recording, view
from tests.support.terminal import printed

if TYPE_CHECKING:
    from pathlib import Path

    from syrupy.assertion import SnapshotAssertion


@pytest.mark.parametrize("name", ["shop", "shop-copy", "db", "closed", "lost", "wiki", "two-nets", "api", "other"])
def test_explanations(out: Out, example: View, name: str, snapshot: SnapshotAssertion) -> None:
    print_explanation(out, explain_name(name, example.snapshots, example.table))
    assert printed(out) == snapshot


def test_control_characters_in_names_are_escaped(tmp_path: Path) -> None:
    evil = recording([one("\x1b[2Jweb", {"proxy.a\x1b[2J.prot": "\x1b[2J"})])
    seen = view(tmp_path, evil)
    out = Out(io.StringIO())
    print_routes(out, seen)
    print_containers(out, seen)
    print_problems(out, seen.table.problems)
    print_explanation(out, explain_name("\x1b[2Jweb", seen.snapshots, seen.table))
    assert "\x1b" not in printed(out)


def test_routes_of_files(out: Out, snapshot: SnapshotAssertion) -> None:
    file = read_route_file("nas: {host: 10.0.0.2}\nshop: {host: x, port: 1, prot: 2}\n", "own.yml")
    snapshots = (engine_snapshot([one("shop")]),)
    seen = View(snapshots, build_table(snapshots, [file]), files=(file,))
    print_routes(out, seen)
    print_containers(out, seen)
    print_explanation(out, explain_name("shop", snapshots, seen.table, [file]))
    print_problems(out, seen.table.problems)
    assert printed(out) == snapshot


def test_rules_are_listed_with_their_lines(tmp_path: Path) -> None:
    rules = "path /old { redirect /new }\nheader X-Key s3cret {\n  path /a {\n    set header X-B s3cret\n  }\n}"
    listed = "- name: first\n  on: method POST\n  do: error 405 no"
    seen = view(tmp_path, recording([one("shop", {"proxy.shop.rules": rules, "proxy.blog.rules": listed})]))
    out = Out(io.StringIO())
    print_explanation(out, explain_name("shop", seen.snapshots, seen.table))
    text = printed(out)
    assert "label proxy.shop.rules" in text
    assert "  rule, line 1  path /old  tested by Envoy\n    redirect /new\n" in text
    assert "  rule, line 2  header X-Key …  tested by Envoy\n    if path /a\n      set header X-B …\n" in text
    assert "  rule 1  method POST  first; tested by Envoy\n    error 405 no\n" in text
    assert "s3cret" not in text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\npath /old { redirect /new }", "rule, FILE:2  path /old  tested by Envoy\n    redirect /new\n"),
        ("# first\n- on: path /old\n  do: redirect /new", "rule 1 of FILE  path /old  tested by Envoy"),
        ("not rules", "its rules are not shown: 'FILE': "),
    ],
)
def test_rules_in_a_file_are_listed_with_it(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "rules"
    path.write_text(text)
    file = read_route_file(f"shop: {{port: 80, rule_file: {path}}}", "routes.yml")
    out = Out(io.StringIO())
    print_explanation(out, explain_name("shop", (), build_table((), [file]), [file], with_rules=read_rule_file))
    assert f"  {expected.replace('FILE', str(path))}" in printed(out)
