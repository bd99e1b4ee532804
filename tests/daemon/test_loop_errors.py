from __future__ import annotations

import errno
import logging
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

from pilotage.daemon.loop_errors import LoopErrors

if TYPE_CHECKING:
    import pytest

FULL: dict[str, Any] = {
    "message": "socket.accept() out of system resource",
    "exception": OSError(errno.EMFILE, "Too many open files"),
}


def test_too_many_open_files_are_reported_once_a_minute_without_a_traceback(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    loop, handle = Mock(), LoopErrors()
    for _ in range(1000):
        handle(loop, FULL)
    (record,) = caplog.records
    assert (record.levelno, record.exc_info) == (logging.ERROR, None)
    assert record.getMessage().startswith("cannot accept connections: Too many open files; ")
    now += 60
    handle(loop, {"message": FULL["message"]})
    assert "out of resources" in caplog.records[1].getMessage()
    assert loop.default_exception_handler.call_count == 0


def test_other_errors_are_reported_as_usual() -> None:
    loop = Mock()
    LoopErrors()(loop, {"message": "else"})
    loop.default_exception_handler.assert_called_once_with({"message": "else"})
