"""The command line. Only click is imported here; everything else where a command needs it, so that ``--help`` is quick.

Exit status: 0 all is well; 1 something is wrong with labels, routes or one of the engines; 2 wrong usage, or nothing
could be reached; 130 interrupted; 70 a defect of pilotage itself.
"""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING, Any, Final

import click

from pilotage import __version__
from pilotage.cli_serve import envoy_bootstrap, serve
from pilotage.options import (
    NOTHING,
    OK,
    PROBLEMS,
    WithExamples,
    chosen_engines,
    engine_options,
    format_option,
    print_json,
    source_options,
    status_of,
    views_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pilotage.errors import PilotageError
    from pilotage.sources import View

__all__ = ["cli", "main", "run"]

DEFECT, INTERRUPTED, BROKEN_PIPE = 70, 130, 141


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
    except _ReaderGone:
        raise BrokenPipeError from None
    except Exception as error:
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
    from pilotage.console import Out, clean
    from pilotage.errors import ConfigError

    out = Out(sys.stderr)
    lines = map(str, error.problems) if isinstance(error, ConfigError) else [str(error)]
    for line in lines:
        out.error(clean(line))


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
    """A group that answers a mistyped command with the one that was meant."""

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
            from pilotage.problems import did_you_mean

            hint = did_you_mean(args[0], self.list_commands(ctx))
            text = f"There is no command {args[0]!r}. {hint[:1].upper()}{hint[1:]}"
            raise click.UsageError(text.strip(), ctx) from error


_CONTEXT: Final[dict[str, Any]] = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


@click.group(
    cls=_Group,
    context_settings=_CONTEXT,
    examples=(
        "pilotage routes               which name leads where",
        "pilotage explain shop         why it leads there",
        "pilotage labels healthcheck   what can be written in labels",
    ),
    epilog='Completion in bash (zsh, fish likewise): eval "$(_PILOTAGE_COMPLETE=bash_source pilotage)"',
)
@click.version_option(__version__, prog_name="pilotage")
def cli() -> None:
    """From running containers to working routes.

    Without options, pilotage looks at the engine that the docker command would use.
    """


@cli.command(
    cls=WithExamples,
    examples=(
        "pilotage ps",
        "pilotage ps --engine nas=ssh://me@nas --engine local=unix:///var/run/docker.sock",
    ),
)
@source_options
@format_option("table", "json")
def ps(form: str, **where: Any) -> int:
    """List containers, their aliases and routes."""
    return _report("containers", form, where)


@cli.command(
    cls=WithExamples,
    examples=(
        "pilotage routes",
        "pilotage routes --format json | jq '.routes.shop.target'",
        "pilotage routes --replay bug-report.json",
        "pilotage routes --watch",
    ),
)
@source_options
@click.option("--or-demo", is_flag=True, help="The demonstration if no engine can be found or reached.")
@click.option("--watch", is_flag=True, help="Show them as they change, until interrupted.")
@format_option("table", "json")
def routes(form: str, *, watch: bool, **where: Any) -> int:
    """List routes: every alias, where it leads, or why it does not."""
    if not watch:
        return _report("routes", form, where)
    if form == "json":
        raise click.UsageError("--watch draws tables; 'pilotage watch --format json' tells changes.")
    unfit = [f"--{name.replace('_', '-')}" for name in ("replay", "demo", "or_demo") if where.pop(name)]
    if unfit:
        raise click.UsageError(f"--watch looks at engines, so {unfit[0]} does not go with it.")
    import asyncio

    from pilotage import sources, watching
    from pilotage.console import Out

    asyncio.run(watching.redraw(chosen_engines(sources.Choice(**where)), os.environ, Out()))
    return OK


@cli.command(
    cls=WithExamples,
    examples=(
        "pilotage watch",
        "pilotage watch --engine nas=ssh://me@nas",
        "pilotage watch --format json | jq 'select(.kind == \"problem\")'",
    ),
)
@engine_options
@format_option("text", "json")
def watch(form: str, **where: Any) -> int:
    """Tell what changes, as it happens, until interrupted.

    Routes that come, change and go, with the event behind it; engines that go away and come back, while their routes
    stay as they were; problems as they arise and are resolved. As JSON one object a line, at first all there is.
    """
    import asyncio

    from pilotage import sources, watching
    from pilotage.console import Out

    engines, out = chosen_engines(sources.Choice(**where)), Out()
    if form == "json":
        tell = watching.json_printer(out)
    else:
        tell = watching.text_printer(out, [config.name for config in engines.configs], engines.problems)
    asyncio.run(watching.follow(engines, os.environ, tell))
    return OK


def _report(what: str, form: str, where: dict[str, Any]) -> int:
    views = views_of(**where)
    if form == "json":
        from pilotage.jsonable import document

        for view in views:
            print_json(document(view.rosters, view.table))
        return status_of(views)
    from pilotage import render
    from pilotage.console import Out

    out = Out()
    for index, view in enumerate(views):
        if index:
            out.line()
        if view.errors and not view.rosters and not view.files:
            continue
        if what == "routes":
            render.print_routes(out, view)
        else:
            render.print_containers(out, view)
        render.print_problems(out, view.table.problems)
        out.line()
        out.line(render.summary(view, containers=what == "containers"))
    return status_of(views)


@cli.command(
    cls=WithExamples,
    examples=(
        "pilotage explain shop",
        "pilotage explain nas/shop --format json",
    ),
)
@click.argument("name")
@source_options
@format_option("text", "json")
def explain(name: str, form: str, **where: Any) -> int:
    """Tell why a container or alias is as it is.

    NAME is a container, an alias, or ENGINE/CONTAINER: which label set each field and what it overrode, which default
    applied, why something is excluded and what would change that, and who else wants the alias.
    """
    from pilotage import render
    from pilotage.console import Out
    from pilotage.explain import explain as explained

    views = views_of(**where)
    found = [explained(name, view.rosters, view.table, view.files) for view in views]
    if not any(explanation.containers or explanation.files for explanation in found):
        if status_of(views) != NOTHING:
            _unknown_name(name, views)
        return NOTHING
    out = Out()
    for explanation in found:
        if form == "json":
            import msgspec

            print_json(msgspec.to_builtins(explanation))
        else:
            render.print_explanation(out, explanation)
    sound = all(
        view.staged or (not view.errors and not any(problem.severity == "error" for problem in explanation.problems))
        for view, explanation in zip(views, found, strict=True)
    )
    return OK if sound else PROBLEMS


def _unknown_name(name: str, views: Iterable[View]) -> None:
    from pilotage.console import Out, clean
    from pilotage.explain import known_names
    from pilotage.problems import did_you_mean, shorten

    names = sorted({known for view in views for known in known_names(view.rosters, view.files)})
    few = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
    hint = did_you_mean(name, names) or (f"there are {few}" if names else "there are no containers at all")
    Out(sys.stderr).error(clean(f"no container and no alias is called {shorten(name)!r}; {hint}"))


@cli.command(
    cls=WithExamples,
    examples=(
        "pilotage labels",
        "pilotage labels healthcheck",
        "pilotage labels --format markdown > labels.md",
    ),
)
@click.argument("word", default="")
@format_option("table", "json", "markdown")
def labels(word: str, form: str) -> int:
    """Show the labels that can be written.

    Each with its type, default, meaning and an example. With WORD only those that have it in their name.
    """
    from pilotage import label_reference, render
    from pilotage.console import Out
    from pilotage.problems import shorten

    if form == "markdown":
        click.echo(label_reference.markdown(), nl=False)
        return OK
    found, hint = label_reference.matching(word)
    if not found:
        said = hint or "'pilotage labels' shows all there are"
        Out(sys.stderr).error(f"no label has {shorten(word)!r} in its name; {said}")
        return NOTHING
    if form == "json":
        import msgspec

        print_json(msgspec.to_builtins(found))
    else:
        render.print_labels(Out(), found)
    return OK


@cli.command(
    cls=WithExamples,
    examples=(
        "pilotage check",
        "pilotage check compose.yml routes.d/*.yml",
    ),
)
@click.argument("files", nargs=-1, metavar="[FILES]...")
@format_option("text", "json")
def check(files: tuple[str, ...], form: str) -> int:
    """Look over files before they are used.

    Labels in compose files, pilotage.yml, files of routes; no engine is asked. Without FILES those of this folder.
    """
    from pilotage import render
    from pilotage.check import USUAL, check_files
    from pilotage.console import Out, count
    from pilotage.jsonable import problem_json

    names = files or [name for name in USUAL if os.path.isfile(name)]  # noqa: PTH113  # pathlib takes its time to import
    if not names:
        raise click.UsageError(f"There is nothing to check here: no {', '.join(USUAL[:-1])} or {USUAL[-1]}.")
    found = check_files(names, os.environ)
    errors = sum(problem.severity == "error" for problem in found.problems)
    if form == "json":
        print_json({"files": found.files, "problems": [problem_json(problem) for problem in found.problems]})
    else:
        out = Out()
        render.print_problems(out, found.problems, apart=False)
        said = f"{count(errors, 'problem')}, {count(len(found.problems) - errors, 'warning')}"
        out.line(f"{', '.join(found.files)}: {said if found.problems else 'no problems'}")
    if "unreadable" in found.files.values():
        return NOTHING
    return PROBLEMS if errors else OK


@cli.command(
    cls=WithExamples,
    examples=(
        "pilotage capture > bug-report.json",
        "pilotage routes --replay bug-report.json",
    ),
)
@engine_options
def capture(**where: Any) -> int:
    """Record what engines answer, for a bug report.

    One line of JSON for each engine goes to standard output. Only what pilotage reads is recorded; environments and
    commands are left out, and values of labels that look like secrets. Read the file before you hand it on: names,
    images, mounts and addresses are in it.
    """
    import asyncio

    from pilotage import sources
    from pilotage.capture import capture_all, recording_json
    from pilotage.console import Out, clean, count

    err = Out(sys.stderr)
    engines = chosen_engines(sources.Choice(**where))
    captured = asyncio.run(capture_all(engines.configs, env=os.environ))
    for recording in captured.recordings:
        click.echo(recording_json(recording).decode())
    for error in captured.errors.values():
        err.error(clean(str(error)))
    if not captured.recordings:
        return NOTHING
    containers = sum(len(recording.containers) for recording in captured.recordings)
    said = f"{count(containers, 'container')} of {count(len(captured.recordings), 'engine')} recorded"
    err.note(f"{said}; secrets are removed as far as their names tell, so read it before you hand it on.")
    return PROBLEMS if captured.errors else OK


@cli.command(
    cls=WithExamples,
    examples=(
        "pilotage engines",
        "pilotage engines --context prod --engine nas=ssh://me@nas",
    ),
)
@engine_options
@format_option("table", "json")
def engines(form: str, **where: Any) -> int:
    """List the engines that can be found.

    Each is asked whether it answers, how fast, and which API versions it speaks. Without options these are the engine
    of DOCKER_HOST, Docker contexts, and the usual sockets; the one that commands use by themselves has a star.
    """
    import asyncio

    from pilotage import probe, render, sources
    from pilotage.console import Out

    choice = sources.Choice(**where)
    if choice or sources.config_file():
        chosen = sources.choose(choice, os.environ)
        found = probe.named(chosen.configs, chosen.why or "named")
    else:
        found = probe.discover(os.environ)
    if not found:
        chosen_engines(choice)  # says where we looked
    probes = asyncio.run(probe.probe_all(found))
    if form == "json":
        print_json([render.probe_json(result) for result in probes])
    else:
        render.print_probes(Out(), probes)
    failed = sum(bool(result.error) for result in probes)
    return OK if not failed else NOTHING if failed == len(probes) else PROBLEMS


cli.add_command(serve)
cli.add_command(envoy_bootstrap)
