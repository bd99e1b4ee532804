"""Formats text, numbers and durations for messages. Pure."""

from __future__ import annotations

from typing import Final

from pilotage.core.secrets import clean

__all__ = ["count", "format_duration", "printable", "shorten"]


_SEARCHED: Final = 4096  # characters of a text that is shortened


def printable(text: str) -> str:
    """Return ``text`` as one printable line; other characters are escaped.

    Labels may contain any character, including newlines and terminal control sequences.
    """
    if text.isprintable():
        return text
    clean = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" if ord(c) < 0x100 else "?" for c in text)
    return clean.replace("\\x0a", "\\n").replace("\\x09", "\\t").replace("\\x0d", "\\r")


def shorten(value: object, limit: int = 60) -> str:
    """Return ``value`` as one printable line of at most ``limit`` characters, without passwords in URLs and the like.

    These are removed before the text is cut, because afterwards they could not be recognized.
    """
    text = value if isinstance(value, str) else str(value)
    text = clean(text[:_SEARCHED])
    line = printable(text[: limit + 1])
    return line if len(line) <= limit and len(text) <= limit else line[: limit - 1] + "…"


def count(number: int, noun: str) -> str:
    """Return ``"1 route"``, ``"2 routes"``."""
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
