from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pilotage.core.errors import ConfigError
from pilotage.lint.check import check_files
from pilotage.lint.policy import judge_compose

if TYPE_CHECKING:
    from pathlib import Path

COMPOSE = """
name: team-a
services:
  web:
    image: nginx
    labels:
      proxy.aliases: ${HOST}, b-shop
  db:
    image: acme/db
"""
POLICY = """
policy:
  - name: a
    who: {project: team-a, service: web}
    may: {hosts: [a-*]}
  - who: {engine: lab}
    may: {hosts: ["*"]}
  - who: {}
    may: nothing
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "compose.yml").write_text(COMPOSE)
    (tmp_path / "pilotage.yml").write_text(POLICY)
    return tmp_path


def engines(folder: Path, *names: str) -> None:
    lines = [f"    {name}: unix:///{number}.sock" for number, name in enumerate(names)]
    (folder / "pilotage.yml").write_text("\n".join(["providers:", "  docker:", *lines, POLICY]))


def error(file: str, config: str, engine: str) -> str:
    with pytest.raises(ConfigError) as caught:
        judge_compose(file, config, engine, {})
    return str(caught.value.problems[0])


def judged(engine: str = "", config: str = "") -> dict[str, list[bool]]:
    found, _ = judge_compose("compose.yml", config, engine, {"HOST": "a-shop"})
    return {service.service: [claim.allowed for claim in service.claims] for service in found}


def test_each_service_is_judged_with_its_project_and_variables(folder: Path) -> None:
    assert judged() == {"web": [True, False], "db": [False]}


def test_the_engine_counts(folder: Path) -> None:
    engines(folder, "lab!")
    assert judged() == {"web": [True, False], "db": [True]}
    engines(folder, "edge", "lab")
    assert judged("lab")["db"] == [True]
    assert judged("edge")["db"] == [False]
    assert error("compose.yml", "", "") == (
        "pilotage.yml: the rules depend on the engine; choose one with --on: edge, lab"
    )
    assert error("compose.yml", "", "lap") == "pilotage.yml: there is no engine 'lap'; did you mean 'lab'?"


def test_without_a_configuration_the_built_in_limits_apply(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pilotage.config.engines.CONFIG_FILES", ())
    (folder / "pilotage.yml").unlink()
    assert judged() == {"web": [True, True], "db": [True]}


def test_other_files_are_errors(folder: Path) -> None:
    (folder / "other.yml").write_text("a: 1")
    (folder / "bad.yml").write_text("a: [")
    assert error("other.yml", "", "") == "other.yml: this is not a Compose file; name a file that defines services"
    assert "bad.yml:" in error("bad.yml", "", "")
    assert "none.yml" in error("none.yml", "", "")
    assert "none.yml" in error("compose.yml", "none.yml", "")


def test_check_reports_what_the_rules_refuse_with_the_deciding_rule(folder: Path) -> None:
    found = [str(problem) for problem in check_files(["compose.yml", "pilotage.yml"], {"HOST": "a-shop"}).problems]
    rule = "rule 1 'a' (pilotage.yml:3) does not allow it"
    assert f"compose.yml: web: route b-shop: this container may not claim the host b-shop: {rule}" in found
    assert len(found) == 2
    engines(folder, "edge", "lab")
    found = [str(problem) for problem in check_files(["compose.yml", "pilotage.yml"], {"HOST": "a-shop"}).problems]
    assert len(found) == 1  # db may run on the other engine
