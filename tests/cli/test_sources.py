from __future__ import annotations

import hashlib
import io
import json
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from pilotage.cli.sources import Choice, choose, config_file, demonstration, named, recorded, view
from pilotage.core.errors import ConfigError
from pilotage.engine.contexts import resolved
from tests.support.harbour import harbour_file, one, recording

if TYPE_CHECKING:
    from pathlib import Path

SOCKET = "unix:///run/x.sock"


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder without a configuration file."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("pilotage.cli.sources.CONFIG_FILES", ("pilotage.yml",))


def env(tmp_path: Path, **more: str) -> dict[str, str]:
    return {"HOME": str(tmp_path), **more}


def names(choice: Choice, environment: dict[str, str]) -> list[tuple[str, str]]:
    return [(config.name, config.url) for config in choose(choice, environment).configs]


def context(home: Path, name: str, host: str) -> None:
    folder = home / ".docker" / "contexts" / "meta" / hashlib.sha256(name.encode()).hexdigest()
    folder.mkdir(parents=True)
    meta = {"Name": name, "Endpoints": {"docker": {"Host": host}}}
    (folder / "meta.json").write_text(json.dumps(meta))


def fault(error: pytest.ExceptionInfo[ConfigError]) -> str:
    (problem,) = error.value.problems
    return f"{problem.message}; {problem.hint}"


# ---- which engines


def test_without_a_word_it_is_the_engine_of_the_environment_and_that_is_said(tmp_path: Path) -> None:
    found = choose(Choice(), env(tmp_path, DOCKER_HOST=SOCKET))
    assert [config.url for config in found.configs] == [SOCKET]
    assert found.why == f"DOCKER_HOST is {SOCKET}"


def test_without_a_word_a_file_comes_before_the_environment(tmp_path: Path) -> None:
    (tmp_path / "pilotage.yml").write_text(f"providers:\n  docker:\n    file: {SOCKET}\n")
    found = choose(Choice(), env(tmp_path, DOCKER_HOST="unix:///run/other.sock"))
    assert [config.name for config in found.configs] == ["file"]
    assert found.why == "named in pilotage.yml"
    assert config_file() == "pilotage.yml"


def test_named_engines_come_before_a_file(tmp_path: Path) -> None:
    (tmp_path / "pilotage.yml").write_text(f"providers:\n  docker:\n    file: {SOCKET}\n")
    found = choose(Choice(engines=("mine=tcp://192.0.2.1:2375",)), env(tmp_path))
    assert [config.name for config in found.configs] == ["mine"]
    assert found.why == ""


def test_files_engines_and_contexts_add_up(tmp_path: Path) -> None:
    (tmp_path / "other.yml").write_text(f"providers:\n  docker:\n    file: {SOCKET}\n")
    context(tmp_path, "prod", "tcp://192.0.2.9:2375")
    choice = Choice(config="other.yml", engines=("mine=tcp://192.0.2.1:2375",), contexts=("prod",))
    assert names(choice, env(tmp_path)) == [
        ("file", SOCKET),
        ("mine", "tcp://192.0.2.1:2375"),
        ("prod", "tcp://192.0.2.9:2375"),
    ]


def test_an_address_alone_is_named_after_its_host(tmp_path: Path) -> None:
    urls = ("unix:///run/a.sock", "unix:///run/b.sock", "tcp://node1:2375", "local-2=tcp://192.0.2.1:2375")
    assert [config.name for config in named(urls, env(tmp_path))] == ["local", "local-3", "node1", "local-2"]


def test_the_variable_alone_is_an_address(tmp_path: Path) -> None:
    (only,) = named(("$DOCKER_HOST",), env(tmp_path, DOCKER_HOST=SOCKET))
    assert only.name == "local"


def test_two_engines_of_one_name_are_refused(tmp_path: Path) -> None:
    context(tmp_path, "prod", "tcp://192.0.2.9:2375")
    with pytest.raises(ConfigError) as error:
        choose(Choice(engines=(f"prod={SOCKET}",), contexts=("prod",)), env(tmp_path))
    assert fault(error) == "two engines are called 'prod'; give each engine a name of its own: --engine NAME=URL"


def test_a_file_without_engines_says_how_to_add_one(tmp_path: Path) -> None:
    (tmp_path / "pilotage.yml").write_text("providers:\n")
    with pytest.raises(ConfigError) as error:
        choose(Choice(), env(tmp_path))
    assert fault(error).startswith("no engine is configured; add one under providers.docker")


def test_a_file_about_other_things_leaves_the_usual_engine(tmp_path: Path) -> None:
    (tmp_path / "pilotage.yml").write_text("gateway: {http: 81}\n")
    (tmp_path / "other.yml").write_text("match_domains: [.example.com]\n")
    here = env(tmp_path, DOCKER_HOST=SOCKET)
    for choice in (Choice(), Choice(config="other.yml")):
        chosen = choose(choice, here)
        assert ([engine.url for engine in chosen.configs], chosen.why) == ([SOCKET], f"DOCKER_HOST is {SOCKET}")
    also = choose(Choice(config="other.yml", engines=("one=unix:///one.sock",)), here)
    assert [engine.name for engine in also.configs] == ["one"]


def test_an_address_that_is_none_is_told_before_anything_is_tried(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not say how to get there"):
        choose(Choice(), env(tmp_path, DOCKER_HOST="node1"))


def test_a_context_is_looked_up_for_where_it_is_decides_how_containers_are_reached(tmp_path: Path) -> None:
    context(tmp_path, "prod", "tcp://192.0.2.9:2375")
    (engine,) = named(("mine=context://prod",), env(tmp_path))
    found = resolved(engine, env(tmp_path))
    assert (found.name, found.url) == ("mine", "tcp://192.0.2.9:2375")


# ---- recordings


def test_a_recording_gives_a_view(tmp_path: Path) -> None:
    seen = recorded(harbour_file(tmp_path, recording([one("web")])))
    assert list(seen.table.routes) == ["web"]
    assert seen.is_sound


def test_several_engines_in_one_file_share_one_table(tmp_path: Path) -> None:
    two = [recording([one("web", age=age)], name) for age, name in ((0, "near"), (9, "far"))]
    seen = recorded(harbour_file(tmp_path, *two))
    assert [roster.config.name for roster in seen.rosters] == ["near", "far"]
    assert seen.table.routes["web"].provider == "far"
    assert not seen.is_sound


def test_warnings_do_not_make_a_view_unsound(tmp_path: Path) -> None:
    seen = recorded(harbour_file(tmp_path, recording([one("web", {"prxy.web.port": "1"})])))
    assert [problem.severity for problem in seen.table.problems] == ["warning"]
    assert seen.is_sound


def test_a_dash_is_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    body = json.dumps(recording([one("web")])).encode()
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(body)))
    assert list(recorded("-").table.routes) == ["web"]


def test_a_file_that_is_not_there_is_an_error_in_our_words(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        recorded(str(tmp_path / "none.json"))
    assert fault(error) == "cannot be read: No such file or directory; give a file made with 'pilotage capture'"


@pytest.mark.parametrize("text", ["", "[]", "{}", "nonsense", '{"provider": {"name": "x"}}', "\x00\xff"])
def test_a_file_that_is_no_recording_is_an_error_in_our_words(text: str, tmp_path: Path) -> None:
    file = tmp_path / "bad.json"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigError, match="not a recording of an engine"):
        recorded(str(file))


# ---- live engines


def test_an_engine_that_is_away_is_an_error_and_a_problem(tmp_path: Path) -> None:
    choice = Choice(engines=(f"gone=unix://{tmp_path}/none.sock",))
    seen = view(choose(choice, env(tmp_path)), {})
    assert seen.rosters == ()
    assert [error.engine for error in seen.errors] == ["gone"]
    (problem,) = seen.table.problems
    assert (problem.provider, problem.severity) == ("gone", "error")
    assert problem.message == seen.errors[0].what
    assert not seen.is_sound


def test_the_demonstration_shows_something_of_everything() -> None:
    seen = demonstration()
    assert {route.excluded for route in seen.table.routes.values()} == {True, False}
    assert seen.table.problems
    assert seen.is_sound  # they are there on purpose


def test_files_of_routes_need_no_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pilotage.yml").write_text("providers:\n  files: [own.yml]\n")
    (tmp_path / "own.yml").write_text("nas: {host: 10.0.0.2, prot: 1}\n")
    engines = choose(Choice(config="pilotage.yml"), {})
    assert (engines.configs, engines.files) == ((), ("own.yml",))
    seen = view(engines, {})
    assert [file.name for file in seen.files] == ["own.yml"]
    assert [route.target for route in seen.table.sorted_routes()] == ["http://10.0.0.2:80"]
    assert not seen.is_sound
