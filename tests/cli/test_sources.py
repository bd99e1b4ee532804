from __future__ import annotations

import io
import json
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from pilotage.cli.sources import demonstration, recorded, view
from pilotage.config.engines import EngineChoice, choose_engines
from pilotage.core.errors import ConfigError
from tests.support.example_engine import one, recording, recording_file

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder without a configuration file."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("pilotage.config.engines.CONFIG_FILES", ("pilotage.yml",))


def env(tmp_path: Path, **more: str) -> dict[str, str]:
    return {"HOME": str(tmp_path), **more}


def message_of(error: pytest.ExceptionInfo[ConfigError]) -> str:
    (problem,) = error.value.problems
    return f"{problem.message}; {problem.hint}"


# ---- recordings


def test_a_recording_gives_a_view(tmp_path: Path) -> None:
    seen = recorded(recording_file(tmp_path, recording([one("web")])))
    assert list(seen.table.routes) == ["web"]
    assert seen.is_sound


def test_a_view_says_what_the_gateway_does_not_support(tmp_path: Path) -> None:
    closed, logged = (
        {"proxy.closed.middlewares.oidc": "{}"},
        {"proxy.logged.access_log.retention": "7 days", "proxy.logged.access_log.stdout": "true"},
    )
    containers = [one("web"), one("closed", closed), one("logged", logged)]
    seen = recorded(recording_file(tmp_path, recording(containers)))
    found = {problem.route: (problem.label, problem.severity) for problem in seen.table.problems}
    assert found["closed"] == ("proxy.closed.middlewares.oidc", "error")
    assert found["logged"] == ("proxy.logged.access_log.retention", "warning")
    assert seen.refused == {"closed": ("middlewares.oidc",)}
    assert seen.table.routes["closed"].excluded
    assert not seen.table.routes["logged"].excluded
    assert not seen.is_sound


def test_a_view_says_which_routes_cannot_be_served_together(tmp_path: Path) -> None:
    port = {"scheme": "tcp", "port": "7001:80"}
    labels = [{f"proxy.{name}.{key}": text for key, text in port.items()} for name in ("one", "two")]
    guarded = {"proxy.guarded.middlewares.forwardauth.route": "nobody"}
    containers = [one("one", labels[0]), one("two", labels[1]), one("guarded", guarded)]
    seen = recorded(recording_file(tmp_path, recording(containers)))
    assert seen.refused == {"two": ("port",), "guarded": ("middlewares.forwardauth",)}
    assert {it.route: it.label for it in seen.table.problems} == {
        "two": "proxy.two.port",
        "guarded": "proxy.guarded.middlewares.forwardauth.route",
    }
    assert not seen.is_sound


def test_several_engines_in_one_file_share_one_table(tmp_path: Path) -> None:
    two = [recording([one("web", age=age)], name) for age, name in ((0, "near"), (9, "far"))]
    seen = recorded(recording_file(tmp_path, *two))
    assert [snapshot.config.name for snapshot in seen.snapshots] == ["near", "far"]
    assert seen.table.routes["web"].provider == "near"
    assert not seen.is_sound


def test_warnings_do_not_make_a_view_unsound(tmp_path: Path) -> None:
    seen = recorded(recording_file(tmp_path, recording([one("web", {"prxy.web.port": "1"})])))
    assert [problem.severity for problem in seen.table.problems] == ["warning"]
    assert seen.is_sound


def test_a_dash_is_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    body = json.dumps(recording([one("web")])).encode()
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(body)))
    assert list(recorded("-").table.routes) == ["web"]


def test_a_file_that_is_not_there_is_an_error_in_plain_words(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        recorded(str(tmp_path / "none.json"))
    assert message_of(error) == "cannot be read: No such file or directory; use a file created by 'pilotage capture'"


@pytest.mark.parametrize("text", ["", "[]", "{}", "nonsense", '{"provider": {"name": "x"}}', "\x00\xff"])
def test_an_invalid_recording_is_a_plain_error(text: str, tmp_path: Path) -> None:
    file = tmp_path / "bad.json"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigError, match="not a recording of an engine"):
        recorded(str(file))


# ---- live engines


def test_an_engine_that_is_away_is_an_error_and_a_problem(tmp_path: Path) -> None:
    choice = EngineChoice(engines=(f"gone=unix://{tmp_path}/none.sock",))
    seen = view(choose_engines(choice, env(tmp_path)), {})
    assert seen.snapshots == ()
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
    engines = choose_engines(EngineChoice(config="pilotage.yml"), {})
    assert (engines.configs, engines.files) == ((), ("own.yml",))
    seen = view(engines, {})
    assert [file.name for file in seen.files] == ["own.yml"]
    assert [route.target for route in seen.table.sorted_routes()] == ["http://10.0.0.2:80"]
    assert not seen.is_sound
