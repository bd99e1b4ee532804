"""Turns the lines of Envoy's log into log records of the daemon."""

from __future__ import annotations

import logging
import re
import sys
from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["LOG_FORMAT", "EnvoyLog"]

envoy_log = logging.getLogger("pilotage.envoy")

LOG_FORMAT: Final = "%l\t%n\t%v"
"""Envoy's log format: level, logger and message."""

# Some messages do not help operators, and rejected configuration is reported as a problem.
_QUIET: Final = (
    "There is no configured limit to the number of allowed active downstream connections",
    "caught ENVOY_SIGTERM",
    "Using deprecated option",
    "marked as work-in-progress",
)
_REJECTED: Final = "rejected: "
"""The text in Envoy's log before rejected configuration, which may contain secrets."""

_LEVELS: Final[Mapping[str, int]] = {
    "trace": logging.DEBUG,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
    "off": logging.DEBUG,
}


_LINE: Final = re.compile(r'\{"time":"[^"]*","level":"\w+","route":"[ -~]*","message":"[ -~]*"\}')
"""A line that the command ``log`` of a route's rules writes to standard error."""


class EnvoyLog:
    """Passes each line of Envoy's log on to the logger ``pilotage.envoy``, and lines of rules on to standard error.

    Attributes:
        quiet: whether to log all lines below the level error as debug messages. Set while Envoy is being stopped.
        last_lines: the last five lines of the log, each cut at 500 characters.

    """

    def __init__(self) -> None:
        self.quiet = False
        self.last_lines: deque[str] = deque(maxlen=5)
        self._rejected = ""

    def add(self, line: str) -> None:
        """Log one line of Envoy's log, at the level that Envoy gave it."""
        if line.startswith("{") and _LINE.fullmatch(line):
            sys.stderr.write(f"{line}\n")
            return
        level, _, rest = line.partition("\t")
        name, tab, text = rest.partition("\t")
        if not tab or level not in _LEVELS:  # a continuation line, or a line from before Envoy configures its log
            level, name, text = "info", "", line
        if not tab and self._rejected:
            return  # the rest of a rejection, which may quote secrets; the route's problem reports it
        text, self._rejected, _ = text.partition(_REJECTED)
        if not text.strip():
            return
        self.last_lines.append(text.strip()[:500])
        quiet = self.quiet or bool(self._rejected) or any(known in text for known in _QUIET)
        severity = _LEVELS[level] if not quiet or _LEVELS[level] >= logging.ERROR else logging.DEBUG
        envoy_log.log(severity, "%s%s%s", f"{name}: " if name else "", text, self._rejected.rstrip(": "))
