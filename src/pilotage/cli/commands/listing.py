"""``pilotage ps`` and ``pilotage routes``: list containers and routes."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import click

from pilotage.cli.options import (
    WithExamples,
    format_option,
    print_json,
    run_until_interrupted,
    source_options,
    status_of,
    strict_option,
    views_of,
    watched,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pilotage.output.view import View

__all__ = ["ps", "routes"]


@click.command(
    cls=WithExamples,
    examples=(
        "pilotage ps",
        "pilotage ps --engine nas=ssh://me@nas --engine local=unix:///var/run/docker.sock",
    ),
)
@source_options
@strict_option
@format_option("table", "json")
def ps(form: str, *, strict: bool, **where: Any) -> int:
    """List containers with their aliases and targets."""
    return _report("containers", form, where, strict=strict)


@click.command(
    cls=WithExamples,
    examples=(
        "pilotage routes",
        "pilotage routes --format json | jq '.routes.shop.target'",
        "pilotage routes --replay bug-report.json",
        "pilotage routes --watch",
        "pilotage routes --wide",
    ),
)
@source_options
@click.option("--or-demo", is_flag=True, help="Use the demonstration if no engine responds.")
@click.option("--wide", is_flag=True, help="Show which Envoy has accepted each route; asks the running daemon.")
@click.option("--watch", is_flag=True, help="Update the list until interrupted.")
@strict_option
@format_option("table", "json")
def routes(form: str, *, watch: bool, wide: bool, strict: bool, **where: Any) -> int:
    """List aliases and their targets, or why an alias has no target."""
    if wide and watch:
        raise click.UsageError("--wide cannot be combined with --watch.")
    if strict and watch:
        raise click.UsageError("--strict cannot be combined with --watch, which only ends when interrupted.")
    if not watch:
        return _report("routes", form, {**where, "wide": wide}, strict=strict)
    if form == "json":
        raise click.UsageError("--watch prints tables; use 'pilotage watch --format json'.")
    unfit = [f"--{name.replace('_', '-')}" for name in ("replay", "demo", "or_demo") if where.pop(name)]
    if unfit:
        raise click.UsageError(f"{unfit[0]} cannot be combined with --watch, which only works with engines.")
    from pilotage.cli import watch as watching
    from pilotage.config.engines import EngineChoice
    from pilotage.output.console import Out
    from pilotage.output.pipe import Pipe

    source, pipe = watched(EngineChoice(**where)), Pipe.of(sys.stdout)
    return run_until_interrupted(watching.redraw(source, os.environ, Out(pipe), pipe))


def _report(what: str, form: str, where: dict[str, Any], *, strict: bool) -> int:
    if form == "json":
        views = views_of(**where)
        from pilotage.output.json import document

        _require_envoys(views, where)
        for view in views:
            print_json(document(view.snapshots, view.table, view.on_envoys))
        return status_of(views, strict=strict)
    early: list[View] = []

    def show(view: View) -> None:
        early.append(view)
        _print(what, [view])

    views = views_of(early=None if where.get("wide") else show, **where)
    _require_envoys(views, where)
    if not early:
        _print(what, views)
    elif len(views[0].snapshots) > len(early[0].snapshots):  # an engine that was slow has changed the table
        click.echo()
        _print(what, views)
    return status_of(views, strict=strict)


def _require_envoys(views: Iterable[View], where: dict[str, Any]) -> None:
    if where.get("wide") and any(view.on_envoys is None for view in views):
        raise click.UsageError("--wide shows what Envoys have accepted, which only a running 'pilotage serve' knows.")


def _print(what: str, views: Iterable[View]) -> None:
    from pilotage.output.console import Out
    from pilotage.output.text.containers import print_containers
    from pilotage.output.text.problems import print_problems
    from pilotage.output.text.routes import print_routes, summary

    out = Out()
    for index, view in enumerate(views):
        if index:
            out.line()
        if view.errors and not view.snapshots and not view.files:
            continue
        if what == "routes":
            print_routes(out, view)
        else:
            print_containers(out, view)
        print_problems(out, view.table.problems)
        out.line()
        out.line(summary(view, containers=what == "containers"))
