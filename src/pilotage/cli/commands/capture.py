"""``pilotage capture``: record engine responses for a bug report."""

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
    """Record engine responses for a bug report.

    Prints one line of JSON for each engine. The recording has only the fields that pilotage reads: no environment
    variables, no commands, no label values that look like secrets, no values in the query of a URL. It does include
    names, images, mounts and addresses, so read it before you share it.
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
    recorded = f"{count(containers, 'container')} of {count(len(captured.recordings), 'engine')}"
    err.note(f"Recorded {recorded}. Secrets are recognized by their names, so read the recording before you share it.")
    return PROBLEMS if captured.errors else OK
