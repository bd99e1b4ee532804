"""Defines the kinds of single values. Each kind reads a value as written and reports errors. Pure.

Reading never raises: an invalid value is reported to the :class:`FieldContext` and becomes :data:`UNSET`, so the field
keeps its default (decision 10). Rules: LABELS II.6.1, decisions 7 and 8.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import UNSET

from pilotage.core.budget import Budget, container_budget
from pilotage.core.hostnames import ascii_host
from pilotage.core.problems import Problem
from pilotage.core.secrets import HIDDEN, SHOWN, UNSEEN, Visibility, redact
from pilotage.core.text import SEARCHED, shorten, shorten_value
from pilotage.core.values import ParseError, go_bool, parse_duration
from pilotage.core.yaml import Located, beginning, kind_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pilotage.labels.key_schema import KeySchema

__all__ = [
    "UNSET",
    "Boolean",
    "Choice",
    "Duration",
    "FieldContext",
    "Host",
    "IPAddress",
    "Integer",
    "Kind",
    "KnownFields",
    "Name",
    "Path",
    "RequestPath",
    "Text",
    "problem_at",
    "scalar_text",
]


KnownFields = dict[tuple[str, int], tuple[Located, Any, tuple[Problem, ...], bool]]
"""Field name and ``id()`` of the written value -> that value, the result, its problems, and whether it is refused."""


class FieldContext(msgspec.Struct):
    """Passed to each kind while a value is read: holds the position of the value, and collects problems.

    Attributes:
        budget: limits the work that the container's labels can cause.
        path: dotted path of the value being read.
        visible: which parts of all values may be shown; the part at ``path`` applies to the value being read.
        problems: problems found so far, unless there were already more than the budget allows.
        errors: number of all problems found so far, including those that ``problems`` leaves out.
        refused: whether a problem takes the route out of service.
        known: fields already read for other aliases of the container, by name and identity of the written value;
            ``None`` if the container has only one alias.

    """

    budget: Budget = msgspec.field(default_factory=container_budget)
    path: str = ""
    visible: Visibility = UNSEEN
    problems: list[Problem] = []
    errors: int = 0
    refused: bool = False
    known: KnownFields | None = None

    def error(self, value: Located, message: str, hint: str = "", *, path: str = "", at_key: bool = False) -> None:
        """Report an error in a value."""
        self.errors += 1
        if self.budget.take_problem(is_first=not self.problems):
            self._add(value, message, hint, path or self.path, at_key=at_key)

    def warn(self, value: Located, message: str, hint: str) -> None:
        """Report a value that takes effect but may not do what was meant."""
        if self.budget.take_problem(is_first=not self.problems):
            self._add(value, message, hint, self.path)
            self.problems[-1] = msgspec.structs.replace(self.problems[-1], severity="warning")

    def shown(self, value: Located) -> str:
        """Return a value as messages show it: only its kind if the value is a mapping, a list or a secret."""
        if isinstance(value.value, dict | list) or value.value is None or not self._visible().shown:
            return kind_name(value.value)
        if isinstance(value.value, str):
            return repr(self.shorten(value.value))
        return str(value.value).lower()

    def shorten(self, text: str) -> str:
        """Return the start of a text. Hide the text if the budget allows no search for secrets in it."""
        return shorten_value(text) if self.budget.take_search(min(len(text), SEARCHED)) else HIDDEN

    def _visible(self, path: str = "") -> Visibility:
        return self.visible.at((path or self.path).split("."))

    def _add(self, value: Located, message: str, hint: str, path: str, *, at_key: bool = False) -> None:
        # Once the budget is used up, only one problem per route is kept, so its hint is left out.
        message, hint = self.budget.clean(message), self.budget.clean(hint) if self.budget.problems >= 0 else ""
        visible = self._visible(path)
        if not self.budget.take_search(len(str(beginning(value)))):
            visible = UNSEEN
        self.problems.append(problem_at(value, path, message, hint, visible=visible, at_key=at_key))

    def did_you_mean(self, word: str, names: Iterable[str]) -> str:
        """Return ``"did you mean 'scheme'?"``, or ``""`` if no name is close or the budget is used up."""
        near = self.budget.nearest(word, tuple(names))
        return f"did you mean {near!r}?" if near else ""


def problem_at(
    value: Located, path: str, message: str, hint: str = "", *, visible: Visibility = UNSEEN, at_key: bool = False
) -> Problem:
    """Return a problem at the place of a value, or of its key. ``visible``: which parts of the value may be shown."""
    return Problem(
        message=message,
        hint=hint,
        value=shorten(redact(beginning(value), visible)),
        label=value.source,
        path=path,
        line=value.key_line if at_key else value.line,
        column=value.key_column if at_key else value.column,
    )


class Kind:
    """A kind of value. Subclasses read a value and convert it to JSON.

    Attributes:
        name: the kind's name in documentation and messages.
        keys: the keys that a mapping of this kind may have; ``None`` if values of this kind cannot be mappings.
        eager: whether label text for this kind is a YAML mapping that is parsed before labels are merged.
        visible: which parts of a value of this kind may be shown.

    """

    name: str = "value"
    keys: KeySchema | None = None
    eager: bool = False
    visible: Visibility = SHOWN

    def read(self, value: Located, context: FieldContext) -> Any:
        """Convert a value; report an invalid one. Return :data:`UNSET` if it is invalid, null or means automatic."""
        raise NotImplementedError

    def dump(self, name: str, value: Any) -> tuple[str, Any]:
        """Return a field's key and value as they appear in JSON, without secrets."""
        return name, redact(value, self.visible)

    def wrong(self, value: Located, context: FieldContext, hint: str = "") -> Any:
        """Report the error that a value is not of this kind, and return :data:`UNSET`."""
        context.error(value, f"{context.shown(value)} is not {_article(self.name)}", hint)
        return UNSET


def _article(name: str) -> str:
    if name.split(maxsplit=1)[0] in ("one", "text"):
        return name
    return f"{'an' if name[0] in 'aeiouI' else 'a'} {name}"


def scalar_text(value: Any) -> str | None:
    """Return a single value as text: numbers in decimal, booleans as true and false; ``None`` for anything else."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | float) else None


class Text(Kind):
    """Any text. Numbers and booleans become text."""

    name = "text"

    def read(self, value: Located, context: FieldContext) -> Any:
        if value.value is None:
            return UNSET
        text = scalar_text(value.value)
        return text if text is not None else self.wrong(value, context)


class Name(Text):
    """A name that is compared like aliases: lower-cased (decision 3).

    Names are shown everywhere, so a name that contains a password or another secret takes the route out of service.
    """

    name = "name"

    def read(self, value: Located, context: FieldContext) -> Any:
        text = super().read(value, context)
        if text is UNSET or not context.budget.holds_secret(text):
            return text if text is UNSET else ascii_host(text.strip())
        context.refused = True
        return self.wrong(value, context, "write a host such as shop")


class Boolean(Kind):
    """A boolean in Go's spelling (decision 8)."""

    name = "boolean"

    def read(self, value: Located, context: FieldContext) -> Any:
        if isinstance(value.value, bool):
            return value.value
        if value.value is None:
            return UNSET
        text = scalar_text(value.value)
        if text == "":
            return False
        known = go_bool(text) if text is not None else None
        return known if known is not None else self.wrong(value, context, "write true or false")


_INTEGER: Final = re.compile(r"[+-]?[0-9]+")


class Integer(Kind):
    """A whole number, in decimal."""

    name = "whole number"

    def __init__(self, least: int | None = None, most: int = 2**63 - 1) -> None:
        self.least = least
        self.most = most
        self._limit = f"; it must be at most {most}" if most < 2**63 - 1 else ""

    def read(self, value: Located, context: FieldContext) -> Any:
        given = value.value
        if given is None or given == "":
            return UNSET
        if isinstance(given, bool) or not isinstance(given, int | str):
            return self.wrong(value, context)
        if isinstance(given, str) and (not _INTEGER.fullmatch(given) or len(given) > 20):
            return self.wrong(value, context)
        number = int(given)
        if self.least is not None and number < self.least:
            context.error(value, f"{number} is too small; it must be at least {self.least}")
            return UNSET
        if not -self.most - 1 <= number <= self.most:
            context.error(value, f"{shorten(given)} is too large{self._limit}")
            return UNSET
        return number


class Duration(Kind):
    """A duration, converted to seconds. A number without a unit is in seconds (decision 7)."""

    name = "duration"

    def __init__(self, least: float | None = None) -> None:
        self.least = least

    def read(self, value: Located, context: FieldContext) -> Any:
        given = value.value
        if given is None or given == "":
            return UNSET
        if isinstance(given, bool) or not isinstance(given, int | str):
            return self.wrong(value, context, "write a number with a unit, such as 30s or 5m")
        try:
            seconds = parse_duration(str(given))
        except ParseError as error:
            context.error(value, f"{context.shown(value)}: {error.message}")
            return UNSET
        if self.least is None or seconds >= self.least:
            return seconds
        if seconds:
            context.error(value, f"{context.shown(value)} is too short; it must be at least {self.least:g}s")
        return UNSET  # 0 is automatic

    def dump(self, name: str, value: Any) -> tuple[str, Any]:
        return f"{name}_s", value


class Choice(Kind):
    """One of the given words, in exactly the given spelling.

    Args:
        words: the words.
        fold: whether case makes no difference.
        meant: wrong word in lower case -> the word to suggest instead.

    """

    def __init__(self, words: Sequence[str], *, fold: bool = False, meant: Mapping[str, str] | None = None) -> None:
        self.words = tuple(words)
        self.fold = fold
        self.meant = dict(meant or {})
        self.name = "one of " + ", ".join(words)
        self._known = {word.lower() if fold else word: word for word in words}

    def read(self, value: Located, context: FieldContext) -> Any:
        if value.value is None or value.value == "":
            return UNSET
        text = scalar_text(value.value)
        known = self._known.get(text.lower() if self.fold else text) if text is not None else None
        if known is not None:
            return known
        meant = self.meant.get((text or "").lower())
        near = f"did you mean {meant!r}?" if meant else _near_choice(text or "", self.words, context)
        context.error(value, f"{context.shown(value)} is not {self.name}", near)
        return UNSET


def _near_choice(text: str, words: Sequence[str], context: FieldContext) -> str:
    same = [word for word in words if word.lower() == text.lower()]
    return f"did you mean {same[0]!r}?" if same else context.did_you_mean(text, words)


class IPAddress(Kind):
    """An IPv4 or IPv6 address, without a zone."""

    name = "IP address"

    def read(self, value: Located, context: FieldContext) -> Any:
        if value.value is None or value.value == "":
            return UNSET
        if isinstance(value.value, str) and "%" not in value.value:
            try:
                return str(ipaddress.ip_address(value.value))
            except ValueError:
                pass
        return self.wrong(value, context, "write one such as 127.0.0.1, or :: for every IPv6 address")


_HOST: Final = re.compile(r"[\w.-]+")
_LONGEST_HOST: Final = 253  # characters, RFC 1035


class Host(Kind):
    """A host name or an IP address; lower-cased, without surrounding white space and without brackets."""

    name = "host name or an IP address"

    def read(self, value: Located, context: FieldContext) -> Any:
        if value.value is None:
            return UNSET
        text = scalar_text(value.value)
        if text is None:
            return self.wrong(value, context)
        text = text.strip().lower()
        if not text:
            return UNSET
        if len(text) <= _LONGEST_HOST and _HOST.fullmatch(text):
            return text
        if "%" not in text and len(text) <= _LONGEST_HOST:
            try:
                return str(ipaddress.IPv6Address(text[1:-1] if text[:1] == "[" and text[-1:] == "]" else text))
            except ValueError:
                pass
        return self.wrong(value, context, "write the name or the address alone, without scheme, port or path")


class Path(Text):
    """A file path on pilotage's own machine."""

    name = "path"


class RequestPath(Kind):
    """The path of a request. It starts with a slash."""

    name = "request path"

    def read(self, value: Located, context: FieldContext) -> Any:
        if value.value is None or value.value == "":
            return UNSET
        text = scalar_text(value.value)
        if text is None:
            return self.wrong(value, context)
        if not text.startswith("/") or " " in text or not text.isprintable():
            return self.wrong(value, context, f"write {'/' + context.shorten(text.strip()).lstrip('/')!r}")
        return text
