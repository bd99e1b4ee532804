"""``pilotage capture``: engines' answers, recorded for a bug report."""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from pilotage.cli.options import NOTHING, OK, PROBLEMS, WithExamples, chosen_engines, engine_options

__all__ = ["capture"]


@click.command(
    cls=WithExamples,
    examples=(
        "pilotage capture > bug-report.json",
        "pilotage routes --replay bug-report.json",
    ),
)
@engine_options
def capture(**where: Any) -> int:
    """Record what engines answer, for a bug report.

    One line of JSON for each engine goes to standard output. Only what pilotage reads is recorded; environments and
    commands are left out, and values of labels that look like secrets. Read the file before you hand it on: names,
    images, mounts and addresses are in it.
    """
    import asyncio

    from pilotage.config.engines import EngineChoice
    from pilotage.core.text import count
    from pilotage.output.console import Out, clean
    from pilotage.recording.capture import capture_all, recording_json

    err = Out(sys.stderr)
    engines = chosen_engines(EngineChoice(**where))
    captured = asyncio.run(capture_all(engines.configs, env=os.environ))
    for recording in captured.recordings:
        click.echo(recording_json(recording).decode())
    for error in captured.errors.values():
        err.error(clean(str(error)))
    if not captured.recordings:
        return NOTHING
    containers = sum(len(recording.containers) for recording in captured.recordings)
    said = f"{count(containers, 'container')} of {count(len(captured.recordings), 'engine')} recorded"
    err.note(f"{said}; secrets are removed as far as their names tell, so read it before you hand it on.")
    return PROBLEMS if captured.errors else OK
