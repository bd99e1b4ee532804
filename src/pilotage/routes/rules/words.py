"""Splits the text of rules: removes comments, finds the ends of blocks, and separates conditions and words. Pure."""

from __future__ import annotations

import re
from typing import Final

from pilotage.routes.rules.model import RuleError

__all__ = ["find", "line_of", "split", "strip_comments", "words"]

_QUOTES: Final = "\"'`"
_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r", "'": "'", '"': '"', "\\": "\\", " ": " "}


def strip_comments(text: str) -> str:
    """Replace comments with spaces, so that positions do not change: ``#`` and ``//`` to the line's end, ``/* */``.

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
    depth = 0
    end = len(text) if end is None else end
    while at < end:
        char = text[at]
        if char == "\\":
            at += 1
        elif char in _QUOTES:
            at = _after_quote(text, at, end) - 1
        elif text.startswith("${", at):
            close = text.find("}", at, end)
            at = close if close >= 0 else at + 1
        elif (char in wanted and not depth) or (char == "\n" and "\n" in wanted):
            return at
        else:
            depth = _depth(char, depth)
        at += 1
    return -1


def _depth(char: str, depth: int) -> int:
    """Return how many parentheses are open after a character. The end of a line closes all of them."""
    if char == "\n":
        return 0
    return max(depth + (char == "(") - (char == ")"), 0)


def _after_quote(text: str, at: int, end: int) -> int:
    """Return the position after the quote that closes the one at a position; the end if none does."""
    quote = text[at]
    at += 1
    while at < end and text[at] != quote:
        at += 2 if text[at] == "\\" and quote != "`" else 1
    return at + 1


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
    if re.search(r"(?<!\$)(?:\$\$)*\$\{", text):
        raise RuleError("rules do not read environment variables", "write the value itself, or $${…} for the text ${…}")
    return _Words(text).read()


class _Words:
    """Reads words one character after another.

    Attributes:
        word: the characters of the current word; ``None`` between words.
        quote: the quote around the current part of the word.
        depth: how many parentheses are open. Quotes inside them stay, because they belong to the pattern.

    """

    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0
        self.word: list[str] | None = None
        self.quote, self.depth = "", 0

    def read(self) -> list[str]:
        found: list[str] = []
        while self.at < len(self.text):
            char = self.text[self.at]
            self.at += 1
            if char.isspace() and not self.quote and not self.depth:
                if self.word is not None:
                    found.append("".join(self.word))
                self.word = None
                continue
            self.word = self.word or []
            self.word.append(self.character(char))
        if self.quote:
            raise RuleError(f"a quote {self.quote} is not closed")
        if self.depth:
            raise RuleError("a '(' is not closed")
        return found if self.word is None else [*found, "".join(self.word)]

    def character(self, char: str) -> str:
        """Return what a character adds to the word."""
        if char == "\\" and self.at < len(self.text):
            char = self.text[self.at]
            self.at += 1
            return _ESCAPES.get(char, f"\\{char}")
        if self.quote:
            if char == self.quote:
                self.quote = ""
                return char if self.depth else ""
            return char
        if char in _QUOTES:
            self.quote = char
            return char if self.depth else ""
        if char == ")" and not self.depth:
            raise RuleError("a ')' is unmatched", "write it in quotes")
        self.depth += (char == "(") - (char == ")")
        return char
