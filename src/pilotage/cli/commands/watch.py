"""``pilotage watch``: what changes, as it happens."""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from pilotage.cli.options import OK, WithExamples, chosen_engines, engine_options, format_option

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
    """Tell what changes, as it happens, until interrupted.

    Routes that come, change and go, with the event behind it; engines that go away and come back, while their routes
    stay as they were; problems as they arise and are resolved. As JSON one object a line, at first all there is.
    """
    import asyncio

    from pilotage.cli import watch as watching
    from pilotage.config.engines import EngineChoice
    from pilotage.output.console import Out
    from pilotage.output.pipe import Pipe

    engines, pipe = chosen_engines(EngineChoice(**where)), Pipe.of(sys.stdout)
    out = Out(pipe)
    if form == "json":
        tell = watching.json_printer(out)
    else:
        tell = watching.text_printer(out, [config.name for config in engines.configs], engines.problems)
    asyncio.run(watching.follow(engines, os.environ, tell, pipe=pipe))
    return OK
