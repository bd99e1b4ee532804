"""The files in a folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pilotage.lint import folders
from pilotage.lint.folders import yaml_files

if TYPE_CHECKING:
    from pilotage.core.problems import Problem

pytestmark = pytest.mark.usefixtures("folder")


def test_yaml_files_below_a_folder_are_found_in_order() -> None:
    for name in ("b.yml", "a/c.yaml", "a/.hidden.yml", ".git/d.yml", "node_modules/e.yml", "f.json", "z/g.yml"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).touch()
    Path("z/loop").symlink_to("..")
    problems: list[Problem] = []
    assert list(yaml_files(".", problems)) == ["b.yml", "a/c.yaml", "z/g.yml"]
    assert not problems


def test_a_folder_that_cannot_be_listed_is_a_problem() -> None:
    problems: list[Problem] = []
    assert list(yaml_files("none", problems)) == []
    assert [str(problem) for problem in problems] == ["none: cannot be listed: No such file or directory"]


def test_a_folder_with_too_many_files_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "_MAX_FILES", 1)
    for name in ("a.yml", "b.yml"):
        Path(name).touch()
    problems: list[Problem] = []
    assert list(yaml_files(".", problems)) == ["a.yml"]
    assert problems[0].message == "has more than 1 YAML files; the others are not checked"
