"""The command line. Only click is imported here; everything else where a command needs it, so that ``--help`` is quick.

Exit status: 0 all is well; 1 something is wrong with labels, routes or one of the engines; 2 wrong usage, or nothing
could be reached; 130 interrupted; 70 a defect of pilotage itself.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pilotage.errors import PilotageError
    from pilotage.sources import Choice, View

__all__ = ["cli", "main", "run"]

OK, PROBLEMS, NOTHING, DEFECT, INTERRUPTED, BROKEN_PIPE = 0, 1, 2, 70, 130, 141

_REPORT: Final = "https://github.com/pilotage/pilotage/issues"


def main() -> None:
    """Run the command line of this process."""
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
    except BrokenPipeError:
        # Whoever read the output has seen enough. Python would complain at its exit about what is left to write.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    return status


def _invoke(args: Sequence[str]) -> int:
    from pilotage.errors import PilotageError

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
    except BrokenPipeError:
        raise
    except Exception as error:
        if os.environ.get("PILOTAGE_DEBUG"):
            raise
        said = " ".join(str(error).split())[:200]
        click.echo(f"pilotage: this is a defect, please report it ({type(error).__name__}: {said})", err=True)
        click.echo(f"  to {_REPORT}, with what PILOTAGE_DEBUG=1 prints", err=True)
        return DEFECT
    return status if isinstance(status, int) else OK


def complain(error: PilotageError) -> None:
    """Print what stopped a command, every fault of it, to standard error."""
    from pilotage.errors import ConfigError
    from pilotage.console import Out, clean

    out = Out(sys.stderr)
    lines = map(str, error.problems) if isinstance(error, ConfigError) else [str(error)]
    for line in lines:
        out.error(clean(line))


# ---- options -------------------------------------------------------------------------------------------------------


class _Group(click.Group):
    """A group that answers a mistyped command with the one that was meant."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            from pilotage.problems import did_you_mean

            hint = did_you_mean(args[0], self.list_commands(ctx))
            raise click.UsageError(
                f"There is no command {args[0]!r}. {hint[:1].upper()}{hint[1:]}".strip(), ctx
            ) from error


_CONTEXT: Final[dict[str, Any]] = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


def _engine_options(function: Callable[..., int]) -> Callable[..., int]:
    options = [
        click.option("--config", metavar="FILE", default="", help="Engines of this file, instead of ./pilotage.yml."),
        click.option("--engine", "engines", metavar="NAME=URL", multiple=True, help="An engine. Repeatable."),
        click.option("--context", "contexts", metavar="NAME", multiple=True, help="A Docker context. Repeatable."),
    ]
    return _with(options, function)


def _source_options(function: Callable[..., int]) -> Callable[..., int]:
    options = [
        click.option("--replay", metavar="FILE", multiple=True, help="A recording instead of engines. Repeatable."),
        click.option("--demo", is_flag=True, help="The built-in demonstration instead of engines."),
    ]
    return _engine_options(_with(options, function))


def _with(options: Iterable[Callable[..., Any]], function: Callable[..., int]) -> Callable[..., int]:
    for option in reversed(list(options)):
        function = option(function)
    return function


def _format(*formats: str) -> Callable[..., Any]:
    return click.option(
        "--format", "form", type=click.Choice(formats), default=formats[0], show_default=True, help="How to print it."
    )


def _views(*, replay: Sequence[str], demo: bool, or_demo: bool = False, **named: Any) -> list[View]:
    """Look where the options say; one view for each recording, else one of all engines."""
    from pilotage import sources
    from pilotage.errors import ConfigError
    from pilotage.console import Out

    choice = sources.Choice(**named)
    if sum(map(bool, (replay, demo, choice))) > 1:
        raise click.UsageError("--replay, --demo and naming engines exclude each other.")
    if replay:
        return [sources.recorded(file) for file in replay]
    if demo:
        return [sources.demonstration()]
    try:
        found = _look(choice)
    except ConfigError:
        if not or_demo or choice:
            raise
        found = None
    if found is None or (or_demo and not found.rosters):
        Out(sys.stderr).note("No container engine was found here, so this is the built-in demonstration.")
        found = sources.demonstration()
    return [found]


def _look(choice: Choice) -> View:
    """Look at the engines that are meant; say which they are, and which of them failed."""
    from pilotage import sources
    from pilotage.console import Out, clean

    engines = sources.choose(choice, os.environ)
    err = Out(sys.stderr)
    if engines.why:
        names = ", ".join(f"{config.name} ({config.url})" for config in engines.configs)
        err.note(clean(f"engine {names}: {engines.why}"))
    view = sources.view(engines, os.environ)
    for error in view.errors:
        err.error(clean(str(error)))
    return view


def _status(views: Iterable[View]) -> int:
    views = list(views)
    if any(view.errors and not view.rosters for view in views):
        return NOTHING
    return OK if all(view.is_sound for view in views) else PROBLEMS


def _print_json(value: Any) -> None:
    """Print one document: a line of its own in a pipe, spread out on a terminal."""
    import msgspec

    body = msgspec.json.encode(value)
    if sys.stdout.isatty():
        body = msgspec.json.format(body, indent=2)
    click.echo(body.decode())


# ---- commands ------------------------------------------------------------------------------------------------------


@click.group(cls=_Group, context_settings=_CONTEXT)
@click.version_option(package_name="pilotage", prog_name="pilotage")
def cli() -> None:
    r"""From running containers to working routes.

    Without options, pilotage looks at the engine that the docker command would use.

    \b
    Examples:
      pilotage routes               which name leads where
      pilotage explain shop         why it leads there
      pilotage labels healthcheck   what can be written in labels
    """


@cli.command()
@_source_options
@_format("table", "json")
def ps(form: str, **where: Any) -> int:
    r"""List containers, their aliases and routes.

    \b
    Examples:
      pilotage ps
      pilotage ps --engine nas=ssh://me@nas --engine local=unix:///var/run/docker.sock
    """
    return _report("containers", form, where)


@cli.command()
@_source_options
@click.option("--or-demo", is_flag=True, help="The demonstration if no engine can be found or reached.")
@_format("table", "json")
def routes(form: str, **where: Any) -> int:
    r"""List routes: every alias, where it leads, or why it does not.

    \b
    Examples:
      pilotage routes
      pilotage routes --format json | jq '.routes.shop.target'
      pilotage routes --replay bug-report.json
    """
    return _report("routes", form, where)


def _report(what: str, form: str, where: dict[str, Any]) -> int:
    views = _views(**where)
    if form == "json":
        from pilotage.jsonable import document

        for view in views:
            _print_json(document(view.rosters, view.table))
        return _status(views)
    from pilotage import render
    from pilotage.console import Out

    out = Out()
    for index, view in enumerate(views):
        if index:
            out.line()
        if view.errors and not view.rosters:
            continue
        if what == "routes":
            render.print_routes(out, view)
        else:
            render.print_containers(out, view)
        render.print_problems(out, view.table.problems)
        out.line()
        out.line(render.summary(view, containers=what == "containers"))
    return _status(views)


@cli.command()
@click.argument("name")
@_source_options
@_format("text", "json")
def explain(name: str, form: str, **where: Any) -> int:
    r"""Tell why a container or alias is as it is.

    NAME is a container, an alias, or ENGINE/CONTAINER: which label set each field and what it overrode, which default
    applied, why something is excluded and what would change that, and who else wants the alias.

    \b
    Examples:
      pilotage explain shop
      pilotage explain nas/shop --format json
    """
    from pilotage import render
    from pilotage.console import Out
    from pilotage.explain import explain as explained

    views = _views(**where)
    found = [explained(name, view.rosters, view.table) for view in views]
    if not any(explanation.containers for explanation in found):
        if _status(views) != NOTHING:
            _unknown_name(name, views)
        return NOTHING
    out = Out()
    for explanation in found:
        if form == "json":
            import msgspec

            _print_json(msgspec.to_builtins(explanation))
        else:
            render.print_explanation(out, explanation)
    failed = any(view.errors for view in views)
    wrong = any(problem.severity == "error" for explanation in found for problem in explanation.problems)
    return PROBLEMS if failed or wrong else OK


def _unknown_name(name: str, views: Iterable[View]) -> None:
    from pilotage.console import Out, clean
    from pilotage.explain import known_names
    from pilotage.problems import did_you_mean, shorten

    names = sorted({known for view in views for known in known_names(view.rosters)})
    few = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
    hint = did_you_mean(name, names) or (f"there are {few}" if names else "there are no containers at all")
    Out(sys.stderr).error(clean(f"no container and no alias is called {shorten(name)!r}; {hint}"))
