"""Parses globs. Pure."""

from __future__ import annotations

from typing import Final

from pilotage.routes.rules.nodes import ANY, Alternatives, Chain, Chars, Node, Repeat, bounded, invert, merge
from pilotage.routes.rules.pattern_reader import PatternReader

__all__ = ["parse_glob"]


def parse_glob(text: str) -> Node:
    """Parse a glob: ``*`` and ``**`` match any text, ``?`` any character, ``[a-z]``, ``[!a]`` and ``{a,b}``.

    As in GoDoxy, slashes are not special: ``*`` matches them, too. Raises ValueError.
    """
    return bounded(_Glob(text).parse())


class _Glob(PatternReader):
    def parse(self) -> Node:
        node = self.sequence("")
        if self.next:
            raise ValueError(f"{self.next!r} at character {self.at + 1} of the glob is unmatched")
        return node

    def sequence(self, ends: str) -> Node:
        items: list[Node] = []
        while (char := self.next) and char not in ends:
            self.at += 1
            if char == "*":
                if not (items and items[-1] == _EVERYTHING):
                    items.append(_EVERYTHING)
            elif char == "?":
                items.append(ANY)
            elif char == "[":
                items.append(self.chars())
            elif char == "{":
                items.append(self.choice())
            else:
                items.append(_char(self.take() if char == "\\" else char))
        return Chain(tuple(items))

    def choice(self) -> Node:
        self.deeper()
        items = [self.sequence(",}")]
        while self.next == ",":
            self.at += 1
            items.append(self.sequence(",}"))
        self.take("}")
        self.depth -= 1
        return Alternatives(tuple(items))

    def chars(self) -> Node:
        negate = self.next == "!"
        self.at += negate
        ranges: list[tuple[int, int]] = []
        while self.next != "]" or not ranges:
            low = self.take()
            low = self.take() if low == "\\" else low
            high = low
            if self.next == "-" and self.text[self.at + 1 : self.at + 2] not in ("]", ""):
                self.at += 1
                high = self.take()
                high = self.take() if high == "\\" else high
            if high < low:
                raise ValueError(f"{low}-{high} is not a range of characters")
            ranges.append((ord(low), ord(high)))
        self.take("]")
        found = merge(ranges)
        return Chars(invert(found) if negate else found)


_EVERYTHING: Final = Repeat(ANY, 0, None)


def _char(char: str) -> Chars:
    return Chars(((ord(char), ord(char)),))
