"""How the daemon writes its log: for people, for the journal, or one JSON object a line.

The library only speaks to :mod:`logging`; who embeds it decides where that goes. This module is for the daemon.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from typing import TYPE_CHECKING, Any, Final, Literal

from pilotage.output.console import clean

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TextIO

__all__ = ["LogFormat", "configure", "detect_format"]

LogFormat = Literal["terminal", "text", "journal", "json"]

_PRIORITIES: Final = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6), (0, 7))
_OURS: Final = "pilotage."


def detect_format(env: Mapping[str, str]) -> LogFormat:
    """Return the format for where standard error goes: the journal if systemd says so, else for people."""
    return "journal" if env.get("JOURNAL_STREAM") else "text"


def configure(form: LogFormat, level: str = "info", stream: TextIO | None = None) -> logging.Handler:
    """Send the log of this process to a stream, and return the handler that does.

    Args:
        form: ``terminal``: time and what, in colours, beside what a command prints there. ``text``: time, level, who,
            what. ``journal``: the journal knows the time, and gets the level as a
            priority. ``json``: an object a line, with ``time`` (ISO 8601, UTC), ``level``, ``logger`` and ``message``.
        level: ``debug``, ``info``, ``warning`` or ``error``.
        stream: standard error unless given.

    """
    handler = logging.StreamHandler(stream or sys.stderr)
    forms = {"terminal": _Terminal, "text": _Text, "journal": _Journal, "json": _Json}
    handler.setFormatter(forms[form]())
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.WARNING)  # of libraries: what goes wrong
    logging.getLogger("pilotage").setLevel(level.upper())
    return handler


def _who(record: logging.LogRecord) -> str:
    name = record.name.removeprefix(_OURS)
    return name if name == record.name else name.partition(".")[0]


class _Text(logging.Formatter):
    """One line for each record; a defect's traceback follows it."""

    def format(self, record: logging.LogRecord) -> str:
        when = time.strftime("%H:%M:%S", time.localtime(record.created))
        return f"{when} {record.levelname.lower():7} {self.told(record)}"

    def told(self, record: logging.LogRecord) -> str:
        return f"{_who(record)}: {self.what(record)}"

    def what(self, record: logging.LogRecord) -> str:
        text = clean(record.getMessage())
        return f"{text}\n{self.formatException(record.exc_info)}" if record.exc_info else text


class _Terminal(_Text):
    """Time and text; the level only where something is wrong. Without colours for who wants none."""

    def format(self, record: logging.LogRecord) -> str:
        when = time.strftime("%H:%M:%S", time.localtime(record.created))
        level, colour = "", ""
        if record.levelno >= logging.WARNING:
            level, colour = f"{record.levelname.lower()}: ", _RED if record.levelno >= logging.ERROR else _YELLOW
        text = self.what(record)
        if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
            return f"{when}  {level}{text}"
        return f"{_DIM}{when}{_PLAIN}  {colour}{level}{_PLAIN if colour else ''}{text}"


_DIM, _RED, _YELLOW, _PLAIN = (f"\x1b[{code}m" for code in (2, 31, 33, 0))


class _Journal(_Text):
    def format(self, record: logging.LogRecord) -> str:
        priority = next(number for level, number in _PRIORITIES if record.levelno >= level)
        return "\n".join(f"<{priority}>{line}" for line in self.told(record).split("\n"))


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        fields: dict[str, Any] = {
            "time": f"{seconds}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        return json.dumps(fields, ensure_ascii=False)
