"""``pilotage capture``: record engine responses for a bug report."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import click

from pilotage.cli.options import NOTHING, OK, PROBLEMS, WithExamples, chosen_engines, engine_options

if TYPE_CHECKING:
    from pilotage.recording.capture import Captured
    from pilotage.recording.replay import Recording

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

    from pilotage.cli.patience import ask_all
    from pilotage.config.engines import EngineChoice
    from pilotage.core.text import count, safe_json
    from pilotage.output.console import Out, clean
    from pilotage.recording.capture import capture_all, recording_json

    err = Out(sys.stderr)
    engines = chosen_engines(EngineChoice(**where))
    printed: list[Recording] = []

    def show(done: list[Captured]) -> None:
        for recording in (recording for captured in done for recording in captured.recordings):
            if recording not in printed:
                printed.append(recording)
                click.echo(safe_json(recording_json(recording)).decode())

    each = [(config.name, capture_all([config], env=os.environ)) for config in engines.configs]
    done = asyncio.run(ask_all(each, show))
    show(done)
    errors = [error for captured in done for error in captured.errors.values()]
    for error in errors:
        err.error(clean(str(error)))
    if not printed:
        return NOTHING
    containers = sum(len(recording.containers) for recording in printed)
    recorded = f"{count(containers, 'container')} of {count(len(printed), 'engine')}"
    err.note(f"Recorded {recorded}. Secrets are recognized by their names, so read the recording before you share it.")
    return PROBLEMS if errors else OK
