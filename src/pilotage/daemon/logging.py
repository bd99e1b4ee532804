"""Configures the daemon's log: readable text, journal lines with priorities, or one JSON object per line.

Only the daemon configures logging. An application that embeds the library configures its own.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from typing import TYPE_CHECKING, Any, Final, Literal

from pilotage.core.secrets import clean as without_secrets
from pilotage.core.text import safe_json
from pilotage.daemon.log_limit import LogLimit
from pilotage.output.console import clean

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TextIO

__all__ = ["LogFormat", "configure_logging", "detect_log_format"]

LogFormat = Literal["terminal", "text", "journal", "json"]

_PRIORITIES: Final = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6), (0, 7))
_OURS: Final = "pilotage."
_LONGEST: Final = 4_000  # characters of a message; labels and engines can contain longer names


def detect_log_format(env: Mapping[str, str]) -> LogFormat:
    """Return ``journal`` if systemd connected standard error to the journal, or else ``text``."""
    return "journal" if env.get("JOURNAL_STREAM") else "text"


def configure_logging(form: LogFormat, level: str = "info", stream: TextIO | None = None) -> logging.Handler:
    """Write the log of this process to a stream, and return the handler. Repeated messages are limited.

    Args:
        form: ``terminal``: time and message in color, to match a command's own output. ``text``: time, level,
            component and message. ``journal``: the level as a priority prefix; the journal itself adds the time.
            ``json``: one object per line with ``time`` (ISO 8601, UTC), ``level``, ``logger`` and ``message``.
        level: ``debug``, ``info``, ``warning`` or ``error``.
        stream: where to write; by default, standard error.

    """
    handler = logging.StreamHandler(stream or sys.stderr)
    forms = {"terminal": _Terminal, "text": _Text, "journal": _Journal, "json": _Json}
    handler.setFormatter(forms[form]())
    handler.addFilter(LogLimit())
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.WARNING)  # for libraries
    logging.getLogger("pilotage").setLevel(level.upper())
    return handler


def _component(record: logging.LogRecord) -> str:
    name = record.name.removeprefix(_OURS)
    return name if name == record.name else name.partition(".")[0]


def _message(record: logging.LogRecord) -> str:
    """Return the message of a record without secrets, cut to 4,000 characters."""
    text = without_secrets(record.getMessage())
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _traceback(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    """Return the traceback of a record without secrets; each line is escaped."""
    assert record.exc_info is not None  # noqa: S101  # the caller checked it
    return "\n".join(map(clean, without_secrets(formatter.formatException(record.exc_info)).splitlines()))


class _Text(logging.Formatter):
    """Writes one line per record, followed by the traceback if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        when = time.strftime("%H:%M:%S", time.localtime(record.created))
        return f"{when} {record.levelname.lower():7} {self.line(record)}"

    def line(self, record: logging.LogRecord) -> str:
        return f"{_component(record)}: {self.message(record)}"

    def message(self, record: logging.LogRecord) -> str:
        text = clean(_message(record))
        return f"{text}\n{_traceback(self, record)}" if record.exc_info else text


class _Terminal(_Text):
    """Writes time and message, and the level only for warnings and errors. Honors ``NO_COLOR`` and ``TERM=dumb``."""

    def format(self, record: logging.LogRecord) -> str:
        when = time.strftime("%H:%M:%S", time.localtime(record.created))
        level, colour = "", ""
        if record.levelno >= logging.WARNING:
            level, colour = f"{record.levelname.lower()}: ", _RED if record.levelno >= logging.ERROR else _YELLOW
        text = self.message(record)
        if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
            return f"{when}  {level}{text}"
        return f"{_DIM}{when}{_PLAIN}  {colour}{level}{_PLAIN if colour else ''}{text}"


_DIM, _RED, _YELLOW, _PLAIN = (f"\x1b[{code}m" for code in (2, 31, 33, 0))


class _Journal(_Text):
    def format(self, record: logging.LogRecord) -> str:
        priority = next(number for level, number in _PRIORITIES if record.levelno >= level)
        return "\n".join(f"<{priority}>{line}" for line in self.line(record).split("\n"))


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        fields: dict[str, Any] = {
            "time": f"{seconds}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _message(record),
        }
        if record.exc_info:
            fields["traceback"] = _traceback(self, record)
        return safe_json(json.dumps(fields, ensure_ascii=False).encode(errors="replace")).decode()
