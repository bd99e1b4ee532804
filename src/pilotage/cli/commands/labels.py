"""``pilotage labels``: the label reference."""

from __future__ import annotations

import sys

import click

from pilotage.cli.options import NOTHING, OK, WithExamples, format_option, print_json

__all__ = ["labels"]


@click.command(
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
    """Show the label reference.

    Lists labels with type, default, meaning and an example; with WORD, only labels whose names contain it.
    """
    from pilotage.core.text import shorten
    from pilotage.lint.works import works_by_label
    from pilotage.output.console import Out
    from pilotage.output.label_reference import markdown, matching
    from pilotage.output.text.labels import print_labels

    if form == "markdown":
        click.echo(markdown(works_by_label()), nl=False)
        return OK
    found, hint = matching(word, works_by_label())
    if not found:
        advice = hint or "run 'pilotage labels' to list all"
        Out(sys.stderr).error(f"no label name contains {shorten(word)!r}; {advice}")
        return NOTHING
    if form == "json":
        import msgspec

        print_json(msgspec.to_builtins(found))
    else:
        print_labels(Out(), found)
    return OK
