"""``pilotage check``: files are looked over before they are used."""

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
    """Look over files before they are used.

    Labels in compose files, pilotage.yml, files of routes; no engine is asked. Without FILES those of this folder.
    """
    from pilotage.core.text import count
    from pilotage.lint.check import USUAL, check_files
    from pilotage.output.console import Out
    from pilotage.output.json import problem_json
    from pilotage.output.text.problems import print_problems

    names = files or [name for name in USUAL if os.path.isfile(name)]  # noqa: PTH113  # pathlib takes its time to import
    if not names:
        raise click.UsageError(f"There is nothing to check here: no {', '.join(USUAL[:-1])} or {USUAL[-1]}.")
    found = check_files(names, os.environ)
    errors = sum(problem.severity == "error" for problem in found.problems)
    if form == "json":
        print_json({"files": found.files, "problems": [problem_json(problem) for problem in found.problems]})
    else:
        out = Out()
        print_problems(out, found.problems, apart=False)
        said = f"{count(errors, 'problem')}, {count(len(found.problems) - errors, 'warning')}"
        out.line(f"{', '.join(found.files)}: {said if found.problems else 'no problems'}")
    if "unreadable" in found.files.values():
        return NOTHING
    return PROBLEMS if errors else OK
