"""``pilotage schema``: JSON Schema for editors."""

from __future__ import annotations

import click

from pilotage.cli.options import OK, WithExamples

__all__ = ["schema"]


@click.command(
    cls=WithExamples,
    examples=(
        "pilotage schema routes > routes.schema.json",
        "pilotage schema labels > labels.schema.json",
    ),
)
@click.argument("kind", type=click.Choice(("routes", "labels")))
def schema(kind: str) -> int:
    """Print the JSON Schema of route files, or of the labels in Compose files.

    Editors with a YAML language server use it for completion and checks.
    """
    import json

    from pilotage.output.json_schema import SCHEMAS

    click.echo(json.dumps(SCHEMAS[kind](), indent=1, ensure_ascii=True))
    return OK
