"""Splits the text of rules: removes comments, finds the ends of blocks, and separates conditions and words. Pure."""

from __future__ import annotations

from typing import Final

from pilotage.routes.rules.model import RuleError

__all__ = ["find", "line_of", "split", "strip_comments", "words"]

_QUOTES: Final = "\"'`"
_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r", "'": "'", '"': '"', "\\": "\\", " ": " "}


def strip_comments(text: str) -> str:
    """Replace comments by spaces, so that lines and columns stay: ``#`` and ``//`` to the end of the line, ``/* */``.

    A comment begins at the start of a line or after a space. Raises RuleError if ``/*`` is not closed.
    """
    found: list[str] = []
    at, quote = 0, ""
    while at < len(text):
        char = text[at]
        if quote:
            if char == "\\" and quote != "`":
                found.append(text[at : at + 2])
                at += 2
                continue
            quote = "" if char == quote else quote
        elif char in _QUOTES:
            quote = char
        elif char in "#/" and (at == 0 or text[at - 1].isspace()):
            end = -1
            if char == "#" or text.startswith("//", at):
                end = text.find("\n", at)
                end = len(text) if end < 0 else end
            elif text.startswith("/*", at):
                end = text.find("*/", at) + 2
                if end < 2:
                    raise RuleError("a comment is not closed", "write '*/' at its end", line_of(text, at))
            if end >= 0:
                found.append("".join(c if c == "\n" else " " for c in text[at:end]))
                at = end
                continue
        found.append(char)
        at += 1
    return "".join(found)


def line_of(text: str, at: int) -> int:
    """Return the 1-based line of a position."""
    return text.count("\n", 0, at) + 1


def find(text: str, at: int, wanted: str, end: int | None = None) -> int:
    """Return the position of the first wanted character outside quotes, parentheses and ``${…}``; -1 if there is none.

    Args:
        text: without comments.
        at: where to begin.
        wanted: single characters.
        end: where to stop.

    """
    quote, depth = "", 0
    end = len(text) if end is None else end
    while at < end:
        char = text[at]
        if quote:
            if char == "\\" and quote != "`":
                at += 1
            elif char == quote:
                quote = ""
        elif char == "\\":
            at += 1
        elif char in _QUOTES:
            quote = char
        elif text.startswith("${", at):
            close = text.find("}", at, end)
            at = close if close >= 0 else at + 1
        elif char in wanted and not depth:
            return at
        elif char == "(":
            depth += 1
        elif char == ")":
            depth = max(depth - 1, 0)
        elif char == "\n":
            depth = 0  # a parenthesis that is not closed ends with its line
            if "\n" in wanted:
                return at
        at += 1
    return -1


def split(text: str, separators: str) -> list[tuple[str, int]]:
    """Split a text at single characters outside quotes and parentheses; return each part with its position."""
    found, start = [], 0
    while (at := find(text, start, separators)) >= 0:
        found.append((text[start:at], start))
        start = at + 1
    return [*found, (text[start:], start)]


def words(text: str) -> list[str]:
    r"""Split a condition or command into words, which spaces separate outside quotes and parentheses.

    Quotes are removed, escapes such as ``\"`` and ``\n`` are replaced, and unknown ones such as ``\d`` are kept for
    regular expressions. Raises RuleError.
    """
    found: list[str] = []
    word: list[str] = []
    begun, quote, depth, at = False, "", 0, 0
    inner = ""  # the quote in which a parenthesis does not count
    while at < len(text):
        char = text[at]
        at += 1
        if text.startswith("${", at - 1) and text[max(at - 2, 0) : at - 1] != "$":
            raise RuleError(
                "rules do not read environment variables", "write the value itself, or $${…} for the text ${…}"
            )
        if char == "\\" and at < len(text):
            word.append(_ESCAPES.get(text[at], f"\\{text[at]}"))
            begun, at = True, at + 1
        elif quote:
            quote = "" if char == quote else quote
            if quote:
                word.append(char)
        elif depth:
            if inner:
                inner = "" if char == inner else inner
            elif char in _QUOTES:
                inner = char
            else:
                depth += (char == "(") - (char == ")")
            word.append(char)
        elif char in _QUOTES:
            quote, begun = char, True
        elif char.isspace():
            if begun:
                found.append("".join(word))
                word.clear()
            begun = False
        else:
            if char == ")":
                raise RuleError("a ')' closes nothing", "write it in quotes")
            depth += char == "("
            word.append(char)
            begun = True
    if quote or inner:
        raise RuleError(f"a quote {quote or inner} is not closed")
    if depth:
        raise RuleError("a '(' is not closed")
    if begun:
        found.append("".join(word))
    return found
