"""Defines the command line: the group of commands and their exit statuses.

To keep ``--help`` fast, this module and :mod:`pilotage.cli.commands` import only click. A command imports everything
else when it runs.

Exit status: 0 success; 1 problems with one of several engines or, with --strict, with labels or routes; 2 wrong usage,
or no engine could be reached; 70 a bug in pilotage; 130 interrupted.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
from typing import TYPE_CHECKING, Any, Final

import click

from pilotage import __version__
from pilotage.cli.commands.agent import agent
from pilotage.cli.commands.bootstrap import envoy_bootstrap
from pilotage.cli.commands.capture import capture
from pilotage.cli.commands.certificates import certificates
from pilotage.cli.commands.check import check
from pilotage.cli.commands.engines import engines
from pilotage.cli.commands.envoy import envoy, stop
from pilotage.cli.commands.explain import explain
from pilotage.cli.commands.labels import labels
from pilotage.cli.commands.licenses import licenses
from pilotage.cli.commands.listing import ps, routes
from pilotage.cli.commands.plan import plan
from pilotage.cli.commands.policy import policy
from pilotage.cli.commands.schema import schema
from pilotage.cli.commands.serve import serve
from pilotage.cli.commands.sleep import sleep, wake
from pilotage.cli.commands.watch import watch
from pilotage.cli.options import NOTHING, OK, WithExamples

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pilotage.core.errors import PilotageError

__all__ = ["cli", "run", "run_and_exit"]

BUG, INTERRUPTED, BROKEN_PIPE = 70, 130, 141


def run_and_exit(*, early: Callable[[int, Any], object] | None = None) -> None:
    """Run the command line of this process and exit with its status.

    Args:
        early: the handler for SIGINT before and after the command; while the command runs, SIGINT raises
            ``KeyboardInterrupt`` instead. ``None`` if the process ignores SIGINT.

    """
    if os.getpid() == 1:  # in a container, where the kernel ignores signals that PID 1 does not handle
        signal.signal(signal.SIGTERM, lambda number, _: os._exit(128 + number))
    try:
        sys.exit(run(sys.argv[1:], early=early))
    except KeyboardInterrupt:  # between a command and the return of the handler
        os._exit(INTERRUPTED)


def run(args: Sequence[str], *, early: Callable[[int, Any], object] | None = None) -> int:
    """Run one command and return its exit status.

    An unexpected exception is reported as a bug, without a traceback. If ``PILOTAGE_DEBUG=1`` is set, it is raised
    instead.

    Args:
        args: the program's arguments, without its name.
        early: see :func:`run_and_exit`.

    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # for characters that the terminal's encoding lacks
            stream.reconfigure(errors="replace")
    try:
        status = _invoke(args, early)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader closed the pipe
        _write_no_more()
        return BROKEN_PIPE
    except OSError as error:
        _write_no_more()
        click.echo(f"error: cannot write the output: {error.strerror}", err=True)
        return NOTHING
    return status


def _write_no_more() -> None:
    """Discard the remaining output, because Python would fail to flush it at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _invoke(args: Sequence[str], early: Callable[[int, Any], object] | None) -> int:
    unraisable = sys.unraisablehook
    try:
        if early is not None:
            sys.unraisablehook = _end_if_interrupted(early, unraisable)
            signal.signal(signal.SIGINT, signal.default_int_handler)
        status: object = cli.main(args=list(args), prog_name="pilotage", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.exceptions.Exit as error:
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except _expected_error() as error:  # evaluated only after a failure
        complain(error)
        return NOTHING
    except _ReaderGone:
        raise BrokenPipeError from None
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _FULL:
            raise
        if os.environ.get("PILOTAGE_DEBUG"):
            raise
        message = " ".join(str(error).split())[:200]
        click.echo(f"error: this is a bug in pilotage ({type(error).__name__}: {message})", err=True)
        click.echo(
            "Please report it, with the output of PILOTAGE_DEBUG=1 and a recording from 'pilotage capture'.", err=True
        )
        return BUG
    finally:
        if early is not None:
            signal.signal(signal.SIGINT, early)
            sys.unraisablehook = unraisable
    return status if isinstance(status, int) else OK


def _end_if_interrupted(
    early: Callable[[int, Any], object], otherwise: Callable[[sys.UnraisableHookArgs], object]
) -> Callable[[sys.UnraisableHookArgs], object]:
    """Return a ``sys.unraisablehook`` that passes an interrupt to ``early`` and any other exception to ``otherwise``.

    If SIGINT arrives in a destructor or a weak reference's callback, Python would only print the interrupt and
    continue. Importing modules runs many such callbacks.
    """

    def hook(found: sys.UnraisableHookArgs) -> None:
        if issubclass(found.exc_type, KeyboardInterrupt):
            early(signal.SIGINT, None)
        else:
            otherwise(found)

    return hook


def _expected_error() -> type[PilotageError]:
    """Import the class for errors shown without a traceback. Importing it early would slow ``--help`` by a third."""
    from pilotage.core.errors import PilotageError

    return PilotageError


def complain(error: PilotageError) -> None:
    """Print the error, or all problems of a configuration error, to standard error."""
    from pilotage.core.errors import ConfigError
    from pilotage.output.console import Out, clean

    out = Out(sys.stderr)
    if not isinstance(error, ConfigError):
        out.error(clean(str(error)))
        return
    for problem in error.problems:
        (out.error if problem.severity == "error" else out.warning)(clean(str(problem)))


_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class _ReaderGone(Exception):
    """The reader of the output closed the pipe. Not an ``OSError``, because click would exit with status 1."""


@contextlib.contextmanager
def _detect_closed_pipe() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError as error:
        raise _ReaderGone from error
    except SystemExit as error:
        if isinstance(error.__context__, BrokenPipeError):  # rich exits after a broken pipe
            raise _ReaderGone from error
        raise


class _Group(WithExamples, click.Group):
    """A group that lists commands in the order they were added, and suggests a command for a misspelled name."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click passes it
        return list(self.commands)

    def make_context(self, *args: Any, **more: Any) -> click.Context:
        with _detect_closed_pipe():  # the help is printed here
            return super().make_context(*args, **more)

    def invoke(self, ctx: click.Context) -> Any:
        with _detect_closed_pipe():
            return super().invoke(ctx)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            from pilotage.core.suggest import did_you_mean

            hint = did_you_mean(args[0], self.list_commands(ctx))
            text = f"No such command {args[0]!r}. {hint[:1].upper()}{hint[1:]}"
            raise click.UsageError(text.strip(), ctx) from error


_CONTEXT: Final[dict[str, Any]] = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


@click.group(
    cls=_Group,
    context_settings=_CONTEXT,
    examples=(
        "pilotage serve                serve each container at http://NAME.localhost:8080",
        "pilotage routes               list aliases and their targets",
        "pilotage explain shop         show which labels set the route of shop",
        "pilotage labels healthcheck   look up labels",
    ),
    epilog='\b\nCompletion for bash (zsh and fish are similar):\n  eval "$(_PILOTAGE_COMPLETE=bash_source pilotage)"',
)
@click.version_option(__version__, prog_name="pilotage")
def cli() -> None:
    """Route HTTP, TCP and UDP traffic to containers by their labels.

    Without options, pilotage uses the engines of pilotage.yml, or else the engine that the docker command uses.
    """


for _command in (
    serve, stop, routes, ps, explain, watch, wake, sleep, labels, check, plan, policy, engines, agent, capture, envoy,
    envoy_bootstrap, licenses, certificates, schema,
):  # fmt: skip
    cli.add_command(_command)
