from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import click
import pytest

from pilotage import __version__
from pilotage.cli import cli, run
from pilotage.testing import FakeEngine, container
from tests.support.harbour import HARBOUR, harbour_file, one, recording

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.engines import Engine

COMMANDS = sorted(cli.commands)


class Said(NamedTuple):
    """What a command did."""

    status: int
    out: str
    err: str


@pytest.fixture
def pilotage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Said]:
    """Run a command on a machine without an engine, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("pilotage.sources.CONFIG_FILES", ("pilotage.yml",))
    monkeypatch.setattr("pilotage.engine.contexts.local_sockets", lambda env: [str(tmp_path / "none.sock")])
    monkeypatch.setattr("pilotage.probe.local_sockets", lambda env: [])
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "PILOTAGE_DEBUG", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))

    def command(*args: str) -> Said:
        status = run(args)
        said = capsys.readouterr()
        assert "Traceback" not in said.out + said.err
        return Said(status, said.out, said.err)

    return command


def a_process(*args: str, **more: Any) -> subprocess.Popen[str]:
    """Start a command as people do."""
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, "-m", "pilotage", *args], **pipes | more)


FINE = recording([one("web", {"proxy.web.port": "8080"}), one("db", Image="postgres:17")])


# ---- help


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_every_command_has_an_example(pilotage: Callable[..., Said], command: str) -> None:
    said = pilotage(command, "--help")
    assert said.status == 0
    assert f"\n  pilotage {command}" in said.out.split("Examples:")[1]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_says_what_it_does(command: str) -> None:
    options = [each for each in cli.commands[command].params if isinstance(each, click.Option)]
    assert [option.name for option in options if not option.help] == []


def test_without_a_command_the_help_is_shown(pilotage: Callable[..., Said]) -> None:
    said = pilotage()
    assert all(command in said.out + said.err for command in COMMANDS)


def test_help_imports_nothing_that_takes_its_time() -> None:
    heavy = "aiohttp asyncio msgspec pydantic rich yaml pilotage.engine pilotage.routes".split()
    code = f"import pilotage.cli, sys; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_version_is_told(pilotage: Callable[..., Said]) -> None:
    assert pilotage("--version") == (0, f"pilotage, version {__version__}\n", "")


def test_words_can_be_completed() -> None:
    env = {**os.environ, "_PILOTAGE_COMPLETE": "bash_complete", "COMP_WORDS": "pilotage ro", "COMP_CWORD": "1"}
    code = "import sys; sys.argv = ['pilotage']; from pilotage.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=env)
    assert done.stdout == "plain,routes\n"


# ---- usage


def test_a_mistyped_command_is_answered_with_the_one_that_was_meant(pilotage: Callable[..., Said]) -> None:
    said = pilotage("rotues")
    assert (said.status, said.out) == (2, "")
    assert said.err.endswith("Error: There is no command 'rotues'. Did you mean 'routes'?\n")


def test_a_mistyped_option_is_answered_with_the_one_that_was_meant(pilotage: Callable[..., Said]) -> None:
    said = pilotage("routes", "--repaly", "x")
    assert said.status == 2
    assert "Did you mean '--replay'?" in said.err


def test_what_excludes_each_other_is_told(pilotage: Callable[..., Said]) -> None:
    said = pilotage("ps", "--demo", "--replay", "x")
    assert said.status == 2
    assert "exclude each other" in said.err


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--engine", "ftp://x"], "has the scheme 'ftp', which is none that we know"),
        (["--engine", "a=ssh://me:pw@x"], "an ssh address must not hold a password"),
        (["--engine", "nonsense"], "gives no name; write NAME=URL"),
        (["--context", "none"], "there is no Docker context 'none'"),
        (["--config", "none.yml"], "none.yml: cannot be read"),
        (["--replay", "none.json"], "none.json: cannot be read"),
        ([], "no container engine was found"),
    ],
)
@pytest.mark.parametrize("command", ["ps", "routes"])
def test_what_cannot_be_used_is_told_in_our_words(
    pilotage: Callable[..., Said], command: str, args: list[str], said: str
) -> None:
    found = pilotage(command, *args)
    assert (found.status, found.out) == (2, "")
    assert said in found.err


def test_every_fault_of_a_configuration_is_told_with_its_place(pilotage: Callable[..., Said], tmp_path: Path) -> None:
    text = "providers:\n  docker:\n    a: {sheme: tcp, host: x}\n    b: tpc://x:1\n"
    (tmp_path / "pilotage.yml").write_text(text)
    found = pilotage("routes")
    assert found.status == 2
    assert "pilotage.yml:3:9" in found.err
    assert "did you mean 'scheme'?" in found.err
    assert "pilotage.yml:4:8" in found.err


# ---- routes and ps


def test_all_is_well_with_status_0(pilotage: Callable[..., Said], tmp_path: Path) -> None:
    said = pilotage("routes", "--replay", harbour_file(tmp_path, FINE))
    assert (said.status, said.err) == (0, "")
    assert said.out.endswith("\n\n2 routes, 1 excluded, no problems\n")


def test_problems_give_status_1_and_stand_below_the_table(pilotage: Callable[..., Said], tmp_path: Path) -> None:
    said = pilotage("ps", "--replay", harbour_file(tmp_path))
    assert said.status == 1
    assert "\nerror: local/shop: proxy.admin.pot" in said.out
    assert said.out.index("CONTAINER") < said.out.index("error:") < said.out.index("14 containers")


def test_a_pipe_gets_one_line_for_each_row_whatever_its_length(pilotage: Callable[..., Said], tmp_path: Path) -> None:
    name = "a" * 150
    said = pilotage("ps", "--replay", harbour_file(tmp_path, recording([one(name)])))
    assert said.out.splitlines()[1].startswith(f"{name}  local")


def test_json_is_the_document(pilotage: Callable[..., Said], tmp_path: Path) -> None:
    for command in ("routes", "ps"):
        said = pilotage(command, "--format", "json", "--replay", harbour_file(tmp_path))
        assert said.status == 1
        document = json.loads(said.out)
        assert list(document) == ["containers", "routes", "problems"]
        assert document["routes"]["shop"]["healthcheck"]["path"] == "/up"
        assert len(document["containers"]) == len(HARBOUR)


def test_several_recordings_give_a_document_each_a_line_each(pilotage: Callable[..., Said], tmp_path: Path) -> None:
    files = []
    for name in ("one", "two", "three"):
        file = tmp_path / f"{name}.json"
        file.write_text(json.dumps(recording([one(name)]), indent=2))
        files += ["--replay", str(file)]
    said = pilotage("routes", "--format", "json", *files)
    assert [list(json.loads(line)["routes"]) for line in said.out.splitlines()] == [["one"], ["two"], ["three"]]


def test_the_demonstration_needs_no_engine(pilotage: Callable[..., Said]) -> None:
    said = pilotage("routes", "--demo")
    assert said.status == 0  # what is wrong in it is wrong on purpose
    assert "did you mean 'scheme'?" in said.out


def test_the_demonstration_may_stand_in(pilotage: Callable[..., Said]) -> None:
    said = pilotage("routes", "--or-demo")
    assert "shop-admin" in said.out
    assert said.err == "No container engine answers here, so this is the built-in demonstration.\n"


async def test_one_engine_that_fails_does_not_stop_the_others(pilotage: Callable[..., Said], tmp_path: Path) -> None:
    async with FakeEngine([container("web", ports=(80,))]) as engine:
        args = ["--engine", f"gone=unix://{tmp_path}/gone.sock", "--engine", f"here={engine.url}"]
        table = await asyncio.to_thread(pilotage, "ps", *args)
        document = await asyncio.to_thread(pilotage, "routes", "--format", "json", *args)
    assert table.status == document.status == 1
    assert "web" in table.out
    assert table.err.startswith(f"error: gone: there is no socket {tmp_path}/gone.sock; ")
    found = json.loads(document.out)
    assert list(found["routes"]) == ["web"]
    assert [problem["provider"] for problem in found["problems"]] == ["gone"]


def test_nothing_reachable_is_status_2(pilotage: Callable[..., Said], tmp_path: Path) -> None:
    args = ["--engine", f"gone=unix://{tmp_path}/gone.sock"]
    table = pilotage("routes", *args)
    assert (table.status, table.out) == (2, "")
    assert "there is no socket" in table.err
    document = pilotage("routes", "--format", "json", *args)
    assert document.status == 2
    assert json.loads(document.out)["problems"][0]["provider"] == "gone"


# ---- explain


def test_a_name_is_explained(pilotage: Callable[..., Said], tmp_path: Path) -> None:
    said = pilotage("explain", "whoami", "--replay", harbour_file(tmp_path))
    assert said.status == 0
    assert said.out.startswith("Container whoami on local")
    assert "\nRoute whoami → http://172.17.0.5:80\n" in said.out


def test_problems_of_what_is_explained_give_status_1(pilotage: Callable[..., Said], tmp_path: Path) -> None:
    assert pilotage("explain", "shop", "--replay", harbour_file(tmp_path)).status == 1


@pytest.mark.parametrize(("name", "hint"), [("shpo", "did you mean 'shop'?"), ("zzzzzz", "there are admin, api")])
def test_an_unknown_name_is_answered_with_known_ones(
    pilotage: Callable[..., Said], tmp_path: Path, name: str, hint: str
) -> None:
    said = pilotage("explain", name, "--replay", harbour_file(tmp_path))
    assert (said.status, said.out) == (2, "")
    assert said.err.startswith(f"error: no container and no alias is called '{name}'; {hint}")


def test_an_explanation_is_there_for_machines_too(pilotage: Callable[..., Said], tmp_path: Path) -> None:
    said = pilotage("explain", "shop", "--format", "json", "--replay", harbour_file(tmp_path))
    story = json.loads(said.out)["containers"][0]
    (port,) = [fact for fact in story["routes"][0]["facts"] if fact["name"] == "port"]
    assert port["written"] == {"value": "8080", "label": "proxy.shop.port", "line": 0, "column": 0, "file": ""}


# ---- labels, capture, engines


def test_labels_can_be_searched(pilotage: Callable[..., Said]) -> None:
    said = pilotage("labels", "wake")
    assert said.status == 0
    assert [line.split()[0] for line in said.out.splitlines()] == ["LABEL", "proxy.wake_timeout"]


def test_a_label_that_is_not_there_is_answered_with_one_that_is(pilotage: Callable[..., Said]) -> None:
    said = pilotage("labels", "shceme")
    assert (said.status, said.out) == (2, "")
    assert said.err == "error: no label has 'shceme' in its name; did you mean 'scheme'?\n"


def test_labels_are_there_for_machines_and_documents(pilotage: Callable[..., Said]) -> None:
    assert len(json.loads(pilotage("labels", "--format", "json").out)) > 100
    assert pilotage("labels", "--format", "markdown").out.startswith("# Labels\n")


async def test_a_recording_of_an_engine_can_be_replayed(pilotage: Callable[..., Said], tmp_path: Path) -> None:
    async with FakeEngine([container("web", ports=(80,), labels={"proxy.web.port": "81"})]) as engine:
        where = ["--engine", f"local={engine.url}"]
        captured = await asyncio.to_thread(pilotage, "capture", *where)
        live = await asyncio.to_thread(pilotage, "routes", "--format", "json", *where)
    assert captured.status == 0
    assert "1 container of 1 engine recorded" in captured.err
    (tmp_path / "report.json").write_text(captured.out)
    assert pilotage("routes", "--format", "json", "--replay", "report.json").out == live.out


def test_nothing_to_record_is_status_2(pilotage: Callable[..., Said], tmp_path: Path) -> None:
    said = pilotage("capture", "--engine", f"gone=unix://{tmp_path}/gone.sock")
    assert (said.status, said.out) == (2, "")


async def test_engines_are_listed_with_their_answers(pilotage: Callable[..., Said], tmp_path: Path) -> None:
    async with FakeEngine(api="1.45") as engine:
        args = ["--engine", f"here={engine.url}", "--engine", f"gone=unix://{tmp_path}/gone.sock"]
        said = await asyncio.to_thread(pilotage, "engines", *args)
        machine = await asyncio.to_thread(pilotage, "engines", "--format", "json", *args)
    assert said.status == machine.status == 1
    here, gone = said.out.splitlines()[1:3]
    assert "Docker" in here
    assert "there is no socket" in gone
    assert [each["answers"] for each in json.loads(machine.out)] == [True, False]


def test_no_engine_at_all_says_where_we_looked(pilotage: Callable[..., Said]) -> None:
    said = pilotage("engines")
    assert said.status == 2
    assert "no container engine was found" in said.err


# ---- how commands end


def test_a_defect_is_told_in_one_line_and_how_to_report_it(
    pilotage: Callable[..., Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> str:
        raise ZeroDivisionError("of\nall things")

    monkeypatch.setattr("pilotage.label_reference.markdown", broken)
    said = pilotage("labels", "--format", "markdown")
    assert said.status == 70
    assert said.err.startswith("error: this is a defect of pilotage (ZeroDivisionError: of all things)\n")
    assert "PILOTAGE_DEBUG=1" in said.err


def test_a_defect_shows_its_traceback_to_who_asks_for_it(
    pilotage: Callable[..., Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> str:
        raise ZeroDivisionError

    monkeypatch.setattr("pilotage.label_reference.markdown", broken)
    monkeypatch.setenv("PILOTAGE_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        run(["labels", "--format", "markdown"])


@pytest.mark.parametrize("command", [["labels"], ["explain", "shop", "--demo"], ["--help"], ["routes", "--demo"]])
def test_who_has_read_enough_is_not_told_of_a_broken_pipe(command: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with a_process(*command, stdout=writing, env={**os.environ, "PYTHONUNBUFFERED": "1"}) as process:
        os.close(writing)
        assert process.communicate()[1] == ""
    assert process.returncode == 141


def test_an_interrupted_command_ends_at_once_and_without_a_traceback() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with a_process("routes", "--engine", f"silent=tcp://127.0.0.1:{port}") as process:
            connection, _ = silent.accept()
            with connection:
                connection.recv(1)  # now it waits for an answer
                process.send_signal(signal.SIGINT)
                _, said = process.communicate()
    assert process.returncode == 130
    assert said.strip() == ""


def test_letters_that_the_terminal_lacks_do_not_matter(tmp_path: Path) -> None:
    env = {**os.environ, "PYTHONIOENCODING": "ascii"}
    with a_process("explain", "shop", "--replay", harbour_file(tmp_path), env=env) as process:
        out, said = process.communicate()
    assert said == ""
    assert "Route shop ? http://172.17.0.5:8080" in out


@pytest.mark.parametrize(
    "labels",
    [
        {"proxy.a": "\x00"},
        {"proxy.a": "&a [*a]"},
        {"proxy.a": "{" * 5000},
        {"proxy.": "x", "proxy": "y", "proxy..": "z"},
        {"proxy.a.port.proxy.x.y": "1", "proxy.a": "port: [1]"},
        {"proxy.aliases": ",", "proxy.#99999999999999999999": "a: b"},
    ],
)
def test_no_label_makes_any_command_fail(pilotage: Callable[..., Said], tmp_path: Path, labels: dict[str, str]) -> None:
    file = harbour_file(tmp_path, recording([one("web", labels)]))
    for command in (["routes"], ["ps"], ["explain", "web"]):
        for form in ((), ("--format", "json")):
            assert pilotage(*command, *form, "--replay", file).status in {0, 1}


# ---- a real engine


async def test_a_new_user_sees_routes_and_slips_of_a_real_engine(
    pilotage: Callable[..., Said], engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.run("cli-shop", labels={"proxy.aliases": "shop", "proxy.shop.prot": "8080", "proxy.shop.scheme": "https"})
    engine.run("cli-db", "pilotage/web:1", None, "--expose", "5432")
    monkeypatch.setenv("DOCKER_HOST", engine.host)
    routes = await asyncio.to_thread(pilotage, "routes")
    assert routes.status == 1
    assert routes.err == f"Looking at local: DOCKER_HOST is {engine.host}.\n"
    (shop,) = [line for line in routes.out.splitlines() if line.startswith("shop ")]
    assert shop.split()[1] == f"https://{engine.inspect('cli-shop')['NetworkSettings']['IPAddress']}:80"
    assert "local/cli-shop: proxy.shop.prot: unknown field; did you mean 'port'?" in routes.out
    why = await asyncio.to_thread(pilotage, "explain", "cli-db")
    assert why.status == 0
    assert "Route cli-db is not served: Blacklisted (backend service or database); known by its port 5432" in why.out
    engines = await asyncio.to_thread(pilotage, "engines")
    assert engines.status == 0
    assert engines.out.splitlines()[1].startswith("local*")


def test_a_route_of_a_file_is_listed_and_explained(pilotage: Callable[..., Said], tmp_path: Path) -> None:
    (tmp_path / "pilotage.yml").write_text("providers:\n  files: own.yml\n")
    (tmp_path / "own.yml").write_text("nas: {host: 10.0.0.2, port: 5000}\n")
    said = pilotage("routes")
    assert (said.status, said.err) == (0, "Looking at own.yml: named in pilotage.yml.\n")
    assert "nas    http://10.0.0.2:5000  -          own.yml  ready" in said.out
    said = pilotage("explain", "nas")
    assert said.status == 0
    assert "own.yml:1:29" in said.out
    assert "did you mean 'nas'?" in pilotage("explain", "nsa").err


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
