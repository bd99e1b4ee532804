"""Counts the instructions of Python that pilotage executes, which do not depend on the machine."""

from __future__ import annotations

import contextlib
import gc
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pilotage
from tests.support.install import EngineUnavailable
from tests.support.required import missing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import CodeType, FrameType

__all__ = ["Steps", "counting", "same_cost", "steps_of"]

_SOURCES: Final = str(Path(pilotage.__file__).parent)
_DOUBLES: Final = f"{_SOURCES}/testing/"
_TOOL: Final = 4


class Steps:
    """How many instructions were executed so far, without those of pilotage's test doubles."""

    def __init__(self) -> None:
        self.count = 0


@contextlib.contextmanager
def counting() -> Iterator[Steps]:
    """Count what is executed meanwhile.

    Python 3.11 cannot: it counts only with a trace function, which would slow down a whole daemon so much that other
    time limits pass. The test is then skipped, and in CI it fails.
    """
    if sys.version_info < (3, 12):
        missing(EngineUnavailable("counting the steps of a daemon needs Python 3.12"))
    steps = Steps()
    with _monitored(steps):
        yield steps


def _is_counted(code: CodeType) -> bool:
    return code.co_filename.startswith(_SOURCES) and not code.co_filename.startswith(_DOUBLES)


@contextlib.contextmanager
def _traced(steps: Steps) -> Iterator[None]:
    """Count with a trace function, because Python 3.11 has no sys.monitoring."""

    def count(_frame: FrameType, event: str, _argument: object) -> Any:
        steps.count += event == "opcode"
        return count

    def enter(frame: FrameType, _event: str, _argument: object) -> Any:
        if not _is_counted(frame.f_code):
            return None
        frame.f_trace_lines, frame.f_trace_opcodes = False, True
        return count

    before = sys.gettrace()
    sys.settrace(enter)
    try:
        yield
    finally:
        sys.settrace(before)


@contextlib.contextmanager
def _monitored(steps: Steps, thread: int = 0) -> Iterator[None]:
    """Count with sys.monitoring; only in the given thread, or in all if it is 0."""
    if sys.version_info < (3, 12):
        raise NotImplementedError
    kind = sys.monitoring.events.INSTRUCTION

    def count(code: CodeType, _offset: int) -> Any:
        if not _is_counted(code):
            return sys.monitoring.DISABLE
        steps.count += not thread or threading.get_ident() == thread
        return None

    sys.monitoring.use_tool_id(_TOOL, "steps")
    sys.monitoring.register_callback(_TOOL, kind, count)
    sys.monitoring.set_events(_TOOL, kind)
    try:
        yield
    finally:
        sys.monitoring.set_events(_TOOL, 0)
        sys.monitoring.register_callback(_TOOL, kind, None)
        sys.monitoring.free_tool_id(_TOOL)


def steps_of(run: Callable[[], object]) -> int:
    """Return how many instructions a call executes in this thread."""
    steps = Steps()
    is_collecting = gc.isenabled()
    gc.disable()  # otherwise it may end coroutines that earlier tests have left behind
    try:
        with _monitored(steps, threading.get_ident()) if sys.version_info >= (3, 12) else _traced(steps):
            run()
    finally:
        if is_collecting:
            gc.enable()
    return steps.count


def same_cost(first: int, second: int) -> bool:
    """Return whether two counts are equal, apart from what coverage adds when code runs for the first time."""
    return abs(first - second) <= max(10, min(first, second) // 100)
