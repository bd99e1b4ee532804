"""The kinds of values that fields take: each reads what was written and says what is wrong with it.

Reading never raises: a bad value is reported to the :class:`FieldContext` and comes back as :data:`UNSET`; the field
keeps its default (decision 10). The rules of conversion: LABELS II.6.1, with decisions 7 and 8.
"""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import UNSET

from pilotage.core.problems import Problem
from pilotage.core.suggest import did_you_mean
from pilotage.core.text import shorten
from pilotage.core.values import ParseError, comma_list, go_bool, parse_duration
from pilotage.core.yaml import Located, bare, kind_name, parse_yaml

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pilotage.labels.decode import Spelling

__all__ = [
    "UNSET",
    "Boolean",
    "Choice",
    "Duration",
    "FieldContext",
    "FreeMapping",
    "Host",
    "IPAddress",
    "Integer",
    "Kind",
    "ListOf",
    "Name",
    "Nested",
    "Path",
    "RequestPath",
    "Text",
]


class FieldContext(msgspec.Struct):
    """Where values are being read, and what was wrong so far.

    Attributes:
        path: dotted path of the value being read.
        problems: what was found wrong.
        fatal: True once something was found that takes the route out of service.

    """

    path: str = ""
    problems: list[Problem] = []
    fatal: bool = False

    def fault(self, value: Located, message: str, hint: str = "", *, path: str = "", at_key: bool = False) -> None:
        """Report that a value is wrong."""
        self.problems.append(
            Problem(
                message=message,
                hint=hint,
                value=shorten(value.value) if not isinstance(value.value, dict | list) else shorten(bare(value)),
                label=value.source,
                path=path or self.path,
                line=value.key_line if at_key else value.line,
                column=value.key_column if at_key else value.column,
            )
        )


class Kind:
    """A kind of value. Subclasses read one, name themselves, and write it for machines.

    Attributes:
        name: how documentation calls it.
        eager: text for it in a label is YAML for a mapping, to be read before labels are merged.

    """

    name: str = "value"
    eager: bool = False

    def read(self, value: Located, to: FieldContext) -> Any:
        """Return the value read, or :data:`UNSET` for automatic, null or bad values, the last being reported."""
        raise NotImplementedError

    def dump(self, name: str, value: Any) -> tuple[str, Any]:
        """Return the key and the value that stand for it in JSON."""
        return name, value

    def wrong(self, value: Located, to: FieldContext, hint: str = "") -> Any:
        """Report that a value is none of this kind, and return :data:`UNSET`."""
        to.fault(value, f"{_shown(value)} is not {_article(self.name)}", hint)
        return UNSET


def _shown(value: Located) -> str:
    if isinstance(value.value, dict | list) or value.value is None:
        return kind_name(value.value)
    return repr(shorten(value.value)) if isinstance(value.value, str) else str(value.value).lower()


def _article(name: str) -> str:
    if name.split(maxsplit=1)[0] in ("one", "text"):
        return name
    return f"{'an' if name[0] in 'aeiouI' else 'a'} {name}"


def scalar_text(value: Any) -> str | None:
    """Return the text of a single value: numbers in decimal, booleans as true and false; ``None`` for others."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | float) else None


class Text(Kind):
    """Any text; numbers and booleans count as their spelling."""

    name = "text"

    def read(self, value: Located, to: FieldContext) -> Any:
        if value.value is None:
            return UNSET
        text = scalar_text(value.value)
        return text if text is not None else self.wrong(value, to)


class Name(Text):
    """A name that hosts are compared with: lower-cased, like aliases (decision 3)."""

    def read(self, value: Located, to: FieldContext) -> Any:
        text = super().read(value, to)
        return text if text is UNSET else text.strip().lower()


class Boolean(Kind):
    """A boolean as Go spells it (decision 8)."""

    name = "boolean"

    def read(self, value: Located, to: FieldContext) -> Any:
        if isinstance(value.value, bool):
            return value.value
        if value.value is None:
            return UNSET
        text = scalar_text(value.value)
        if text == "":
            return False
        known = go_bool(text) if text is not None else None
        return known if known is not None else self.wrong(value, to, "write true or false")


_INTEGER: Final = re.compile(r"[+-]?[0-9]+")


class Integer(Kind):
    """A whole number, in decimal."""

    name = "whole number"

    def __init__(self, least: int | None = None, most: int = 2**63 - 1) -> None:
        self.least = least
        self.most = most

    def read(self, value: Located, to: FieldContext) -> Any:
        given = value.value
        if given is None or given == "":
            return UNSET
        if isinstance(given, bool) or not isinstance(given, int | str):
            return self.wrong(value, to)
        if isinstance(given, str) and (not _INTEGER.fullmatch(given) or len(given) > 20):
            return self.wrong(value, to)
        number = int(given)
        if self.least is not None and number < self.least:
            to.fault(value, f"{number} is too small; at least {self.least}")
            return UNSET
        if not -self.most - 1 <= number <= self.most:
            to.fault(value, f"{shorten(given)} is too large")
            return UNSET
        return number


@lru_cache(maxsize=1024)
def _seconds(text: str) -> float | str:
    try:
        return parse_duration(text)
    except ParseError as error:
        return error.message


class Duration(Kind):
    """A length of time; read into seconds. A bare whole number is seconds (decision 7)."""

    name = "duration"

    def __init__(self, least: float | None = None) -> None:
        self.least = least

    def read(self, value: Located, to: FieldContext) -> Any:
        given = value.value
        if given is None or given == "":
            return UNSET
        if isinstance(given, bool) or not isinstance(given, int | str):
            return self.wrong(value, to, "write a number with a unit, such as 30s or 5m")
        seconds = _seconds(str(given))
        if isinstance(seconds, str):
            to.fault(value, f"{_shown(value)}: {seconds}")
            return UNSET
        if self.least is None or seconds >= self.least:
            return seconds
        if seconds:
            to.fault(value, f"{_shown(value)} is too short; at least {self.least:g}s")
        return UNSET  # 0 is automatic

    def dump(self, name: str, value: Any) -> tuple[str, Any]:
        return f"{name}_s", value


class Choice(Kind):
    """One of a few words, spelt exactly so."""

    def __init__(self, words: Sequence[str], *, fold: bool = False) -> None:
        self.words = tuple(words)
        self.fold = fold
        self.name = "one of " + ", ".join(words)
        self._known = {word.lower() if fold else word: word for word in words}

    def read(self, value: Located, to: FieldContext) -> Any:
        if value.value is None or value.value == "":
            return UNSET
        text = scalar_text(value.value)
        known = self._known.get(text.lower() if self.fold else text) if text is not None else None
        if known is not None:
            return known
        near = _near_choice(text or "", self.words)
        to.fault(value, f"{_shown(value)} is not {self.name}", near)
        return UNSET


def _near_choice(text: str, words: Sequence[str]) -> str:
    same = [word for word in words if word.lower() == text.lower()]
    return f"did you mean {same[0]!r}?" if same else did_you_mean(text, words)


class IPAddress(Kind):
    """An IPv4 or IPv6 address, without a zone."""

    name = "IP address"

    def read(self, value: Located, to: FieldContext) -> Any:
        if value.value is None or value.value == "":
            return UNSET
        if isinstance(value.value, str) and "%" not in value.value:
            try:
                return str(ipaddress.ip_address(value.value))
            except ValueError:
                pass
        return self.wrong(value, to, "write one such as 127.0.0.1, or :: for every IPv6 address")


_HOST: Final = re.compile(r"[\w.-]+")


class Host(Kind):
    """A host name or an IP address; lower-cased, without white space around it and without brackets."""

    name = "host name or an IP address"

    def read(self, value: Located, to: FieldContext) -> Any:
        if value.value is None:
            return UNSET
        text = scalar_text(value.value)
        if text is None:
            return self.wrong(value, to)
        text = text.strip().lower()
        if not text:
            return UNSET
        if _HOST.fullmatch(text):
            return text
        if "%" not in text:
            try:
                return str(ipaddress.IPv6Address(text[1:-1] if text[:1] == "[" and text[-1:] == "]" else text))
            except ValueError:
                pass
        return self.wrong(value, to, "write the name or the address alone, without scheme, port or path")


class Path(Text):
    """A path of a file on pilotage's own machine."""

    name = "path"


class RequestPath(Kind):
    """A path of a request, starting with a slash."""

    name = "request path"

    def read(self, value: Located, to: FieldContext) -> Any:
        if value.value is None or value.value == "":
            return UNSET
        text = scalar_text(value.value)
        if text is None:
            return self.wrong(value, to)
        if not text.startswith("/") or any(c.isspace() or not c.isprintable() for c in text):
            return self.wrong(value, to, f"write {'/' + text.strip().lstrip('/')!r}")
        return text


class ListOf(Kind):
    """A list: comma separated, or YAML. Bad elements are reported and dropped."""

    def __init__(self, item: Kind) -> None:
        self.item = item
        self.name = f"list of {item.name}" if not isinstance(item, Text) else "list"

    def read(self, value: Located, to: FieldContext) -> Any:
        given = value.value
        if given is None or given == "":
            return UNSET
        if isinstance(given, str):
            elements = self._split(value, to)
        elif isinstance(given, list):
            elements = given
        else:
            return self.wrong(value, to)
        if elements is None:
            return UNSET
        path = to.path
        found = []
        for index, element in enumerate(elements):
            to.path = f"{path}[{index}]"
            item = self.item.read(element, to)
            if item is not UNSET:
                found.append(item)
        to.path = path
        return tuple(found)

    def _split(self, value: Located, to: FieldContext) -> Iterable[Located] | None:
        text = value.value
        if "\n" not in text and text.lstrip()[:1] not in ("-", "["):
            return [msgspec.structs.replace(value, value=piece) for piece in comma_list(text)]
        try:
            document = parse_yaml(text, value.source)
        except ParseError as error:
            _refuse_yaml(value, error, to)
            return None
        if document is None:
            return []
        if not isinstance(document.value, list):
            self.wrong(document, to)
            return None
        return document.value

    def dump(self, name: str, value: Any) -> tuple[str, Any]:
        return name, [self.item.dump("", item)[1] for item in value]


class Nested(Kind):
    """A kind whose values may be mappings with keys of a known spelling: a `Spelling`."""

    def child(self, name: str) -> tuple[str, Spelling | None, bool]:
        """Return the name to keep a key under, the spelling below it, and whether a label's text for it is YAML."""
        raise NotImplementedError


class FreeMapping(Kind):
    """A mapping whose keys are anybody's, kept as they are written."""

    name = "mapping"
    eager = True

    def read(self, value: Located, to: FieldContext) -> Any:
        mapping = as_mapping(self, value, to)
        return UNSET if mapping is UNSET else {key: bare(item) for key, item in mapping.items()}


def _refuse_yaml(value: Located, error: ParseError, to: FieldContext) -> None:
    """Report text that is no YAML: at its place in the label, or where the label itself is the text, at the fault's."""
    whole = not value.line
    to.fault(msgspec.structs.replace(value, line=error.line, column=error.column) if whole else value, error.message)


def as_mapping(kind: Kind, value: Located, to: FieldContext) -> Any:
    """Return the mapping a value is, reading text as YAML; :data:`UNSET` for null, or when it is none (reported)."""
    given = value.value
    if isinstance(given, dict):
        return given
    if given is None:
        return UNSET
    if isinstance(given, str):
        try:
            document = parse_yaml(given, value.source)
        except ParseError as error:
            _refuse_yaml(value, error, to)
            return UNSET
        if document is None:
            return {}
        if isinstance(document.value, dict):
            return document.value
    kind.wrong(value, to, "write lines such as 'name: value'")
    return UNSET
