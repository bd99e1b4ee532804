from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import pytest

from pilotage.config.engines import DEFAULT_POLICY, EngineChoice, choose_engines, find_config_file, parse_engine_args
from pilotage.core.errors import ConfigError
from pilotage.engine.contexts import resolved

if TYPE_CHECKING:
    from pathlib import Path

SOCKET = "unix:///run/x.sock"


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder without a configuration file."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("pilotage.config.engines.CONFIG_FILES", ("pilotage.yml",))


def env(tmp_path: Path, **more: str) -> dict[str, str]:
    return {"HOME": str(tmp_path), **more}


def names(choice: EngineChoice, environment: dict[str, str]) -> list[tuple[str, str]]:
    return [(config.name, config.url) for config in choose_engines(choice, environment).configs]


def context(home: Path, name: str, host: str) -> None:
    folder = home / ".docker" / "contexts" / "meta" / hashlib.sha256(name.encode()).hexdigest()
    folder.mkdir(parents=True)
    meta = {"Name": name, "Endpoints": {"docker": {"Host": host}}}
    (folder / "meta.json").write_text(json.dumps(meta))


def message_of(error: pytest.ExceptionInfo[ConfigError]) -> str:
    (problem,) = error.value.problems
    return f"{problem.message}; {problem.hint}"


def test_without_options_the_engine_comes_from_the_environment(tmp_path: Path) -> None:
    found = choose_engines(EngineChoice(), env(tmp_path, DOCKER_HOST=SOCKET))
    assert [config.url for config in found.configs] == [SOCKET]
    assert found.why == f"DOCKER_HOST is {SOCKET}"


def test_without_options_a_configuration_wins_over_the_environment(tmp_path: Path) -> None:
    (tmp_path / "pilotage.yml").write_text(f"providers:\n  docker:\n    file: {SOCKET}\n")
    found = choose_engines(EngineChoice(), env(tmp_path, DOCKER_HOST="unix:///run/other.sock"))
    assert [config.name for config in found.configs] == ["file"]
    assert found.why == "named in pilotage.yml"
    assert find_config_file() == "pilotage.yml"


def test_named_engines_come_before_a_file(tmp_path: Path) -> None:
    (tmp_path / "pilotage.yml").write_text(f"providers:\n  docker:\n    file: {SOCKET}\n")
    found = choose_engines(EngineChoice(engines=("mine=tcp://192.0.2.1:2375",)), env(tmp_path))
    assert [config.name for config in found.configs] == ["mine"]
    assert found.why == ""


def test_files_engines_and_contexts_add_up(tmp_path: Path) -> None:
    (tmp_path / "other.yml").write_text(f"providers:\n  docker:\n    file: {SOCKET}\n")
    context(tmp_path, "prod", "tcp://192.0.2.9:2375")
    choice = EngineChoice(config="other.yml", engines=("mine=tcp://192.0.2.1:2375",), contexts=("prod",))
    assert names(choice, env(tmp_path)) == [
        ("file", SOCKET),
        ("mine", "tcp://192.0.2.1:2375"),
        ("prod", "tcp://192.0.2.9:2375"),
    ]


def test_an_address_alone_is_named_after_its_host(tmp_path: Path) -> None:
    others = ("unix:///run/a.sock", "unix:///run/b.sock", "unix:///run/c.sock")
    urls = (*others, "tcp://node1:2375", "local-2=tcp://192.0.2.1:2375")
    assert [config.name for config in parse_engine_args(urls, env(tmp_path))] == [
        "local",
        "local-3",
        "local-4",
        "node1",
        "local-2",
    ]


def test_the_second_engine_of_a_host_is_number_two(tmp_path: Path) -> None:
    urls = ("unix:///run/a.sock", "unix:///run/b.sock", "unix:///run/c.sock")
    found = parse_engine_args(urls, env(tmp_path))
    assert [config.name for config in found] == ["local", "local-2", "local-3"]


def test_without_a_file_streams_listen_where_the_gateway_does() -> None:
    assert DEFAULT_POLICY.addresses == ("0.0.0.0",)


def test_a_word_alone_is_no_address(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_engine_args(("node1",), env(tmp_path))
    assert "--engine 'node1' has no name" in str(caught.value.problems[0])


@pytest.mark.parametrize("written", ["$DOCKER_HOST", "${DOCKER_HOST}"])
def test_the_variable_alone_is_an_address(tmp_path: Path, written: str) -> None:
    (only,) = parse_engine_args((written,), env(tmp_path, DOCKER_HOST=SOCKET))
    assert only.name == "local"


def test_two_engines_with_one_name_are_an_error(tmp_path: Path) -> None:
    context(tmp_path, "prod", "tcp://192.0.2.9:2375")
    with pytest.raises(ConfigError) as error:
        choose_engines(EngineChoice(engines=(f"prod={SOCKET}",), contexts=("prod",)), env(tmp_path))
    assert message_of(error) == "two engines are called 'prod'; give each engine its own name: --engine NAME=URL"


def test_a_file_without_engines_says_how_to_add_one(tmp_path: Path) -> None:
    (tmp_path / "pilotage.yml").write_text("providers:\n")
    with pytest.raises(ConfigError) as error:
        choose_engines(EngineChoice(), env(tmp_path))
    assert message_of(error).startswith("no engine is configured; add one under providers.docker")


def test_a_file_about_other_things_leaves_the_usual_engine(tmp_path: Path) -> None:
    (tmp_path / "pilotage.yml").write_text("gateway: {http: 81}\n")
    (tmp_path / "other.yml").write_text("match_domains: [.example.com]\n")
    here = env(tmp_path, DOCKER_HOST=SOCKET)
    for choice in (EngineChoice(), EngineChoice(config="other.yml")):
        chosen = choose_engines(choice, here)
        assert ([engine.url for engine in chosen.configs], chosen.why) == ([SOCKET], f"DOCKER_HOST is {SOCKET}")
    also = choose_engines(EngineChoice(config="other.yml", engines=("one=unix:///one.sock",)), here)
    assert [engine.name for engine in also.configs] == ["one"]


def test_an_invalid_address_is_reported_before_any_connection(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has no scheme"):
        choose_engines(EngineChoice(), env(tmp_path, DOCKER_HOST="node1"))


def test_a_context_is_resolved_to_its_address(tmp_path: Path) -> None:
    context(tmp_path, "prod", "tcp://192.0.2.9:2375")
    (engine,) = parse_engine_args(("mine=context://prod",), env(tmp_path))
    found = resolved(engine, env(tmp_path))
    assert (found.name, found.url) == ("mine", "tcp://192.0.2.9:2375")
