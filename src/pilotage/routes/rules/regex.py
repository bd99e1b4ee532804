"""Parses regular expressions in Go's syntax (RE2). Pure.

Envoy matches percent-encoded paths, so a regex is not passed on as written: a later step encodes each set of characters
for the place where it is matched.
"""

from __future__ import annotations

from typing import Final, NoReturn

from pilotage.routes.rules.nodes import (
    ANY,
    DOT,
    Alternatives,
    Chain,
    Chars,
    Edge,
    Node,
    Ranges,
    Repeat,
    bounded,
    invert,
    merge,
)
from pilotage.routes.rules.pattern_reader import PatternReader

__all__ = ["parse_regex"]

_LAST: Final = 0x10FFFF
_MOST_REPEATS: Final = 1_000

_DIGIT: Final[Ranges] = ((48, 57),)
_SPACE: Final[Ranges] = ((9, 10), (12, 13), (32, 32))
_WORD: Final[Ranges] = ((48, 57), (65, 90), (95, 95), (97, 122))
_PERL: Final[dict[str, Ranges]] = {
    "d": _DIGIT,
    "s": _SPACE,
    "w": _WORD,
    "D": invert(_DIGIT),
    "S": invert(_SPACE),
    "W": invert(_WORD),
}
_POSIX: Final[dict[str, Ranges]] = {
    "alnum": ((48, 57), (65, 90), (97, 122)),
    "alpha": ((65, 90), (97, 122)),
    "digit": _DIGIT,
    "lower": ((97, 122),),
    "upper": ((65, 90),),
    "space": ((9, 13), (32, 32)),
    "punct": ((33, 47), (58, 64), (91, 96), (123, 126)),
    "xdigit": ((48, 57), (65, 70), (97, 102)),
    "word": _WORD,
}
_CONTROLS: Final = {"n": 10, "t": 9, "r": 13, "f": 12, "v": 11, "a": 7}


def parse_regex(text: str) -> Node:
    """Parse a regular expression in Go's syntax. Raises ValueError if it is invalid, too large or not supported."""
    return bounded(_Regex(text).parse())


class _Regex(PatternReader):
    """A recursive-descent parser. ``folds`` and ``dot_all`` are the flags ``i`` and ``s`` of the current group."""

    folds = False
    dot_all = False

    def parse(self) -> Node:
        node = self.alternatives()
        if self.next:
            raise ValueError(f"')' at character {self.at + 1} of the regex is unmatched")
        return node

    def alternatives(self) -> Node:
        self.deeper()
        items = [self.sequence()]
        while self.next == "|":
            self.at += 1
            items.append(self.sequence())
        self.depth -= 1
        return items[0] if len(items) == 1 else Alternatives(tuple(items))

    def sequence(self) -> Node:
        items: list[Node] = []
        while self.next and self.next not in "|)":
            atom = self.atom()
            if atom is not None:
                items.append(self.repeated(atom))
        return items[0] if len(items) == 1 else Chain(tuple(items))

    def repeated(self, atom: Node) -> Node:
        count = 0
        while (bounds := self.bounds()) is not None:
            count += 1
            if count > 1:
                raise ValueError(f"a repetition follows another at character {self.at} of the regex")
            if isinstance(atom, Edge):
                self.unsupported("a repeated '^' or '$'")
            atom = Repeat(atom, *bounds)
        return atom

    def bounds(self) -> tuple[int, int | None] | None:
        simple = {"*": (0, None), "+": (1, None), "?": (0, 1)}.get(self.next)
        if simple is not None:
            self.at += 1
        elif self.next == "{":
            end = self.text.find("}", self.at)
            low, comma, high = self.text[self.at + 1 : max(end, self.at + 1)].partition(",")
            if end < 0 or not low.isdecimal() or not (high.isdecimal() or not high):
                return None  # as in Go, other braces are text
            least = int(low[:5])
            most = (int(high[:5]) if high else None) if comma else least
            if max(least, most or 0) > _MOST_REPEATS or (most is not None and most < least):
                raise ValueError(f"{self.text[self.at : end + 1]} is not a repetition")
            self.at, simple = end + 1, (least, most)
        else:
            return None
        if self.next == "?":
            self.at += 1  # a lazy repetition matches the same texts
        return simple

    def atom(self) -> Node | None:
        char = self.take()
        match char:
            case "(":
                return self.group()
            case "[":
                return Chars(self.folded(self.char_class()))
            case ".":
                return ANY if self.dot_all else DOT
            case "^":
                return Edge(is_end=False)
            case "$":
                return Edge(is_end=True)
            case "\\":
                return self.escape()
            case "*" | "+" | "?":
                raise ValueError(f"{char!r} at character {self.at} of the regex repeats nothing")
            case _:
                return Chars(self.folded(((ord(char), ord(char)),)))

    def group(self) -> Node | None:
        folds, dot_all = self.folds, self.dot_all
        if self.next == "?":
            self.at += 1
            if self.next == "P" or (self.next == "<" and self.text[self.at + 1 : self.at + 2] not in ("=", "!")):
                self.name()
            else:
                flags = ""
                while self.next and self.next not in ":)":
                    flags += self.take()
                self.set_flags(flags)
                if self.take() == ")":
                    return None  # the flags apply to the rest of the surrounding group
        node = self.alternatives()
        self.take(")")
        self.folds, self.dot_all = folds, dot_all
        return node

    def name(self) -> None:
        if self.next == "P":
            self.at += 1
        self.take("<")
        end = self.text.find(">", self.at)
        if end < 0 or not self.text[self.at : end].isidentifier():
            raise ValueError(f"a group at character {self.at} of the regex has no valid name")
        self.at = end + 1

    def set_flags(self, flags: str) -> None:
        on, _, off = flags.partition("-")
        for letter in on + off:
            if letter == "i":
                self.folds = letter in on
            elif letter == "s":
                self.dot_all = letter in on
            elif letter != "U":
                self.unsupported(f"(?{flags}")

    def unsupported(self, what: str) -> NoReturn:
        raise ValueError(f"{what} in a regex is not supported")

    def escape(self) -> Node:
        char = self.take()
        if char in "AzZ":
            if char == "Z":
                self.unsupported("\\Z")
            return Edge(is_end=char == "z")
        if char == "Q":
            end = self.text.find("\\E", self.at)
            quoted = self.text[self.at : end if end >= 0 else None]
            self.at = end + 2 if end >= 0 else len(self.text)
            return Chain(tuple(Chars(self.folded(((ord(c), ord(c)),))) for c in quoted))
        self.at -= 1
        return Chars(self.folded(self.escaped()))

    def escaped(self) -> Ranges:
        """Read what follows a backslash, inside or outside a character class."""
        char = self.take()
        if char in _PERL:
            return _PERL[char]
        if char in _CONTROLS:
            code = _CONTROLS[char]
        elif char == "x":
            digits = self.hex_digits()
            code = int(digits, 16)
        elif char.isascii() and char.isalnum():
            self.unsupported(f"\\{char}")
        else:
            code = ord(char)
        if code > _LAST:
            raise ValueError("a character code in the regex is too large")
        return ((code, code),)

    def hex_digits(self) -> str:
        if self.next == "{":
            end = self.text.find("}", self.at)
            digits, after = self.text[self.at + 1 : max(end, 0)], end + 1
        else:
            digits, after = self.text[self.at : self.at + 2], self.at + 2
        if not 1 <= len(digits) <= 6 or set(digits) - set("0123456789abcdefABCDEF"):
            raise ValueError("\\x in the regex needs hexadecimal digits")
        self.at = after
        return digits

    def char_class(self) -> Ranges:
        negate = self.next == "^"
        self.at += negate
        ranges: list[tuple[int, int]] = []
        first = True
        while first or self.next != "]":
            first = False
            if self.text.startswith("[:", self.at) and (end := self.text.find(":]", self.at)) > 0:
                ranges.extend(self.posix(self.text[self.at + 2 : end]))
                self.at = end + 2
                continue
            low = self.class_item()
            if self.next == "-" and self.text[self.at + 1 : self.at + 2] not in ("]", ""):
                self.at += 1
                high = self.class_item()
                if len(low) > 1 or len(high) > 1 or high[0][1] < low[0][0]:
                    raise ValueError("a class in the regex has an invalid range")
                low = ((low[0][0], high[0][1]),)
            ranges.extend(low)
        self.take("]")
        found = self.folded(merge(ranges))
        return invert(found) if negate else found

    def posix(self, name: str) -> Ranges:
        found = _POSIX.get(name.removeprefix("^"))
        if found is None:
            raise ValueError(f"the regex has no class [:{name[:20]}:]")
        return invert(found) if name.startswith("^") else found

    def class_item(self) -> Ranges:
        char = self.take()
        return self.escaped() if char == "\\" else ((ord(char), ord(char)),)

    def folded(self, ranges: Ranges) -> Ranges:
        """Add the other case of ASCII letters if the flag ``i`` is set."""
        if not self.folds:
            return ranges
        more = list(ranges)
        for low, high in ranges:
            for start, end, shift in ((65, 90, 32), (97, 122, -32)):
                a, b = max(low, start), min(high, end)
                if a <= b:
                    more.append((a + shift, b + shift))
        return merge(more)
