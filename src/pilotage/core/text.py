"""Formats text, numbers and durations for messages. Pure."""

from __future__ import annotations

import re
from typing import Final

from pilotage.core.secrets import clean, clean_value

__all__ = ["SEARCHED", "count", "escape", "format_duration", "printable", "safe_json", "shorten", "shorten_value"]


SEARCHED: Final = 4096
"""Number of characters of a text that are searched for secrets before the text is shortened to a few dozen."""


_DECEPTIVE: Final = re.compile(
    "[\x00-\x1f\x7f-\xa0\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2000-\u200f\u2028-\u202f\u205f-\u206f"
    "\u2800\u3000\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\uffff\U00013430-\U00013455\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff\ud800-\udfff\ue000-\uf8ff]"
)
"""Control characters, characters that change the text direction, and characters that look like spaces or nothing."""


def escape(text: str) -> str:
    """Escape all characters in ``text`` that could mislead a reader on a terminal.

    These are control characters, characters that change the direction of text, and characters without a visible form.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c == " " or (c.isprintable() and not _DECEPTIVE.match(c)) else _escaped(c) for c in text)


def _escaped(char: str) -> str:
    number = ord(char)
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def safe_json(body: bytes) -> bytes:
    """Escape misleading characters in a JSON document without changing its meaning."""
    if body.isascii() and b"\x7f" not in body:
        return body
    return _DECEPTIVE_IN_JSON.sub(_json_escape, body.decode()).encode()


_DECEPTIVE_IN_JSON: Final = re.compile(_DECEPTIVE.pattern.replace("\x00-\x1f", "", 1))
"""White space between values stays. Inside strings, every encoder already escapes control characters."""


def _json_escape(match: re.Match[str]) -> str:
    units = match.group().encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))


def printable(text: str) -> str:
    """Return ``text`` as one safe line; see :func:`escape`.

    Labels may contain any character, including newlines and terminal control sequences.
    """
    return escape(text).replace("\\x0a", "\\n").replace("\\x09", "\\t").replace("\\x0d", "\\r")


def shorten(value: object, limit: int = 60) -> str:
    """Return ``value`` as one printable line of at most ``limit`` characters, without passwords and other secrets.

    Secrets are removed before the text is cut, because part of a secret could not be recognized.
    """
    text = value if isinstance(value, str) else str(value)
    return _one_line(clean(text[:SEARCHED]), limit)


def _one_line(text: str, limit: int) -> str:
    line = printable(text[: limit + 1])
    return line if len(line) <= limit and len(text) <= limit else line[: limit - 1] + "…"


def shorten_value(value: str, limit: int = 60) -> str:
    """Shorten a value like :func:`shorten`; also remove values of headers and words that look like keys."""
    return _one_line(clean_value(value[:SEARCHED]), limit)


def count(number: int, noun: str) -> str:
    """Return a number followed by its noun in the right form: ``"1 route"``, ``"2 routes"``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def format_duration(seconds: float) -> str:
    """Return a duration with units, to the millisecond: ``90`` -> ``"1m30s"``."""
    if seconds < 0:
        return f"-{format_duration(-seconds)}"
    whole, parts = int(seconds), []
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        number, whole = divmod(whole, size)
        if number:
            parts.append(f"{number}{unit}")
    rest = round(whole + seconds - int(seconds), 3)
    if rest or not parts:
        parts.append(f"{rest:g}s")
    return "".join(parts)
