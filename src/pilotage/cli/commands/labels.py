"""``pilotage labels``: what can be written in labels."""

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
    """Show the labels that can be written.

    Each with its type, default, meaning and an example. With WORD only those that have it in their name.
    """
    from pilotage.core.text import shorten
    from pilotage.output import label_reference
    from pilotage.output.console import Out
    from pilotage.output.text.labels import print_labels

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
        print_labels(Out(), found)
    return OK
