"""``pilotage watch``: print changes as they happen."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import click

from pilotage.cli.options import (
    WithExamples,
    engine_options,
    format_option,
    run_until_interrupted,
    watched,
)

__all__ = ["watch"]


@click.command(
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
    """Print changes as they happen, until interrupted.

    Prints each route that is added, updated or removed, with the event that caused the change. Also prints problems,
    and engines that become unreachable or return. JSON output has one object per line and starts with the current
    routes.
    """
    from pilotage.cli import watch as watching
    from pilotage.config.engines import EngineChoice
    from pilotage.output.console import Out
    from pilotage.output.pipe import Pipe

    choice, pipe = EngineChoice(**where), Pipe.of(sys.stdout)
    source = watched(choice)
    out = Out(pipe)
    if form == "json":
        show = watching.json_printer(out)
    elif isinstance(source, Path):
        show = watching.text_printer(out, ())
    else:
        show = watching.text_printer(out, [config.name for config in source.configs], source.problems)
    return run_until_interrupted(watching.follow(source, os.environ, show, pipe=pipe))
