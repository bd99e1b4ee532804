"""What is wrong with something that somebody wrote, as data.

A problem knows its place: which engine, container, route and label, the path inside the label's value, and the line and
column when that value is YAML; or which file, line and column. It never stops anything else from working.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from pilotage.core.text import printable

__all__ = ["Problem", "Severity"]

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
