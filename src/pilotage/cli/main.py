"""The command line: its commands together, and how they end.

Only click is imported here and in :mod:`pilotage.cli.commands`; everything else where a command needs it, so that
``--help`` is quick.

Exit status: 0 all is well; 1 something is wrong with labels, routes or one of the engines; 2 wrong usage, or nothing
could be reached; 130 interrupted; 70 a defect of pilotage itself.
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
from pilotage.cli.commands.bootstrap import envoy_bootstrap
from pilotage.cli.commands.capture import capture
from pilotage.cli.commands.check import check
from pilotage.cli.commands.engines import engines
from pilotage.cli.commands.explain import explain
from pilotage.cli.commands.labels import labels
from pilotage.cli.commands.listing import ps, routes
from pilotage.cli.commands.serve import serve
from pilotage.cli.commands.watch import watch
from pilotage.cli.options import NOTHING, OK, WithExamples

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pilotage.core.errors import PilotageError

__all__ = ["cli", "main", "run"]

DEFECT, INTERRUPTED, BROKEN_PIPE = 70, 130, 141


def main() -> None:
    """Run the command line of this process."""
    if os.getpid() == 1:  # in a container, where the kernel keeps signals from it that it does not ask for
        signal.signal(signal.SIGTERM, lambda number, _: os._exit(128 + number))
    sys.exit(run(sys.argv[1:]))


def run(args: Sequence[str]) -> int:
    """Run one command and return its exit status. Nothing is raised, and nobody sees a traceback.

    ``PILOTAGE_DEBUG=1`` shows the traceback of a defect.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a terminal that cannot show a letter shows another instead
            stream.reconfigure(errors="replace")
    try:
        status = _invoke(args)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read the output has seen enough
        _write_no_more()
        return BROKEN_PIPE
    except OSError as error:
        _write_no_more()
        click.echo(f"error: the output cannot be written: {error.strerror}", err=True)
        return NOTHING
    return status


def _write_no_more() -> None:
    """Drop what is left to write, of which Python would complain at its exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _invoke(args: Sequence[str]) -> int:
    from pilotage.core.errors import PilotageError

    try:
        status: object = cli.main(args=list(args), prog_name="pilotage", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.exceptions.Exit as error:
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except PilotageError as error:
        complain(error)
        return NOTHING
    except _ReaderGone:
        raise BrokenPipeError from None
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _FULL:
            raise
        if os.environ.get("PILOTAGE_DEBUG"):
            raise
        said = " ".join(str(error).split())[:200]
        click.echo(f"error: this is a defect of pilotage ({type(error).__name__}: {said})", err=True)
        click.echo(
            "Please report it with what PILOTAGE_DEBUG=1 prints, and a recording by 'pilotage capture'.", err=True
        )
        return DEFECT
    return status if isinstance(status, int) else OK


def complain(error: PilotageError) -> None:
    """Print what stopped a command, every fault of it, to standard error."""
    from pilotage.core.errors import ConfigError
    from pilotage.output.console import Out, clean

    out = Out(sys.stderr)
    lines = map(str, error.problems) if isinstance(error, ConfigError) else [str(error)]
    for line in lines:
        out.error(clean(line))


_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class _ReaderGone(Exception):
    """Whoever read the output has gone. No ``OSError``: of those click makes an exit with status 1."""


@contextlib.contextmanager
def _noticing_who_is_gone() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError as error:
        raise _ReaderGone from error
    except SystemExit as error:
        if isinstance(error.__context__, BrokenPipeError):  # rich has met it
            raise _ReaderGone from error
        raise


class _Group(WithExamples, click.Group):
    """A group that lists commands as they were added, and answers a mistyped one with the one that was meant."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's to pass
        return list(self.commands)

    def make_context(self, *args: Any, **more: Any) -> click.Context:
        with _noticing_who_is_gone():  # the help is printed here
            return super().make_context(*args, **more)

    def invoke(self, ctx: click.Context) -> Any:
        with _noticing_who_is_gone():
            return super().invoke(ctx)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            from pilotage.core.suggest import did_you_mean

            hint = did_you_mean(args[0], self.list_commands(ctx))
            text = f"There is no command {args[0]!r}. {hint[:1].upper()}{hint[1:]}"
            raise click.UsageError(text.strip(), ctx) from error


_CONTEXT: Final[dict[str, Any]] = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


@click.group(
    cls=_Group,
    context_settings=_CONTEXT,
    examples=(
        "pilotage serve                http://NAME.localhost:8080 leads to the container called NAME",
        "pilotage routes               which name leads where",
        "pilotage explain shop         why it leads there",
        "pilotage labels healthcheck   what can be written in labels",
    ),
    epilog='\b\nCompletion in bash (zsh, fish likewise):\n  eval "$(_PILOTAGE_COMPLETE=bash_source pilotage)"',
)
@click.version_option(__version__, prog_name="pilotage")
def cli() -> None:
    """From running containers to working routes: a label, and it answers under its name.

    Without options, pilotage looks at the engine that the docker command would use.
    """


for _command in (
    serve, routes, ps, explain, watch, labels, check, engines, capture, envoy_bootstrap,
):  # fmt: skip
    cli.add_command(_command)
