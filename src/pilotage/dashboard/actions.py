"""Implements the actions of the dashboard: wake containers, put them to sleep, reload the configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pilotage.core.text import shorten
from pilotage.sleep.engine_actions import SleepError

if TYPE_CHECKING:
    from pilotage.sleep.sleeper import Sleeper

__all__ = ["put_to_sleep", "wake"]


def wake(sleeper: Sleeper | None, name: str) -> str:
    """Wake the containers of a route. Return why that is not possible; ``""`` if it has begun."""
    unit = sleeper.find(name) if sleeper is not None else None
    if sleeper is None or unit is None:
        return f"no container of {shorten(name)!r} can sleep"
    sleeper.want(min(unit.aliases))
    return ""


def put_to_sleep(sleeper: Sleeper | None, name: str) -> str:
    """Put the containers of a route to sleep. Return why that is not possible; ``""`` if it has begun."""
    unit = sleeper.find(name) if sleeper is not None else None
    if sleeper is None or unit is None:
        return f"no container of {shorten(name)!r} can sleep"
    try:
        sleeper.sleep(min(unit.aliases))
    except SleepError as refusal:
        return str(refusal)
    return ""
