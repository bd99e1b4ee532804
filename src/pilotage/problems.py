"""What is wrong with something that somebody wrote, as data; and "did you mean".

A problem knows its place: which engine, container, route and label, the path inside the label's value, and the line and
column when that value is YAML; or which file, line and column. It never stops anything else from working.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Problem", "Severity", "count", "did_you_mean", "edit_distance", "nearest", "printable", "shorten"]

Severity = Literal["error", "warning"]


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=False):
    """One thing that is wrong, and where.

    Attributes:
        message: one sentence without a full stop, naming what is wrong and what is allowed.
        severity: ``"error"``: what was written is not in force. ``"warning"``: it is, but look at it.
        hint: what to do, or the nearest known name; ``""`` when there is nothing to say.
        value: the offending value, shortened for display; ``""`` when the value is not the point.
        provider: name of the engine in the configuration.
        container: name of the container.
        route: alias of the route.
        label: the label's key as written.
        path: dotted path inside the label's value or the file, e.g. ``healthcheck.interval``.
        line: 1-based line inside the label's YAML value or the file; 0 when there is none.
        column: 1-based column there; 0 when there is none.
        file: name of the file; ``""`` for labels.

    """

    message: str
    severity: Severity = "error"
    hint: str = ""
    value: str = ""
    provider: str = ""
    container: str = ""
    route: str = ""
    label: str = ""
    path: str = ""
    line: int = 0
    column: int = 0
    file: str = ""

    def at(
        self,
        *,
        provider: str | None = None,
        container: str | None = None,
        route: str | None = None,
        label: str | None = None,
    ) -> Problem:
        """Return the same problem with its outer place filled in; what is ``None`` stays as it is."""
        given = {"provider": provider, "container": container, "route": route, "label": label}
        return msgspec.structs.replace(self, **{name: value for name, value in given.items() if value is not None})

    @property
    def place(self) -> str:
        """Where it is, outermost first, e.g. ``local/web: proxy.web: healthcheck.interval (line 3, column 13)``."""
        parts: list[str] = []
        if self.file:
            parts.append(":".join([self.file, *(str(n) for n in (self.line, self.column) if n)]))
        outer = "/".join(name for name in (self.provider, self.container) if name)
        if outer:
            parts.append(outer)
        if self.label:
            parts.append(self.label)
        elif self.route and self.route != self.container:
            parts.append(f"route {self.route}")
        inner = "" if self.label.endswith(f".{self.path}") else self.path
        if self.line and not self.file:
            where = f"line {self.line}, column {self.column}"
            inner = f"{inner} ({where})" if inner else where
        if inner:
            parts.append(inner)
        return ": ".join(parts)

    def __str__(self) -> str:
        text = f"{self.place}: {self.message}" if self.place else self.message
        return printable(f"{text}; {self.hint}" if self.hint else text)


def printable(text: str) -> str:
    """Return ``text`` as one line fit for terminals and logs: what cannot be printed is escaped.

    Labels may hold any characters, line ends and a terminal's control sequences among them.
    """
    if text.isprintable():
        return text
    clean = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" if ord(c) < 0x100 else "?" for c in text)
    return clean.replace("\\x0a", "\\n").replace("\\x09", "\\t").replace("\\x0d", "\\r")


def shorten(value: object, limit: int = 60) -> str:
    """Return ``value`` as one printable line of at most ``limit`` characters, for messages and logs."""
    text = value if isinstance(value, str) else str(value)
    clean = printable(text[: limit + 1])
    return clean if len(clean) <= limit and len(text) <= limit else clean[: limit - 1] + "…"


def count(number: int, noun: str) -> str:
    """Return ``"1 route"``, ``"2 routes"``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def edit_distance(a: str, b: str, most: int | None = None) -> int:
    """Return how many letters change between two words; a swap of neighbours counts as one (decision 28).

    With ``most``, any distance above it may be returned as ``most + 1`` without being computed exactly.
    """
    if most is not None and abs(len(a) - len(b)) > most:
        return most + 1
    before: list[int] = []
    row = list(range(len(b) + 1))
    for i, ca in enumerate(a, 1):
        before, row, last = row, [i], before
        for j, cb in enumerate(b, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (ca != cb))
            if i > 1 and j > 1 and ca == b[j - 2] and a[i - 2] == cb:
                cost = min(cost, last[j - 2] + 1)
            row.append(cost)
        if most is not None and min(row) > most and min(before) > most:
            return most + 1
    return row[-1]


def nearest(word: str, candidates: Iterable[str]) -> str:
    """Return the candidate that ``word`` was most likely meant to be, or ``""`` when none is near.

    Near: at most a third of the longer name's letters changed, at least one allowed. Ties go to the first in byte
    order, so the answer never varies (decision 28). Case does not count.
    """
    best: tuple[int, str] | None = None
    folded = word.casefold()
    for name in candidates:
        most = max(1, max(len(word), len(name)) // 3)
        distance = edit_distance(folded, name.casefold(), most)
        if distance <= most and name != word and (best is None or (distance, name) < best):
            best = (distance, name)
    return best[1] if best else ""


def did_you_mean(word: str, candidates: Iterable[str]) -> str:
    """Return ``"did you mean 'scheme'?"``, or ``""`` when nothing is near."""
    name = nearest(word, candidates)
    return f"did you mean {name!r}?" if name else ""
