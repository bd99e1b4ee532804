"""``pilotage plan``: show what Compose files would change in the route table."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import click

from pilotage.cli.options import (
    NOTHING,
    OK,
    PROBLEMS,
    WithExamples,
    format_option,
    print_json,
    source_options,
    views_of,
)

if TYPE_CHECKING:
    from pilotage.config.load import Config
    from pilotage.core.problems import Problem
    from pilotage.lint import Plan, PlannedChange, Sources
    from pilotage.output.view import View

__all__ = ["plan"]


@click.command(
    cls=WithExamples,
    examples=(
        "pilotage plan compose.yml",
        "docker compose config | pilotage plan -",
        "pilotage plan compose.yml --on node1 --format json",
    ),
)
@click.argument("files", nargs=-1, required=True, metavar="COMPOSE_FILE|-...")
@click.option("--project", metavar="NAME", default="", help="Name of the Compose project. [default: as for Compose]")
@click.option("--on", "engine", metavar="ENGINE", default="", help="Name of the engine. [default: the project's]")
@source_options
@format_option("text", "json")
def plan(files: tuple[str, ...], project: str, engine: str, form: str, **where: Any) -> int:
    """Show what would change if Compose files were applied.

    Compares the route table of the running daemon, or of the engines if none runs, with the table after `docker compose
    up --remove-orphans`. Lists the names that would be new, changed, moved to another container or lost, and conflicts
    with other containers. Changes nothing. A - reads standard input.

    Exit status: 0 nothing would be lost; 1 an engine cannot be reached, so the plan may be incomplete; 2 a name would
    be lost, or there is no plan.
    """
    import time

    from pilotage.config.engines import find_config_file
    from pilotage.discovery.host_addresses import HostAddresses
    from pilotage.lint import STDIN, Site, Sources, make_plan, read_projects

    views = views_of(**where)
    if len(views) > 1:
        raise click.UsageError("Use one recording: a plan is for one table.")
    (view,) = views
    if not view.snapshots:
        return NOTHING
    is_named = any(where.values())
    config, warnings = _config_of(where["config"] if is_named else view.config_file or find_config_file(), view)
    sources = Sources(sys.stdin.buffer if "-" in files else None)
    site = Site(
        config.options,
        config.policy,
        (engine,) if engine else tuple(snapshot.config.name for snapshot in view.snapshots),
        config.reserved_ports,
        config.autocert,
    )
    names = [STDIN if name == "-" else name for name in files]
    projects = read_projects(names, os.environ, sources, site, project)
    found = make_plan(
        view,
        projects,
        policy=config.policy,
        reserved_ports=config.reserved_ports,
        now=int(time.time()),
        engine=engine,
        is_local=HostAddresses().has,
    )
    (_print_json if form == "json" else _print_text)(found, warnings, sources)
    if found.of_kind("lost"):
        return NOTHING
    return PROBLEMS if view.errors else OK


def _config_of(file: str, view: View) -> tuple[Config, tuple[Problem, ...]]:
    """Return the configuration with the rules that apply, and a warning if the daemon's cannot be read."""
    from pathlib import Path

    import msgspec

    from pilotage.config.engines import DEFAULT_POLICY
    from pilotage.config.load import Config, load_config
    from pilotage.config.oidc_env import policy_of_env
    from pilotage.core.errors import ConfigError
    from pilotage.core.problems import Problem

    warnings: tuple[Problem, ...] = ()
    if file:
        try:
            return load_config(Path(file), os.environ), ()
        except ConfigError as error:
            if file != view.config_file:
                raise
            message = (
                f"the daemon's configuration is not used, so its rules are not applied: {error.problems[0].message}"
            )
            hint = "run the command as the user of the daemon"
            warnings = (Problem(message=message, severity="warning", hint=hint, file=file),)
    return msgspec.structs.replace(Config(), policy=policy_of_env(DEFAULT_POLICY, os.environ)), warnings


def _print_json(found: Plan, warnings: tuple[Problem, ...], _: Sources) -> None:
    import msgspec

    from pilotage.lint import UNKNOWN
    from pilotage.output.json import problem_json

    print_json(
        {
            "engines": found.engines,
            "changes": [msgspec.structs.asdict(change) for change in found.changes],
            "conflicts": [problem_json(problem) for problem in found.conflicts],
            "problems": [problem_json(problem) for problem in (*warnings, *found.problems)],
            "removed": found.removed,
            "unknown": UNKNOWN,
        }
    )


_STYLES = {"new": "green", "changed": "yellow", "moved": "yellow", "lost": "red"}


def _print_text(found: Plan, warnings: tuple[Problem, ...], sources: Sources) -> None:
    from pilotage.core.text import count
    from pilotage.lint import UNKNOWN
    from pilotage.output.console import Out, clean, print_table
    from pilotage.output.text.problems import print_problems

    out = Out()
    if found.changes:
        rows = [
            ((change.kind, _STYLES[change.kind]), (change.name, "bold"), (_detail(change), ""))
            for change in found.changes
        ]
        print_table(out, ("CHANGE", "NAME", "DETAILS"), rows, (2, 1))
    if found.conflicts:
        out.line("Conflicts:")
        print_problems(out, found.conflicts, apart=False)
    if warnings or found.problems:
        out.line("Problems:")
        print_problems(out, (*warnings, *found.problems), apart=False, line_of=sources.line)
    where = ", ".join(f"project {project} on {engine}" for project, engine in found.engines.items())
    numbers = [f"{len(found.of_kind(kind))} {kind}" for kind in _STYLES]
    numbers += [count(len(found.conflicts), "conflict"), count(len(found.problems), "problem")]
    out.line(clean(f"{where}: {', '.join(numbers)}"))
    err = Out(sys.stderr)
    if found.removed:
        removed = ", ".join(found.removed)
        err.note(clean(f"Compose removes {removed} only with --remove-orphans or 'docker compose rm'."))
    err.note(f"Not known in advance: {UNKNOWN}.")


def _detail(change: PlannedChange) -> str:
    if change.kind == "new":
        return f"{change.after}, {f'port {change.port}' if change.port else 'port not known yet'}"
    if change.kind == "changed":
        return f"{change.after}: {', '.join(change.fields)}"
    return f"{change.before} → {change.after}" if change.kind == "moved" else f"was {change.before}; {change.reason}"
