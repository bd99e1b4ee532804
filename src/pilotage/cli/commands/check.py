"""``pilotage check``: check files without using them."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from pilotage.cli.options import NOTHING, OK, PROBLEMS, WithExamples, format_option, print_json

if TYPE_CHECKING:
    from pilotage.lint import Checked, Sources

__all__ = ["check"]


@click.command(
    cls=WithExamples,
    examples=(
        "pilotage check",
        "pilotage check compose.yml routes.d/",
        "docker compose config | pilotage check -",
        "pilotage check --strict --format github .",
    ),
)
@click.argument("files", nargs=-1, metavar="[FILE|FOLDER|-]...")
@format_option("text", "json", "github", "sarif")
@click.option("--strict", is_flag=True, help="Exit with status 1 for warnings, too.")
def check(files: tuple[str, ...], form: str, *, strict: bool) -> int:
    """Check Compose files, pilotage.yml and route files.

    Reports errors in labels, settings and routes without contacting an engine. Without arguments, checks the files in
    this directory that have the usual names. In a FOLDER and the folders below it, checks the YAML files that are
    meant for Compose or pilotage. A - checks standard input.

    Exit status: 0 no errors; 1 errors, or warnings with --strict; 2 a file cannot be read, or there is none.
    """
    from pilotage.lint import STDIN, USUAL, Sources, check_files

    names = [STDIN if name == "-" else name for name in files]
    names = names or [name for name in USUAL if os.path.isfile(name)]  # noqa: PTH113  # pathlib is slow to import
    if not names:
        raise click.UsageError(f"Nothing to check: this directory has no {', '.join(USUAL[:-1])} or {USUAL[-1]}.")
    sources = Sources(sys.stdin.buffer if "-" in files else None)
    found = check_files(names, os.environ, sources)
    if not found.files:
        from pilotage.output.console import clean

        raise click.UsageError(f"Nothing to check: no file for Compose or pilotage in {clean(', '.join(files))}.")
    _print(found, form, sources)
    if "unreadable" in found.files.values():
        return NOTHING
    counts = any(strict or problem.severity == "error" for problem in found.problems)
    return PROBLEMS if counts else OK


def _print(found: Checked, form: str, sources: Sources) -> None:
    from pilotage.core.text import count

    errors = sum(problem.severity == "error" for problem in found.problems)
    numbers = f"{count(errors, 'problem')}, {count(len(found.problems) - errors, 'warning')}"
    if form == "json":
        from pilotage.output.json import problem_json

        print_json({"files": found.files, "problems": [problem_json(problem) for problem in found.problems]})
    elif form == "sarif":
        from pilotage import __version__
        from pilotage.output.reports import sarif_log

        folder = os.getcwd()  # noqa: PTH109  # pathlib is slow to import
        print_json(sarif_log(found.files, found.problems, folder, __version__))
    elif form == "github":
        from pilotage.output.reports import github_commands

        for command in github_commands(found.problems, os.getcwd()):  # noqa: PTH109
            click.echo(command)
        # The runner would also obey a command in the name of a file.
        click.echo(f"{count(len(found.files), 'file')}: {numbers}")
    else:
        from pilotage.output.console import Out, clean
        from pilotage.output.text.problems import print_problems

        out = Out()
        print_problems(out, found.problems, apart=False, line_of=sources.line)
        out.line(clean(f"{', '.join(found.files)}: {numbers if found.problems else 'no problems'}"))
