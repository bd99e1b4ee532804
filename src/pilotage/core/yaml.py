"""Parses YAML 1.2 into values with their line and column. Pure.

Rules: decisions 6 and 27; LABELS II.2.8.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, Final

import msgspec
import yaml

from pilotage.core.budget import Budget
from pilotage.core.text import SEARCHED, shorten
from pilotage.core.values import ParseError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "Located",
    "bare",
    "beginning",
    "kind_name",
    "parse_yaml",
]

_NAMES: Final[Mapping[type, str]] = {
    dict: "a mapping",
    list: "a list",
    str: "text",
    int: "a number",
    float: "a number",
    bool: "a boolean",
    type(None): "null",
}


def kind_name(value: object) -> str:
    """Return the type of a YAML value for messages: ``"a mapping"``, ``"text"``, ``"a number"``."""
    return _NAMES.get(type(value), type(value).__name__)


class Located(msgspec.Struct, frozen=True):
    """A value and its position in the source text.

    Attributes:
        value: ``dict[str, Located]``, ``list[Located]``, ``str``, ``int``, ``float``, ``bool`` or ``None``.
        source: name of the text: a label key or a file.
        line, column: 1-based position of the value's first character; 0 if the whole text is the value.
        key_line, key_column: 1-based position of the value's key; for a value that is not in a mapping, the same as
            line and column.

    """

    value: Any
    source: str = ""
    line: int = 0
    column: int = 0
    key_line: int = 0
    key_column: int = 0


def bare(located: Located) -> Any:
    """Return the plain Python value without positions."""
    value = located.value
    if isinstance(value, dict):
        return {key: bare(item) for key, item in value.items()}
    if isinstance(value, list):
        return [bare(item) for item in value]
    return value


def beginning(located: Located) -> Any:
    """Return the start of the plain value, without positions. It is at least as long as any message shows."""
    return _start(located.value, [SEARCHED])


_LEAST: Final = SEARCHED // 60  # each value counts as at least this many characters; a message shows 60


def _start(value: Any, left: list[int]) -> Any:
    """Return the start of a plain value, and deduct its length from the characters in ``left[0]``."""
    text = value[: max(left[0], 0)] if isinstance(value, str) else ""
    left[0] -= max(len(text), _LEAST)
    if isinstance(value, dict):
        return {key: _start(item.value, left) for key, item in value.items() if left[0] > 0}
    if isinstance(value, list):
        return [_start(item.value, left) for item in value if left[0] > 0]
    return text if isinstance(value, str) else value


_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[+-]?[0-9][0-9_]*|0x[0-9a-fA-F_]+|0o?[0-7_]+|0b[01_]+")
_FLOAT = re.compile(r"[+-]?(?:[0-9][0-9_]*\.[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_SPECIAL = re.compile(r"[+-]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_WORD_BITS: Final = 64


def _plain(text: str) -> Any:
    """Return the value of a plain scalar by the YAML 1.2 core schema plus GoDoxy's extensions (LABELS II.2.8)."""
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if text[0] not in "0123456789+-.":
        return text
    if _INT.fullmatch(text):
        return _integer(text)
    if _FLOAT.fullmatch(text):
        return float(text.replace("_", ""))
    if _SPECIAL.fullmatch(text):
        low = text.lower().lstrip("+")
        return math.nan if "nan" in low else -math.inf if low[0] == "-" else math.inf
    return text


def _integer(text: str) -> int | str:
    digits = text.replace("_", "")
    body = digits.lstrip("+-")
    if body[:2] in ("0x", "0o", "0b"):
        base = {"x": 16, "o": 8, "b": 2}[body[1]]
        body = body[2:]
    else:
        base = 8 if len(body) > 1 and body[0] == "0" else 10
    try:
        number = int(body, base)
    except ValueError:
        return text
    if number.bit_length() > _WORD_BITS:
        return text
    return -number if digits[0] == "-" else number


_LEADING_TABS = re.compile(r"^[ \t]*\t[ \t]*", re.MULTILINE)
_MAX_DEPTH: Final = 64
_SAFE_DEPTH: Final = 1000
_LONGEST_KEY: Final = 1024  # characters
_DOCUMENT_COST: Final = 4  # values; creating a parser takes as long as decoding this many


def parse_yaml(text: str, source: str = "", budget: Budget | None = None) -> Located | None:
    """Parse the first YAML document in a text.

    A leading tab counts as two spaces (decision 6). Keys are converted to text. Anchors, aliases and merge keys work.

    Args:
        text: YAML 1.2.
        source: name of the text, kept in :attr:`Located.source`.
        budget: limits the size of the document; by default to 20,000 values, with aliases expanded.

    Returns:
        The document, or ``None`` if it is empty or contains only comments.

    Raises:
        ParseError: the text has invalid YAML, a duplicate key, more than 64 levels, a key of more than 1,024
            characters, or more values or characters than the budget allows.

    """
    if budget is None:
        budget = Budget()
    budget.take(_DOCUMENT_COST)
    budget.take_yaml(len(text))
    if "\t" in text:
        text = _LEADING_TABS.sub(lambda match: match.group().replace("\t", "  "), text)
    try:
        loader = yaml.CSafeLoader(text)
    except ValueError as error:  # a lone surrogate
        raise ParseError("not valid YAML: a character that YAML does not allow", 1, 1) from error
    try:
        if len(text) > _SAFE_DEPTH and sum(map(text.count, "[{-?:,")) > _SAFE_DEPTH:
            _refuse_size(text, budget)
        if not loader.check_node():
            return None
        node = loader.get_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        message = error.problem or "not YAML"
        raise ParseError(
            f"not valid YAML: {shorten(message, 160)}", mark.line + 1 if mark else 1, mark.column + 1 if mark else 1
        ) from error
    except yaml.YAMLError as error:
        raise ParseError(f"not valid YAML: {shorten(_one_line(error), 160)}", 1, 1) from error
    except ParseError:  # is a ValueError, too
        raise
    except ValueError as error:
        raise ParseError("not valid YAML: a character that YAML does not allow", 1, 1) from error
    finally:
        loader.dispose()
    if node is None:
        return None
    return _Converter(source, budget).convert(node, 0)


def _refuse_size(text: str, budget: Budget) -> None:
    """Check the depth and the number of values of a document before PyYAML composes it.

    PyYAML's composer recurses in C without a limit, so about ten thousand brackets overflow the stack and crash the
    process. It also creates all nodes before they can be counted. Each level and each value takes at least one of ``[ {
    - ? : ,``, so only texts with many of these need this check.

    Raises:
        ParseError: the document has more than 64 levels, or more values than the budget has left.
        yaml.YAMLError: the text is not YAML.

    """
    loader = yaml.CSafeLoader(text)
    depth = 0
    left = 2 * budget.values + 1  # each value may have a key
    try:
        while loader.check_event():
            event = loader.get_event()
            if isinstance(event, yaml.ScalarEvent | yaml.AliasEvent):
                left -= 1
            elif isinstance(event, yaml.CollectionStartEvent):
                depth += 1
                left -= 1
                if depth > _MAX_DEPTH:
                    raise _too_deep(event)
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
            elif isinstance(event, yaml.DocumentEndEvent):
                return  # only the first document is parsed
            if left < 0:
                budget.take(budget.values + 1)
    finally:
        loader.dispose()


def _too_deep(at: yaml.Node | yaml.Event) -> ParseError:
    mark = at.start_mark
    message = f"the document is nested more than {_MAX_DEPTH} levels deep"
    return ParseError(message, mark.line + 1 if mark else 1, mark.column + 1 if mark else 1)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


class _Converter:
    """Converts PyYAML nodes to :class:`Located` values. An instance converts one document."""

    def __init__(self, source: str, budget: Budget) -> None:
        self.source = source
        self.budget = budget

    def convert(self, node: yaml.Node, depth: int, key: yaml.Node | None = None) -> Located:
        mark = node.start_mark
        place = (mark.line + 1, mark.column + 1)
        key_place = (key.start_mark.line + 1, key.start_mark.column + 1) if key is not None else place
        self._count(node, depth)
        value: Any
        if isinstance(node, yaml.MappingNode):
            value = self._mapping(node, depth)
        elif isinstance(node, yaml.ScalarNode):
            value = self._scalar(node)
        else:
            value = [self.convert(item, depth + 1) for item in node.value]
        return Located(value, self.source, *place, *key_place)

    def _count(self, node: yaml.Node, depth: int) -> None:
        """Count a value; raise ParseError above the limits, because nested aliases can expand exponentially."""
        if depth > _MAX_DEPTH:
            raise _too_deep(node)
        try:
            self.budget.take()
        except ParseError as error:
            mark = node.start_mark
            raise ParseError(error.message, mark.line + 1, mark.column + 1) from None

    def _scalar(self, node: yaml.ScalarNode) -> Any:
        """Return a scalar's value. Quoted scalars, block scalars and scalars with a custom tag are always text."""
        if node.style or not node.tag.startswith("tag:yaml.org,2002:"):
            return node.value
        return _plain(node.value)

    def _mapping(self, node: yaml.MappingNode, depth: int) -> dict[str, Located]:
        merged: dict[str, Located] = {}
        own: dict[str, Located] = {}
        for key, item in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise ParseError("a key must be a single value", key.start_mark.line + 1, key.start_mark.column + 1)
            name = str(key.value)
            if len(name) > _LONGEST_KEY:
                message = f"a key has more than {_LONGEST_KEY:,} characters"
                raise ParseError(message, key.start_mark.line + 1, key.start_mark.column + 1)
            if name == "<<" and not key.style:
                for name_, value in self._merge(item, depth + 1).items():
                    merged.setdefault(name_, value)
                continue
            if name in own:
                first = own[name]
                raise ParseError(
                    f"duplicate key {shorten(name)!r}; it is already on line {first.key_line}",
                    key.start_mark.line + 1,
                    key.start_mark.column + 1,
                )
            own[name] = self.convert(item, depth + 1, key)
        return {**merged, **own}

    def _merge(self, node: yaml.Node, depth: int) -> dict[str, Located]:
        """Return the mapping that a merge key inserts. In a list of mappings, the first value of a key wins."""
        self._count(node, depth)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, depth)
        if isinstance(node, yaml.SequenceNode):
            found: dict[str, Located] = {}
            for item in node.value:
                for name, value in self._merge(item, depth + 1).items():
                    found.setdefault(name, value)
            return found
        raise ParseError(
            "a merge key (<<) takes a mapping, usually an alias such as *base",
            node.start_mark.line + 1,
            node.start_mark.column + 1,
        )
