"""``pilotage explain``: explain a container or an alias."""

from __future__ import annotations

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
    status_of,
    strict_option,
    views_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pilotage.output.explain import Explanation
    from pilotage.output.view import View

__all__ = ["explain"]


@click.command(
    cls=WithExamples,
    examples=(
        "pilotage explain shop",
        "pilotage explain nas/shop --format json",
    ),
)
@click.argument("name")
@source_options
@format_option("text", "json")
@strict_option
@click.option("--show-secrets", is_flag=True, help="Show passwords, tokens and other values that are hidden otherwise.")
def explain(name: str, form: str, *, show_secrets: bool, strict: bool, **where: Any) -> int:
    """Explain a container or an alias.

    Shows which label sets each field and what that label overrides, which defaults apply, why a route is excluded and
    how to include it, and which other containers claim the alias. Secrets are hidden. NAME is a container,
    ENGINE/CONTAINER, or an alias.
    """
    from pilotage.output.console import Out
    from pilotage.output.explain import explain_name
    from pilotage.output.text.explanation import print_explanation
    from pilotage.xds import read_rule_file

    early: list[Explanation] = []

    def explained(view: View) -> Explanation:
        given: dict[str, Any] = {"with_rules": read_rule_file} if view.is_local else {}
        return explain_name(name, view.snapshots, view.table, view.files, show_secrets=show_secrets, **given)

    def show(view: View) -> None:
        explanation = explained(view)
        if explanation.containers or explanation.files:
            early.append(explanation)
            print_explanation(Out(), explanation)

    views = views_of(early=None if form == "json" else show, **where)
    found = [explained(view) for view in views]
    if not any(explanation.containers or explanation.files for explanation in found):
        if status_of(views) != NOTHING:
            _unknown_name(name, views)
        return NOTHING
    out = Out()
    for explanation in found:
        if early == [explanation]:
            continue
        if early:
            out.line()
        if form == "json":
            import msgspec

            print_json(msgspec.to_builtins(explanation))
        else:
            print_explanation(out, explanation)
    sound = all(
        view.is_demo or not (view.errors or (strict and _has_errors(explanation)))
        for view, explanation in zip(views, found, strict=True)
    )
    return OK if sound else PROBLEMS


def _has_errors(explanation: Explanation) -> bool:
    return any(problem.severity == "error" for problem in explanation.problems)


def _unknown_name(name: str, views: Iterable[View]) -> None:
    from pilotage.core.suggest import did_you_mean
    from pilotage.core.text import shorten
    from pilotage.output.console import Out, clean
    from pilotage.output.explain import known_names

    names = sorted({known for view in views for known in known_names(view.snapshots, view.files)})
    few = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
    hint = did_you_mean(name, names) or (f"known names are {few}" if names else "there are no containers")
    Out(sys.stderr).error(clean(f"no container or alias is named {shorten(name)!r}; {hint}"))
