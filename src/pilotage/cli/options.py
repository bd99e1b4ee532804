"""Provides shared parts of commands: options that select engines, views of engines, JSON output, exit statuses."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
    from pathlib import Path

    from pilotage.config.engines import ChosenEngines, EngineChoice
    from pilotage.engine.config import DockerProviderConfig
    from pilotage.output.view import View

__all__ = [
    "NOTHING",
    "OK",
    "PROBLEMS",
    "GroupWithExamples",
    "WithExamples",
    "chosen_engines",
    "config_option",
    "engine_options",
    "format_option",
    "gateway_extra",
    "print_json",
    "run_until_interrupted",
    "source_options",
    "status_of",
    "strict_option",
    "views_of",
    "warn_if_unverified",
    "watched",
]

OK, PROBLEMS, NOTHING = 0, 1, 2
"""Exit statuses: success; problems were found; wrong usage, or no engine could be reached."""


class WithExamples(click.Command):
    """A command whose help ends with examples, one per line."""

    def __init__(self, *args: Any, examples: Iterable[str] = (), **more: Any) -> None:
        super().__init__(*args, **more)
        self.examples = tuple(examples)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples after the options."""
        with formatter.section("Examples"):
            for example in self.examples:
                formatter.write(f"  {example}\n")
        super().format_epilog(ctx, formatter)


class GroupWithExamples(WithExamples, click.Group):
    """A group of commands whose help ends with examples."""


def config_option(function: Callable[..., int]) -> Callable[..., int]:
    """Add the option ``--config`` to a command."""
    text = "Configuration file. [default: ./pilotage.yml or /etc/pilotage/pilotage.yml]"
    return click.option("--config", metavar="FILE", default="", help=text)(function)


def engine_options(function: Callable[..., int]) -> Callable[..., int]:
    """Add the options that select engines to a command: the fields of :class:`pilotage.config.engines.EngineChoice`."""
    options: list[Callable[..., Any]] = [
        config_option,
        click.option("--engine", "engines", metavar="NAME=URL", multiple=True, help="Use this engine. Repeatable."),
        click.option(
            "--context", "contexts", metavar="NAME", multiple=True, help="Use this Docker context. Repeatable."
        ),
    ]
    return _with(options, function)


def source_options(function: Callable[..., int]) -> Callable[..., int]:
    """Add to a command the options that select engines, recordings or the demonstration for :func:`views_of`."""
    options = [
        click.option("--replay", metavar="FILE", multiple=True, help="Use a recording instead of engines. Repeatable."),
        click.option("--demo", is_flag=True, help="Use the built-in demonstration."),
    ]
    return engine_options(_with(options, function))


def _with(options: Iterable[Callable[..., Any]], function: Callable[..., int]) -> Callable[..., int]:
    for option in reversed(list(options)):
        function = option(function)
    return function


def format_option(*formats: str) -> Callable[..., Any]:
    """Return a decorator that adds ``--format`` to a command, as ``form``. The first format is the default."""
    return click.option(
        "--format", "form", type=click.Choice(formats), default=formats[0], show_default=True, help="Output format."
    )


def views_of(
    *,
    replay: Sequence[str],
    demo: bool,
    or_demo: bool = False,
    wide: bool = False,
    early: Callable[[View], object] | None = None,
    **named: Any,
) -> list[View]:
    """Return one view per recording, or else one view of the demonstration, a running daemon or the engines.

    If only some engines respond within two seconds, ``early`` receives a view of those engines before the rest respond.
    With ``wide``, the view of a running daemon includes the state of each route on each Envoy.
    """
    from pilotage.cli import sources
    from pilotage.config.engines import EngineChoice, find_config_file
    from pilotage.core.errors import ConfigError

    choice = EngineChoice(**named)
    if sum(map(bool, (replay, demo, choice))) > 1:
        raise click.UsageError("--replay, --demo and options that select engines cannot be combined.")
    if replay:
        return [sources.recorded(file) for file in replay]
    if demo:
        return [sources.demonstration()]
    running = None if choice else _ask_daemon(with_envoys=wide)
    if running is not None:
        return [running]
    try:
        found = _look(choice, early)
    except ConfigError:
        if not or_demo or choice or find_config_file():
            raise
        found = None
    if found is None or (or_demo and not found.snapshots and not found.files):
        from pilotage.output.console import Out

        Out(sys.stderr).note("No container engine responds here, so this is the built-in demonstration.")
        found = sources.demonstration()
    return [found]


def _ask_daemon(*, with_envoys: bool) -> View | None:
    """Return the view of the running daemon; ``None`` if the command must ask the engines."""
    from pilotage.api.snapshot import socket_candidates
    from pilotage.cli.daemon_client import closed_socket

    if closed_socket(os.environ) is None and not any(path.exists() for path in socket_candidates(os.environ)):
        return None  # without importing what talks to a daemon
    from pilotage.cli.running import running_daemon
    from pilotage.core.errors import EngineUnreachable
    from pilotage.output.console import Out, clean
    from pilotage.output.view import View

    found = running_daemon(os.environ, with_envoys=with_envoys)
    if found is None:
        return None
    _, snapshot = found
    away = [(name, status) for name, status in snapshot.engines.items() if status.state == "stale"]
    errors = tuple(EngineUnreachable(name, f"unreachable: {status.error}") for name, status in away)
    for error in errors:
        Out(sys.stderr).error(clean(str(error)))
    on_envoys = snapshot.on_envoys if with_envoys else None
    return View(
        snapshot.snapshots,
        snapshot.table,
        errors,
        files=snapshot.files,
        on_envoys=on_envoys,
        is_local=True,
        config_file=snapshot.file,
    )


def _look(choice: EngineChoice, early: Callable[[View], object] | None) -> View:
    """Return the view of the selected engines; print the error of each engine that failed."""
    from pilotage.cli import sources

    view = sources.view(chosen_engines(choice), os.environ, early)
    if view.errors:
        from pilotage.output.console import Out, clean

        for error in view.errors:
            Out(sys.stderr).error(clean(str(error)))
    return view


def watched(choice: EngineChoice) -> ChosenEngines | Path:
    """Return what to follow: the socket of the running daemon, or the engines if they are named or none is running."""
    from pilotage.cli.running import running_daemon

    running = None if choice else running_daemon(os.environ)
    return chosen_engines(choice) if running is None else running[0]


def run_until_interrupted(following: Coroutine[Any, Any, None]) -> int:
    """Run what follows a table. Return the exit status, after printing the error of a daemon that has ended."""
    import asyncio

    from pilotage.cli.daemon_client import Refused
    from pilotage.output.console import Out, clean

    try:
        asyncio.run(following)
    except Refused as error:
        Out(sys.stderr).error(clean(str(error)))
        return NOTHING
    return OK


def chosen_engines(choice: EngineChoice) -> ChosenEngines:
    """Return the engines to use. Unless the user named them, print which engines are used and why."""
    from pilotage.config.engines import choose_engines
    from pilotage.output.console import Out, clean

    engines = choose_engines(choice, os.environ)
    if engines.why:
        names = ", ".join([*(_called(config, engines.why) for config in engines.configs), *engines.files])
        Out(sys.stderr).note(clean(f"Using {names}: {engines.why}."))
    warn_if_unverified(engines.configs)
    return engines


def warn_if_unverified(configs: Iterable[DockerProviderConfig]) -> None:
    """Print a warning for each engine whose certificate is not verified."""
    if not any(config.tls for config in configs) and not os.environ.get("DOCKER_TLS"):
        return
    from pilotage.engine.contexts import unverified_warning
    from pilotage.output.console import Out, clean

    for warning in filter(None, map(unverified_warning, configs)):
        Out(sys.stderr).warning(clean(str(warning)))


def _called(config: DockerProviderConfig, why: str) -> str:
    """Return an engine's name, followed by its address unless ``why`` already contains the address."""
    from pilotage.core.secrets import clean as without_secrets

    in_reason = config.url in why or config.url.removeprefix("unix://") in why
    return config.name if in_reason else f"{config.name} ({without_secrets(config.url)})"


def strict_option(function: Callable[..., int]) -> Callable[..., int]:
    """Add the option ``--strict`` to a command."""
    text = "Exit with status 1 if labels, routes or the configuration have errors."
    return click.option("--strict", is_flag=True, help=text)(function)


def status_of(views: Iterable[View], *, strict: bool = False) -> int:
    """Return the exit status of a command that has shown these views.

    Args:
        views: the views.
        strict: whether errors in labels, routes and the configuration count.

    Returns:
        ``NOTHING`` if all engines of a view failed; ``PROBLEMS`` if one failed or, with ``strict``, there are errors;
        otherwise ``OK``.

    """
    views = list(views)
    if any(view.errors and not view.snapshots for view in views):
        return NOTHING
    sound = all(view.is_sound if strict else not view.errors for view in views)
    return OK if sound else PROBLEMS


def print_json(value: Any) -> None:
    """Print a JSON document: indented on a terminal, elsewhere on one line."""
    import msgspec

    from pilotage.core.text import safe_json

    body = msgspec.json.encode(value)
    if sys.stdout.isatty():
        body = msgspec.json.format(body, indent=2)
    click.echo(safe_json(body).decode())


@contextlib.contextmanager
def gateway_extra() -> Iterator[None]:
    """In a ``with`` block, turn a missing package of the ``gateway`` extra into an error that names the extra."""
    from pilotage.core.errors import GatewayError

    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in {"envoy", "google", "grpc"}:
            raise
        raise GatewayError("the gateway's packages are not installed", "run pip install 'pilotage[gateway]'") from error
