"""Counts the instructions of Python that pilotage executes, which do not depend on the machine."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

import pilotage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import CodeType

__all__ = ["Steps", "counting", "steps_of"]

_SOURCES: Final = str(Path(pilotage.__file__).parent)
_DOUBLES: Final = f"{_SOURCES}/testing/"
_TOOL: Final = 4


class Steps:
    """How many instructions were executed so far, without those of pilotage's test doubles."""

    def __init__(self) -> None:
        self.count = 0


@contextlib.contextmanager
def counting() -> Iterator[Steps]:
    """Count what is executed meanwhile. Skips the test on Python 3.11, which cannot count."""
    if sys.version_info < (3, 12):
        pytest.skip("needs sys.monitoring")
    steps, kind = Steps(), sys.monitoring.events.INSTRUCTION

    def count(code: CodeType, _offset: int) -> Any:
        if not code.co_filename.startswith(_SOURCES) or code.co_filename.startswith(_DOUBLES):
            return sys.monitoring.DISABLE
        steps.count += 1
        return None

    sys.monitoring.use_tool_id(_TOOL, "steps")
    sys.monitoring.register_callback(_TOOL, kind, count)
    sys.monitoring.set_events(_TOOL, kind)
    try:
        yield steps
    finally:
        sys.monitoring.set_events(_TOOL, 0)
        sys.monitoring.register_callback(_TOOL, kind, None)
        sys.monitoring.free_tool_id(_TOOL)


def steps_of(run: Callable[[], object]) -> int:
    """Return how many instructions a call executes."""
    with counting() as steps:
        run()
    return steps.count
