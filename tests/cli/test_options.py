from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click
import pytest
from msgspec.structs import replace

from pilotage.cli.options import (
    NOTHING,
    OK,
    PROBLEMS,
    chosen_engines,
    engine_options,
    format_option,
    print_json,
    source_options,
    status_of,
    views_of,
)
from pilotage.config.engines import EngineChoice
from tests.support.docker_contexts import write_context
from tests.support.example_engine import one, recording, recording_file, view

if TYPE_CHECKING:
    from pathlib import Path

HERE: dict[str, Any] = {"replay": (), "demo": False, "config": "", "engines": (), "contexts": ()}


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without an engine."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("pilotage.config.engines.CONFIG_FILES", ("pilotage.yml",))
    monkeypatch.setattr("pilotage.engine.contexts.local_sockets", lambda env: [str(tmp_path / "none.sock")])
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


def test_an_engine_whose_certificate_is_not_verified_is_named_on_standard_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_context(tmp_path, "lax", {"Host": "tcp://192.0.2.1:2376", "SkipTLSVerify": True})
    write_context(tmp_path, "sound", {"Host": "tcp://192.0.2.2:2376"})
    warning = "warning: lax: the certificate of tcp://192.0.2.1:2376 is not verified, "
    chosen_engines(EngineChoice(contexts=("lax", "sound")))
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith(warning)
    monkeypatch.setenv("DOCKER_HOST", "tcp://192.0.2.1:2376")
    monkeypatch.setenv("DOCKER_TLS", "1")
    chosen_engines(EngineChoice())
    assert "warning: local: the certificate of tcp://192.0.2.1:2376 is not verified" in capsys.readouterr().err


def given(*args: str) -> dict[str, Any]:
    """What a command with all the options is called with."""
    seen: dict[str, Any] = {}

    @click.command()
    @source_options
    @format_option("table", "json")
    def command(**options: Any) -> int:
        seen.update(options)
        return OK

    command.main(args=list(args), standalone_mode=False)
    return seen


def test_options_have_the_names_of_a_choice() -> None:
    args = ["--config", "a.yml", "--engine", "a=tcp://a:1", "--engine", "b=tcp://b:1", "--context", "c"]
    found = given(*args)
    assert {name: found[name] for name in EngineChoice.__struct_fields__} == {
        "config": "a.yml",
        "engines": ("a=tcp://a:1", "b=tcp://b:1"),
        "contexts": ("c",),
    }


def test_the_first_format_is_the_default() -> None:
    assert given()["form"] == "table"
    assert given("--format", "json")["form"] == "json"


def test_engine_options_alone_know_no_recordings() -> None:
    command = click.command()(engine_options(lambda **_: OK))
    assert {parameter.name for parameter in command.params} == set(EngineChoice.__struct_fields__)


def test_each_recording_is_a_view_of_its_own(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text(json.dumps(recording([one(name)])))
    views = views_of(**HERE | {"replay": ("a", "b")})
    assert [list(each.table.routes) for each in views] == [["a"], ["b"]]


@pytest.mark.parametrize(
    "both",
    [{"replay": ("x",), "demo": True}, {"replay": ("x",), "engines": ("a=tcp://a:1",)}, {"demo": True, "config": "x"}],
)
def test_recordings_demonstration_and_engines_cannot_be_combined(both: dict[str, Any]) -> None:
    with pytest.raises(click.UsageError, match="cannot be combined"):
        views_of(**HERE | both)


def test_the_demonstration_replaces_a_missing_engine_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    (found,) = views_of(**HERE, or_demo=True)
    assert [snapshot.config.name for snapshot in found.snapshots] == ["demo"]
    assert "this is the built-in demonstration" in capsys.readouterr().err


def test_the_demonstration_replaces_an_engine_that_does_not_respond(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/gone.sock")
    (found,) = views_of(**HERE, or_demo=True)
    assert [snapshot.config.name for snapshot in found.snapshots] == ["demo"]
    assert f"no socket at {tmp_path}/gone.sock" in capsys.readouterr().err


def test_the_demonstration_does_not_hide_an_invalid_configuration(tmp_path: Path) -> None:
    (tmp_path / "pilotage.yml").write_text("provders: {}\n")
    with pytest.raises(Exception, match="did you mean 'providers'"):
        views_of(**HERE, or_demo=True)


def test_the_chosen_engine_is_printed_once(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///run/x.sock")
    chosen_engines(EngineChoice())
    said = capsys.readouterr()
    assert said.err == "Using local: DOCKER_HOST is unix:///run/x.sock.\n"
    assert said.out == ""


def test_a_named_engine_is_not_printed_again(capsys: pytest.CaptureFixture[str]) -> None:
    chosen_engines(EngineChoice(engines=("a=unix:///run/x.sock",)))
    assert capsys.readouterr().err == ""


def test_the_exit_status_depends_on_all_views(tmp_path: Path) -> None:
    fine = view(tmp_path, recording([one("web")]))
    faulty = view(tmp_path, recording([one("web", {"proxy.web.prot": "1"})]))
    (gone,) = views_of(**HERE | {"engines": (f"gone=unix://{tmp_path}/gone.sock",)})
    partly = replace(fine, errors=gone.errors)
    for strict, of_labels in ((False, OK), (True, PROBLEMS)):
        found = [status_of(it, strict=strict) for it in ([fine], [fine, faulty], [fine, partly], [fine, gone])]
        assert found == [OK, of_labels, PROBLEMS, NOTHING]


def test_json_is_one_line_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"a": [1, 2], "ü": "\n"})
    assert capsys.readouterr().out == '{"a":[1,2],"ü":"\\n"}\n'


def test_json_is_spread_out_on_a_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    print_json({"a": 1})
    assert capsys.readouterr().out == '{\n  "a": 1\n}\n'


def test_a_recording_file_is_a_view(tmp_path: Path) -> None:
    (found,) = views_of(**HERE | {"replay": (recording_file(tmp_path),)})
    assert not found.is_sound
