from __future__ import annotations

import logging

from pilotage.daemon.log_limit import LogLimit


class Log:
    """A limited log at a time that the test sets."""

    def __init__(self) -> None:
        self.now = 0.0
        self.limit = LogLimit(lambda: self.now)

    def write(self, text: str, *args: object, level: int = logging.WARNING, name: str = "pilotage.x") -> str | None:
        """Return what is written."""
        record = logging.LogRecord(name, level, "", 0, text, args, None)
        return record.getMessage() if self.limit.filter(record) else None


def test_a_message_is_repeated_five_times_and_then_once_a_minute() -> None:
    log, written = Log(), []
    for _ in range(3600):
        written.append(log.write("engine %s is unreachable", "local"))
        log.now += 1
    lines = [line for line in written if line is not None]
    assert lines[:4] == ["engine local is unreachable"] * 4
    assert lines[4] == "engine local is unreachable (repeated; from now on logged at most once a minute)"
    assert lines[5] == "engine local is unreachable (55 more since the last one)"
    assert 60 <= len(lines) <= 66


def test_different_messages_levels_and_components_are_counted_separately() -> None:
    log = Log()
    for _ in range(9):
        log.write("a")
    assert log.write("a") is None
    assert log.write("b") == "b"
    assert log.write("a", level=logging.INFO) == "a"
    assert log.write("a", name="pilotage.y") == "a"


def test_a_component_that_floods_the_log_silences_no_other_one() -> None:
    log = Log()
    written = [log.write("%d", number) for number in range(50_000)]
    assert sum(line is not None for line in written) == 1000
    assert log.write("configuration rejected", name="pilotage.daemon.reload") == "configuration rejected"
    log.now += 1
    assert log.write("late") == "late (49000 other messages were omitted because there were too many)"
    assert len(log.limit._texts) <= 1000


def test_debug_messages_are_not_limited() -> None:
    log = Log()
    assert all(log.write("a", level=logging.DEBUG) for _ in range(2000))
