"""What commands have in common: options that say where to look, the looking itself, output as JSON, exit statuses."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from pilotage.config.engines import ChosenEngines, EngineChoice
    from pilotage.engine.address import DockerProviderConfig
    from pilotage.output.view import View

__all__ = [
    "NOTHING",
    "OK",
    "PROBLEMS",
    "WithExamples",
    "chosen_engines",
    "engine_options",
    "format_option",
    "gateway_extra",
    "print_json",
    "source_options",
    "status_of",
    "views_of",
]

OK, PROBLEMS, NOTHING = 0, 1, 2
"""Exit statuses: all is well; something is wrong; wrong usage, or nothing could be reached."""


class WithExamples(click.Command):
    """A command whose help ends with examples, each on a line of its own."""

    def __init__(self, *args: Any, examples: Iterable[str] = (), **more: Any) -> None:
        super().__init__(*args, **more)
        self.examples = tuple(examples)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples after the options."""
        with formatter.section("Examples"):
            for example in self.examples:
                formatter.write(f"  {example}\n")
        super().format_epilog(ctx, formatter)


def engine_options(function: Callable[..., int]) -> Callable[..., int]:
    """Give a command the options that name engines: the fields of :class:`pilotage.config.engines.EngineChoice`."""
    options = [
        click.option("--config", metavar="FILE", default="", help="Engines of this file, instead of ./pilotage.yml."),
        click.option("--engine", "engines", metavar="NAME=URL", multiple=True, help="An engine. Repeatable."),
        click.option("--context", "contexts", metavar="NAME", multiple=True, help="A Docker context. Repeatable."),
    ]
    return _with(options, function)


def source_options(function: Callable[..., int]) -> Callable[..., int]:
    """Give a command the options that name engines, recordings or the demonstration; for :func:`views_of`."""
    options = [
        click.option("--replay", metavar="FILE", multiple=True, help="A recording instead of engines. Repeatable."),
        click.option("--demo", is_flag=True, help="The built-in demonstration instead of engines."),
    ]
    return engine_options(_with(options, function))


def _with(options: Iterable[Callable[..., Any]], function: Callable[..., int]) -> Callable[..., int]:
    for option in reversed(list(options)):
        function = option(function)
    return function


def format_option(*formats: str) -> Callable[..., Any]:
    """Give a command the option ``--format``, passed as ``form``; the first one is the default."""
    return click.option(
        "--format", "form", type=click.Choice(formats), default=formats[0], show_default=True, help="How to print it."
    )


def views_of(*, replay: Sequence[str], demo: bool, or_demo: bool = False, **named: Any) -> list[View]:
    """Look where the options say; one view for each recording, else one of all engines."""
    from pilotage.cli import sources
    from pilotage.config.engines import EngineChoice, find_config_file
    from pilotage.core.errors import ConfigError

    choice = EngineChoice(**named)
    if sum(map(bool, (replay, demo, choice))) > 1:
        raise click.UsageError("--replay, --demo and naming engines exclude each other.")
    if replay:
        return [sources.recorded(file) for file in replay]
    if demo:
        return [sources.demonstration()]
    running = None if choice else _ask_daemon()
    if running is not None:
        return [running]
    try:
        found = _look(choice)
    except ConfigError:
        if not or_demo or choice or find_config_file():
            raise
        found = None
    if found is None or (or_demo and not found.rosters and not found.files):
        from pilotage.output.console import Out

        Out(sys.stderr).note("No container engine answers here, so this is the built-in demonstration.")
        found = sources.demonstration()
    return [found]


def _ask_daemon() -> View | None:
    """Return what a running daemon knows, if there is one and nothing says that other engines are meant.

    ``DOCKER_HOST`` and ``DOCKER_CONTEXT`` say so, as does a configuration file here that is not the daemon's.
    """
    if os.environ.get("DOCKER_HOST") or os.environ.get("DOCKER_CONTEXT"):
        return None
    from pilotage.api.snapshot import socket_candidates
    from pilotage.cli.daemon_client import closed_socket, fetch

    closed = closed_socket(os.environ)
    if closed is None and not any(path.exists() for path in socket_candidates(os.environ)):
        return None
    from pilotage.config.engines import find_config_file
    from pilotage.core.errors import EngineUnreachable
    from pilotage.output.console import Out, clean
    from pilotage.output.view import View

    snapshot = fetch(os.environ)
    if snapshot is None and closed is not None:
        Out(sys.stderr).note(clean(f"No daemon is asked: {closed} is closed to this user."))
    file = find_config_file()
    if snapshot is None or (file and str(Path(file).resolve()) != snapshot.file):
        return None
    err = Out(sys.stderr)
    err.note(f"As the running daemon knows it (process {snapshot.pid}).")
    away = [(name, status) for name, status in snapshot.engines.items() if status.state == "stale"]
    errors = tuple(EngineUnreachable(name, f"away: {status.error}") for name, status in away)
    for error in errors:
        err.error(clean(str(error)))
    return View(snapshot.rosters, snapshot.table, errors, files=snapshot.files)


def _look(choice: EngineChoice) -> View:
    """Look at the engines that are meant; say which they are, and which of them failed."""
    from pilotage.cli import sources

    view = sources.view(chosen_engines(choice), os.environ)
    if view.errors:
        from pilotage.output.console import Out, clean

        for error in view.errors:
            Out(sys.stderr).error(clean(str(error)))
    return view


def chosen_engines(choice: EngineChoice) -> ChosenEngines:
    """Decide which engines are meant, and say which they are unless they were named."""
    from pilotage.config.engines import choose_engines
    from pilotage.output.console import Out, clean

    engines = choose_engines(choice, os.environ)
    if engines.why:
        names = ", ".join([*(_called(config, engines.why) for config in engines.configs), *engines.files])
        Out(sys.stderr).note(clean(f"Looking at {names}: {engines.why}."))
    return engines


def _called(config: DockerProviderConfig, why: str) -> str:
    """Return an engine's name, and its address where the reason for choosing it does not tell that already."""
    told = config.url in why or config.url.removeprefix("unix://") in why
    return config.name if told else f"{config.name} ({config.url})"


def status_of(views: Iterable[View]) -> int:
    """Return the exit status that says how all is."""
    views = list(views)
    if any(view.errors and not view.rosters for view in views):
        return NOTHING
    return OK if all(view.is_sound for view in views) else PROBLEMS


def print_json(value: Any) -> None:
    """Print one document: a line of its own in a pipe, spread out on a terminal."""
    import msgspec

    body = msgspec.json.encode(value)
    if sys.stdout.isatty():
        body = msgspec.json.format(body, indent=2)
    click.echo(body.decode())


@contextlib.contextmanager
def gateway_extra() -> Iterator[None]:
    """Say what to install where the packages that serving needs are missing."""
    from pilotage.core.errors import GatewayError

    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in {"envoy", "google", "grpc"}:
            raise
        raise GatewayError("serving needs more than is installed", "pip install 'pilotage[gateway]'") from error
