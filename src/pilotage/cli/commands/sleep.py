"""``pilotage wake`` and ``pilotage sleep``: wake containers, or put them to sleep, through the running daemon."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

import click

from pilotage.cli.options import NOTHING, OK, PROBLEMS, WithExamples

if TYPE_CHECKING:
    from pilotage.sleep.status import SleepStatus

__all__ = ["sleep", "wake"]

_AWAKE: Final = ("ready", "waking")


@click.command(cls=WithExamples, examples=("pilotage wake shop", "pilotage wake shop --no-wait"))
@click.argument("name")
@click.option("--no-wait", is_flag=True, help="Return without waiting for the container.")
def wake(name: str, *, no_wait: bool) -> int:
    """Wake a sleeping container, as its next request would.

    NAME is an alias, the name of a container or its ID. Needs a running daemon. Waits until the container answers; exit
    status 1 if it could not be woken.
    """
    return _run("wake", name, "ready", wait=not no_wait)


@click.command(cls=WithExamples, examples=("pilotage sleep shop", "pilotage sleep shop --no-wait"))
@click.argument("name")
@click.option("--no-wait", is_flag=True, help="Return without waiting for the container.")
def sleep(name: str, *, no_wait: bool) -> int:
    """Put a container to sleep without waiting for its idle timeout.

    NAME is an alias, the name of a container or its ID. Needs a running daemon. Requests in progress are finished
    first, and the next request wakes the container. Exit status 1 if a request wakes it meanwhile.
    """
    return _run("sleep", name, "asleep", wait=not no_wait)


def _run(verb: str, name: str, goal: str, *, wait: bool) -> int:
    import time

    from pilotage.cli.daemon_client import Refused, command, statuses
    from pilotage.output.console import Out
    from pilotage.sleep.status import describe

    out = Out()
    try:
        found: SleepStatus | None = command(os.environ, verb, name)
    except Refused as refusal:
        out.error(str(refusal))
        return NOTHING if refusal.is_unreachable else PROBLEMS
    shown = ""
    while found is not None:
        text = f"{found.container}: {describe(found, wall=time.time())}"
        if text != shown:
            out.line(text)
            shown = text
        if not wait or found.state == goal:
            return OK
        if found.state == "failed" or (goal == "asleep" and found.state in _AWAKE):
            return PROBLEMS
        time.sleep(0.2)
        container, engine = found.container, found.engine
        found = next((it for it in statuses(os.environ) if (it.engine, it.container) == (engine, container)), None)
    return OK
