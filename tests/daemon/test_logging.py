from __future__ import annotations

import io
import json
import logging
import re
from typing import TYPE_CHECKING

import pytest

from pilotage.daemon import logging as logs

if TYPE_CHECKING:
    from pilotage.daemon.logging import LogFormat

log = logging.getLogger("pilotage.gateway.process")


def written(form: LogFormat, level: str = "info") -> io.StringIO:
    stream = io.StringIO()
    logs.configure_logging(form, level, stream)
    return stream


def test_text_logs_have_time_level_logger_and_message() -> None:
    stream = written("text")
    log.warning("Envoy is %s", "slow")
    assert re.fullmatch(r"\d\d:\d\d:\d\d warning gateway: Envoy is slow\n", stream.getvalue())


def test_control_characters_in_log_messages_are_escaped() -> None:
    stream = written("text")
    log.warning("said %s", "\x1b[2J\nfake line")
    assert stream.getvalue().count("\n") == 1
    assert "\x1b" not in stream.getvalue()


def test_the_journal_gets_levels_as_priorities_and_no_time() -> None:
    stream = written("journal", "debug")
    for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL):
        log.log(level, "x")
    assert stream.getvalue() == "".join(f"<{priority}>gateway: x\n" for priority in (7, 6, 4, 3, 2))


def test_every_line_of_a_traceback_has_its_priority_in_the_journal() -> None:
    stream = written("journal")
    log.error("a defect", exc_info=ValueError("broken"))
    lines = stream.getvalue().splitlines()
    assert lines[-1] == "<3>ValueError: broken"
    assert all(line.startswith("<3>") for line in lines)


def test_machines_read_one_object_a_line() -> None:
    stream = written("json")
    log.info("grüezi\nhere")
    entry = json.loads(stream.getvalue())
    assert entry.pop("time").endswith("Z")
    assert entry == {"level": "info", "logger": "pilotage.gateway.process", "message": "grüezi\nhere"}
    log.error("a defect", exc_info=ValueError("broken"))
    assert "ValueError: broken" in json.loads(stream.getvalue().splitlines()[1])["traceback"]


def test_the_level_applies_to_pilotage_and_libraries_log_warnings() -> None:
    stream = written("text", "debug")
    log.debug("ours")
    logging.getLogger("aiohttp").info("theirs")
    logging.getLogger("aiohttp").warning("their trouble")
    assert ["ours" in stream.getvalue(), "theirs" in stream.getvalue()] == [True, False]
    assert "aiohttp: their trouble" in stream.getvalue()


def test_the_log_format_depends_on_standard_error() -> None:
    assert logs.detect_log_format({"JOURNAL_STREAM": "8:1"}) == "journal"
    assert logs.detect_log_format({}) == "text"


def test_a_terminal_shows_the_level_only_where_something_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    stream = written("terminal")
    log.info("Envoy is ready")
    log.warning("Envoy is slow")
    assert re.fullmatch(r"[\d:]{8}  Envoy is ready\n[\d:]{8}  warning: Envoy is slow\n", stream.getvalue())


def test_a_terminal_gets_colours_unless_it_cannot_show_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    stream = written("terminal")
    log.error("Envoy is gone")
    assert re.fullmatch(r"\x1b\[2m[\d:]{8}\x1b\[0m  \x1b\[31merror: \x1b\[0mEnvoy is gone\n", stream.getvalue())
    monkeypatch.setenv("TERM", "dumb")
    log.error("Envoy is gone")
    assert re.fullmatch(r"[\d:]{8}  error: Envoy is gone", stream.getvalue().splitlines()[1])


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_long_message_is_cut(form: LogFormat) -> None:
    stream = written(form)
    log.warning("said %s", "x" * 10_000)
    assert stream.getvalue().count("x") == 4_000 - len("said …")
