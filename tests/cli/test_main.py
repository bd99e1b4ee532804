from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import click
import pytest

from pilotage import __version__
from pilotage.cli.main import cli, run
from tests.support.commandline import a_process
from tests.support.example_engine import recording_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.commandline import Said

pytestmark = pytest.mark.process

COMMANDS = sorted(cli.commands)


# ---- help


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_every_command_has_an_example(pilotage: Callable[..., Said], command: str) -> None:
    said = pilotage(command, "--help")
    assert said.status == 0
    assert f"\n  pilotage {command}" in said.out.split("Examples:")[1]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_has_help(command: str) -> None:
    options = [each for each in cli.commands[command].params if isinstance(each, click.Option)]
    assert [option.name for option in options if not option.help] == []


def test_without_a_command_the_help_is_shown(pilotage: Callable[..., Said]) -> None:
    said = pilotage()
    assert all(command in said.out + said.err for command in COMMANDS)


def test_help_imports_nothing_that_takes_its_time() -> None:
    heavy = "aiohttp asyncio msgspec pydantic rich yaml pilotage.engine pilotage.routes".split()
    code = f"import pilotage.cli.main, sys; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_scan_of_an_engine_imports_no_http_library_and_no_web_framework() -> None:
    heavy = "aiohttp grpc pydantic rich structlog watchfiles".split()
    code = f"import pilotage.discovery.scan, sys; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_version_option_prints_the_version(pilotage: Callable[..., Said]) -> None:
    assert pilotage("--version") == (0, f"pilotage, version {__version__}\n", "")


def test_words_can_be_completed() -> None:
    env = {**os.environ, "_PILOTAGE_COMPLETE": "bash_complete", "COMP_WORDS": "pilotage ro", "COMP_CWORD": "1"}
    code = "import sys; sys.argv = ['pilotage']; from pilotage.cli.main import run_and_exit; run_and_exit()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=env)
    assert done.stdout == "plain,routes\n"


# ---- usage


def test_a_mistyped_command_gets_a_suggestion(pilotage: Callable[..., Said]) -> None:
    said = pilotage("rotues")
    assert (said.status, said.out) == (2, "")
    assert said.err.endswith("Error: No such command 'rotues'. Did you mean 'routes'?\n")


def test_a_mistyped_option_gets_a_suggestion(pilotage: Callable[..., Said]) -> None:
    said = pilotage("routes", "--repaly", "x")
    assert said.status == 2
    assert "Did you mean '--replay'?" in said.err


# ---- routes and ps


# ---- explain


# ---- labels, capture, engines


# ---- how commands end


def test_a_bug_is_one_line_with_how_to_report_it(
    pilotage: Callable[..., Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_works: object) -> str:
        raise ZeroDivisionError("of\nall things")

    monkeypatch.setattr("pilotage.output.label_reference.markdown", broken)
    said = pilotage("labels", "--format", "markdown")
    assert said.status == 70
    assert said.err.startswith("error: this is a bug in pilotage (ZeroDivisionError: of all things)\n")
    assert "PILOTAGE_DEBUG=1" in said.err


def test_a_bug_raises_its_exception_in_debug_mode(
    pilotage: Callable[..., Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_works: object) -> str:
        raise ZeroDivisionError

    monkeypatch.setattr("pilotage.output.label_reference.markdown", broken)
    monkeypatch.setenv("PILOTAGE_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        run(["labels", "--format", "markdown"])


@pytest.mark.parametrize("command", [["labels"], ["explain", "shop", "--demo"], ["--help"], ["routes", "--demo"]])
def test_a_reader_that_stops_reading_causes_no_broken_pipe_message(command: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with a_process(*command, stdout=writing, env={**os.environ, "PYTHONUNBUFFERED": "1"}) as process:
        os.close(writing)
        assert process.communicate()[1] == ""
    assert process.returncode == 141


@pytest.mark.parametrize("command", [["labels"], ["--help"], ["routes", "--demo"]])
def test_a_full_disk_is_reported_as_such(command: list[str]) -> None:
    with open("/dev/full", "w") as full, a_process(*command, stdout=full) as process:  # noqa: PTH123  no usual file
        said = process.communicate()[1]
    assert said == "error: cannot write the output: No space left on device\n"
    assert process.returncode == 2


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


def test_a_command_that_is_interrupted_while_it_is_loaded_shows_no_traceback(tmp_path: Path) -> None:
    # click is the first thing to be loaded; this one does not come to an end
    (tmp_path / "click.py").write_text(
        "import signal, sys\nsys.stdout.write('loading')\nsys.stdout.flush()\nsignal.pause()"
    )
    with a_process("routes", env={**os.environ, "PYTHONPATH": str(tmp_path)}) as process:
        assert process.stdout is not None
        assert process.stdout.read(7) == "loading"
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert said == ""


def test_an_interrupt_is_an_exception_only_during_a_command() -> None:
    seen: list[object] = []

    def early(*_: object) -> None:
        raise AssertionError

    before = signal.getsignal(signal.SIGINT)
    command = click.Command("note", callback=lambda: seen.append(signal.getsignal(signal.SIGINT)))
    cli.add_command(command)
    try:
        assert run(["note"], early=early) == 0
        assert seen == [signal.default_int_handler]
        assert signal.getsignal(signal.SIGINT) is early
    finally:
        signal.signal(signal.SIGINT, before)
        del cli.commands["note"]


@pytest.mark.parametrize(("error", "expected"), [(KeyboardInterrupt, [signal.SIGINT]), (ValueError, [ValueError])])
def test_an_interrupt_in_a_destructor_ends_the_program(
    error: type[BaseException], expected: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[object] = []

    class Interrupted:
        def __del__(self) -> None:
            raise error

    def drop() -> None:
        Interrupted()

    def before(found: sys.UnraisableHookArgs) -> None:
        seen.append(found.exc_type)

    monkeypatch.setattr(sys, "unraisablehook", before)
    handler = signal.getsignal(signal.SIGINT)
    monkeypatch.setitem(cli.commands, "drop", click.Command("drop", callback=drop))
    try:
        assert run(["drop"], early=lambda number, _: seen.append(number)) == 0
    finally:
        signal.signal(signal.SIGINT, handler)
    assert seen == expected
    assert sys.unraisablehook is before


def test_a_hangup_signal_during_the_start_of_serve_reloads_instead_of_ending_it(tmp_path: Path) -> None:
    xds = f"gateway: {{xds: {{listen: 'unix://{tmp_path}/ads.sock'}}}}"
    (tmp_path / "pilotage.yml").write_text(f"providers: {{files: [none.yml]}}\n{xds}")
    program = """
import os, signal, sys
import _pilotage_start, pilotage.cli.main as main
begin = main.run_and_exit
def hang_up(**more):
    os.kill(os.getpid(), signal.SIGHUP)
    begin(**more)
main.run_and_exit = hang_up
sys.argv = ["pilotage", "serve", "--no-gateway", *sys.argv[1:]]
_pilotage_start.main()
"""
    place = ["--config", str(tmp_path / "pilotage.yml"), "--api", f"unix://{tmp_path}/api.sock"]
    command = [sys.executable, "-c", program, *place]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        lines = []
        for line in process.stderr:
            lines.append(line)
            if "configuration reloaded: no changes" in line:
                process.terminate()
        assert "configuration reloaded: no changes" in "".join(lines)
    assert process.returncode == 0


def test_letters_that_the_terminal_lacks_do_not_matter(tmp_path: Path) -> None:
    env = {**os.environ, "PYTHONIOENCODING": "ascii"}
    with a_process("explain", "shop", "--replay", recording_file(tmp_path), env=env) as process:
        out, said = process.communicate()
    assert said == ""
    assert "Route shop ? http://172.17.0.5:8080" in out


# ---- a real engine


def test_a_warning_beside_an_error_is_not_called_an_error(pilotage: Callable[..., Said], tmp_path: Path) -> None:
    file = tmp_path / "pilotage.yml"
    file.write_text("webui: {a: 1}\ngateway: {http: x}\n")
    lines = pilotage("routes", "--config", str(file)).err.splitlines()
    assert [line.partition(": ")[0] for line in lines] == ["warning", "error"]
