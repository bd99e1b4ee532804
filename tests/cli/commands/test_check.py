from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pilotage.core.yaml import parse_yaml
from pilotage.lint.check import USUAL
from pilotage.output.console import Out
from tests.support.terminal import Terminal, printed

if TYPE_CHECKING:
    from collections.abc import Callable

    from syrupy.assertion import SnapshotAssertion

    from tests.support.commandline import Said

ROOT = Path(__file__).parents[3]


def test_files_are_checked_without_an_engine(pilotage: Callable[..., Said], tmp_path: Path) -> None:
    assert pilotage("check").status == 2
    (tmp_path / "own.yml").write_text("nas: {host: 10.0.0.2}\n")
    assert pilotage("check", "own.yml") == (0, "own.yml: no problems\n", "")
    (tmp_path / "compose.yml").write_text("services: {web: {labels: {proxy.web.prot: 1}}}\n")
    said = pilotage("check")
    assert said.status == 1
    assert said.out.startswith("error: compose.yml:1:27: web: proxy.web.prot: unknown field; did you mean 'port'?\n")
    assert said.out.endswith("compose.yml: 1 problem, 0 warnings\n")
    assert pilotage("check", "compose.yml", "none.yml").status == 2
    document = json.loads(pilotage("check", "own.yml", "--format", "json").out)
    assert document == {"files": {"own.yml": "routes"}, "problems": []}


MANY = """\
services:
  web:
    image: acme/web
    labels:
      proxy.web.scheme: htps
      proxy.web.idle: ok
      proxy.web.middlewares.request.set_headers: "X-Key: hunter2"
      proxy.web.an_extremely_long_name_for_a_field_that_nobody_wants: and a value that is long
"""


@pytest.mark.parametrize("width", [50, 160])
def test_a_terminal_shows_each_line_with_its_problem_marked(
    width: int,
    pilotage: Callable[..., Said],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    snapshot: SnapshotAssertion,
) -> None:
    (tmp_path / "compose.yml").write_text(MANY)
    terminal = Terminal()
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr("sys.stdout", terminal)
    assert pilotage("check", "compose.yml").status == 1
    out = Out(terminal)
    assert printed(out) == snapshot


def test_standard_input_is_checked_like_a_file(
    pilotage: Callable[..., Said], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "other.yml").write_text("nas: {host: 10.0.0.2}\n")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"services: {web: {labels: {proxy.web.prot: 1}}}")))
    said = pilotage("check", "-", "other.yml", "--format", "github")
    assert said.status == 1
    assert said.out == (
        "::error file=<stdin>,line=1,col=27,title=pilotage::"
        "web: proxy.web.prot: unknown field; did you mean 'port'?\n2 files: 1 problem, 0 warnings\n"
    )


def test_a_folder_is_checked_without_files_of_other_programs(pilotage: Callable[..., Said], tmp_path: Path) -> None:
    files = {
        "shop/compose.yml": "services: {web: {labels: {proxy.web.prot: 1}}}\n",
        "pilotage.yml": "providers: {files: none.yml}\nmatch_domains: [example.com]\n",
        "routes.d/nas.yml": "nas: {host: 10.0.0.2, prot: 1}\n",
        ".github/workflows/ci.yml": "on: push\n",
        "ci.yml": "on: push\njobs: {test: {steps: []}}\n",
        "empty.yml": "",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    said = pilotage("check", ".", "shop", "--format", "json")
    found = json.loads(said.out)
    assert found["files"] == {
        "pilotage.yml": "configuration",
        "none.yml": "routes",
        "routes.d/nas.yml": "routes",
        "shop/compose.yml": "compose",
    }
    assert [(it["file"], it["line"]) for it in found["problems"]] == [
        ("none.yml", 0),
        ("routes.d/nas.yml", 1),
        ("shop/compose.yml", 1),
    ]
    (tmp_path / "bad").mkdir()
    assert "no file for Compose or pilotage in bad" in pilotage("check", "bad").err


def test_warnings_count_only_if_strict(pilotage: Callable[..., Said], tmp_path: Path) -> None:
    (tmp_path / "compose.yml").write_text("services: {web: {labels: {prxy.web.port: '80'}}}\n")
    assert pilotage("check").status == 0
    assert pilotage("check", "--strict").status == 1
    log = json.loads(pilotage("check", "--format", "sarif").out)
    assert [result["level"] for result in log["runs"][0]["results"]] == ["warning"]


def test_a_file_name_with_brackets_is_not_a_pattern(pilotage: Callable[..., Said], tmp_path: Path) -> None:
    (tmp_path / "a[1].yml").write_text("nas: {host: 10.0.0.2}\n")
    assert pilotage("check", "a[1].yml") == (0, "a[1].yml: no problems\n", "")


def test_the_pre_commit_hook_checks_the_files_that_the_command_knows(pilotage: Callable[..., Said]) -> None:
    document = parse_yaml((ROOT / ".pre-commit-hooks.yaml").read_text())
    assert document is not None
    (hook,) = ({key: item.value for key, item in entry.value.items()} for entry in document.value)
    program, *args = hook["entry"].split()
    assert (program, hook["language"], hook["require_serial"]) == ("pilotage", "python", True)
    for name in (*USUAL, "compose.override.yml", "docker-compose.prod.yaml", "pilotage.blue.yml"):
        assert re.search(hook["files"], name), name
        assert re.search(hook["files"], f"stacks/shop/{name}"), name
    for name in ("compose.yml.bak", "mycompose.yml", "pilotage.py", "compose/values.yml", "composer.yml"):
        assert not re.search(hook["files"], name), name
    Path("pilotage.yml").write_text("api: {}\n")
    Path("compose.yml").write_text("services: {web: {image: nginx, labels: {proxy.web.prot: 80}}}\n")
    said = pilotage(*args, "compose.yml", "pilotage.yml")
    assert said.status == 1
    assert "error: compose.yml:1:41: web: proxy.web.prot: unknown field" in said.out
