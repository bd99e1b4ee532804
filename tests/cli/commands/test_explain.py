from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from pilotage.testing import FakeEngine
from tests.support.example_engine import recording_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.commandline import Said


def test_a_name_is_explained(pilotage: Callable[..., Said], tmp_path: Path) -> None:
    said = pilotage("explain", "whoami", "--replay", recording_file(tmp_path))
    assert said.status == 0
    assert said.out.startswith("Container whoami on local")
    assert "\nRoute whoami → http://172.17.0.5:80\n" in said.out


def test_errors_of_the_explained_name_give_status_1_only_if_strict(
    pilotage: Callable[..., Said], tmp_path: Path
) -> None:
    for name, status in (("shop", 1), ("whoami", 0)):
        assert pilotage("explain", name, "--replay", recording_file(tmp_path)).status == 0
        assert pilotage("explain", name, "--strict", "--replay", recording_file(tmp_path)).status == status


@pytest.mark.parametrize(("name", "hint"), [("shpo", "did you mean 'shop'?"), ("zzzzzz", "known names are admin, api")])
def test_an_unknown_name_is_answered_with_known_ones(
    pilotage: Callable[..., Said], tmp_path: Path, name: str, hint: str
) -> None:
    said = pilotage("explain", name, "--replay", recording_file(tmp_path))
    assert (said.status, said.out) == (2, "")
    assert said.err.startswith(f"error: no container or alias is named '{name}'; {hint}")


def test_an_explanation_is_there_for_machines_too(pilotage: Callable[..., Said], tmp_path: Path) -> None:
    said = pilotage("explain", "shop", "--format", "json", "--replay", recording_file(tmp_path))
    story = json.loads(said.out)["containers"][0]
    (port,) = [fact for fact in story["routes"][0]["facts"] if fact["name"] == "port"]
    assert port["written"] == {"value": "8080", "label": "proxy.shop.port", "line": 0, "column": 0, "file": ""}


async def test_problems_between_routes_name_the_label_as_it_was_written(pilotage: Callable[..., Said]) -> None:
    async with FakeEngine() as engine:
        for name in ("one", "two"):
            engine.add(name, labels={f"proxy.{name}.scheme": "tcp", "proxy.*.port": "7001:80"})
        engine.add("app", labels={"proxy.app.middlewares.forwardauth.route": "nobody"})
        where = ("--engine", f"local={engine.url}")
        listed = await asyncio.to_thread(pilotage, "routes", *where)
        explained = await asyncio.to_thread(pilotage, "explain", "two", *where)
    assert "local/two: proxy.*.port: tcp port 0.0.0.0:7001 belongs to one" in listed.out + listed.err
    assert "local/app: proxy.app.middlewares.forwardauth.route: " in listed.out + listed.err
    assert "proxy.*.port: tcp port 0.0.0.0:7001 belongs to one" in explained.out


def test_rules_in_a_file_are_explained_and_every_command_reports_their_errors(
    pilotage: Callable[..., Said], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rules = tmp_path / "rules.txt"
    (tmp_path / "routes.yml").write_text(f"shop:\n  host: 192.0.2.1\n  port: 80\n  rule_file: {rules}\n")
    (tmp_path / "pilotage.yml").write_text("providers: {files: [routes.yml]}")
    rules.write_text("\npath /old { redirect /new }")
    said = pilotage("explain", "shop")
    assert said.status == 0
    assert f"\n  rule, {rules}:2  path /old  tested by Envoy\n    redirect /new\n" in said.out
    assert pilotage("check", "routes.yml").status == 0
    for text, message in (
        ("\npath /old { redirct /new }", "'redirct' is not a command (line 2 of the file)"),
        ("path /old { log info /old x }", "log cannot write to '/old' (line 1 of the file)"),
        ("- do: pass\n- on: path /a\n  do: log info /old x", "log cannot write to '/old' (rule 2)"),
    ):
        rules.write_text(text)
        problem = f"rule_file: '{rules}': {message}"
        said = pilotage("explain", "shop", "--strict")
        explained = problem.replace(": ", " (line 4, column 3): ", 1)
        assert (said.status, explained in " ".join(said.out.split())) == (1, True)
        assert "its rules are not shown" not in said.out  # the problem says it
        assert "Route shop is not served: the gateway refuses rule_file" in said.out
        assert "not served: rule_file" in pilotage("routes").out
        checked = pilotage("check")
        assert (checked.status, problem in " ".join((checked.out + checked.err).split())) == (1, True)
    rules.unlink()
    assert pilotage("check").status == 0  # pilotage may run on another machine
    assert pilotage("explain", "shop", "--strict").status == 1
