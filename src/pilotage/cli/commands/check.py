"""``pilotage check``: check files without using them."""

from __future__ import annotations

import os

import click

from pilotage.cli.options import NOTHING, OK, PROBLEMS, WithExamples, format_option, print_json

__all__ = ["check"]


@click.command(
    cls=WithExamples,
    examples=(
        "pilotage check",
        "pilotage check compose.yml routes.d/*.yml",
    ),
)
@click.argument("files", nargs=-1, metavar="[FILES]...")
@format_option("text", "json")
def check(files: tuple[str, ...], form: str) -> int:
    """Check Compose files, pilotage.yml and route files.

    Reports errors in labels, settings and routes without contacting an engine. Without FILES, checks the files in this
    directory that have the usual names.
    """
    from pilotage.core.text import count
    from pilotage.lint.check import USUAL, check_files
    from pilotage.output.console import Out
    from pilotage.output.json import problem_json
    from pilotage.output.text.problems import print_problems

    names = files or [name for name in USUAL if os.path.isfile(name)]  # noqa: PTH113  # pathlib is slow to import
    if not names:
        raise click.UsageError(f"Nothing to check: this directory has no {', '.join(USUAL[:-1])} or {USUAL[-1]}.")
    found = check_files(names, os.environ)
    errors = sum(problem.severity == "error" for problem in found.problems)
    if form == "json":
        print_json({"files": found.files, "problems": [problem_json(problem) for problem in found.problems]})
    else:
        out = Out()
        print_problems(out, found.problems, apart=False)
        numbers = f"{count(errors, 'problem')}, {count(len(found.problems) - errors, 'warning')}"
        out.line(f"{', '.join(found.files)}: {numbers if found.problems else 'no problems'}")
    if "unreadable" in found.files.values():
        return NOTHING
    return PROBLEMS if errors else OK
