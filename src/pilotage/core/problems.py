"""Represents mistakes in labels, configuration and files as data. Pure.

A problem records its place: the engine, container, route and label, the path inside the label's value, and the line and
column if that value is YAML; or a file, line and column. A problem never stops anything else from working.
"""

from __future__ import annotations

from copy import copy
from typing import Final, Literal

import msgspec

from pilotage.core.secrets import clean
from pilotage.core.text import SEARCHED, printable

__all__ = ["Problem", "Severity"]

Severity = Literal["error", "warning"]

_LONGEST: Final = 2_000  # characters of a message, a hint or a value
_LONGEST_NAME: Final = 200  # characters of a name in a place; engines and labels can have longer ones
_PLACE: Final = ("provider", "container", "route", "label", "path")


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=False):
    """One mistake and its place.

    Attributes:
        message: one sentence that names the mistake and what is allowed, without a full stop.
        severity: ``"error"`` if the value has no effect, ``"warning"`` if it takes effect but may not do what was
            meant.
        hint: how to fix it, or the nearest known name; ``""`` if there is no advice.
        value: the offending value, shortened for display; ``""`` if the value does not matter.
        provider: name of the engine in the configuration.
        container: name of the container.
        route: alias of the route.
        label: label key as written.
        path: dotted path inside the label value or the file, e.g. ``healthcheck.interval``.
        line: 1-based line in the YAML value or the file; 0 if unknown.
        column: 1-based column; 0 if unknown.
        file: file name; ``""`` for labels.
        refused: whether this problem is the reason that the gateway does not serve the route.

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
    refused: bool = False

    def __post_init__(self) -> None:
        """Cut long texts, and remove passwords in URLs and other secrets, no matter what created the problem."""
        for name in ("message", "hint", "value"):
            text = getattr(self, name)
            if text and (cleaned := _cut(clean(text[:SEARCHED]), _LONGEST)) != text:
                msgspec.structs.force_setattr(self, name, cleaned)

    def at(
        self,
        *,
        provider: str | None = None,
        container: str | None = None,
        route: str | None = None,
        label: str | None = None,
    ) -> Problem:
        """Return a copy in which the given parts of the place are replaced; ``None`` leaves a part unchanged."""
        given = {"provider": provider, "container": container, "route": route, "label": label}
        found = copy(self)  # without cleaning its texts again
        for name, value in given.items():
            if value is not None:
                msgspec.structs.force_setattr(found, name, value)
        return found

    @property
    def shown(self) -> Problem:
        """A copy to display, with long names in its place cut. To look up the place, use the original problem."""
        long = {name: text for name in _PLACE if len(text := getattr(self, name)) > _LONGEST_NAME}
        if not long:
            return self
        found = copy(self)
        for name, text in long.items():
            msgspec.structs.force_setattr(found, name, _cut(text, _LONGEST_NAME))
        return found

    @property
    def place(self) -> str:
        """The place, outermost part first, e.g. ``local/web: proxy.web: healthcheck.interval (line 3, column 13)``."""
        parts: list[str] = []
        if self.file:
            parts.append(":".join([self.file, *(str(n) for n in (self.line, self.column) if n)]))
        outer = "/".join(_cut(name, _LONGEST_NAME) for name in (self.provider, self.container) if name)
        if outer:
            parts.append(outer)
        if self.label:
            parts.append(_cut(self.label, _LONGEST_NAME))
        elif self.route and self.route != self.container:
            parts.append(f"route {_cut(self.route, _LONGEST_NAME)}")
        inner = "" if self.is_path_shown else _cut(self.path, _LONGEST_NAME)
        if self.line and not self.file:
            where = f"line {self.line}, column {self.column}"
            inner = f"{inner} ({where})" if inner else where
        if inner:
            parts.append(inner)
        return ": ".join(parts)

    @property
    def is_path_shown(self) -> bool:
        """Whether the label, or the label together with the message, already names the path."""
        if self.label.endswith(f".{self.path}") or self.label.rpartition(".")[2] == f"{self.path}es":
            return True  # the second is proxy.aliases, which sets the path "alias"
        return f".{self.path}." in self.label and self.path.rpartition(".")[2] in self.message

    def __str__(self) -> str:
        text = f"{self.place}: {self.message}" if self.place else self.message
        return printable(f"{text}; {self.hint}" if self.hint else text)


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
