"""Defines rules as frozen values: conditions, commands, and the patterns that conditions compare with. Pure."""

from __future__ import annotations

from typing import Literal

import msgspec

from pilotage.routes.rules.nodes import Node

__all__ = ["Branch", "Check", "Choice", "Command", "Condition", "Pattern", "Rule", "RuleError", "RuleSet", "Statement"]

PatternKind = Literal["exact", "glob", "regex"]


class Pattern(msgspec.Struct, frozen=True):
    """A pattern that a value is compared with.

    Attributes:
        kind: an ``exact`` text, a ``glob`` for the whole text, or a ``regex`` that is searched for.
        text: the pattern as written.
        node: the parsed glob or regex, without wildcards around the regex; ``None`` for an exact text.
        negate: whether the pattern matches all other values instead.

    """

    kind: PatternKind
    text: str
    node: Node | None = None
    negate: bool = False


class Check(msgspec.Struct, frozen=True):
    """A test of a request or response.

    Attributes:
        subject: what is tested, such as ``header``.
        key: name of the header, parameter, cookie or form field; for ``basic_auth``, the user.
        pattern: the pattern with which the value is compared; ``None`` to test whether the value exists.
        value: the method, protocol, network (CIDR), status range (``400-499``) or password hash.
        negate: whether the test is inverted.

    """

    subject: str
    key: str = ""
    pattern: Pattern | None = None
    value: str = ""
    negate: bool = False


Condition = tuple[tuple[Check, ...], ...]
"""All items must hold; an item holds if any of its checks does. Without items, the condition always holds."""


class Command(msgspec.Struct, frozen=True):
    """A command with its arguments, and the line on which it is written."""

    name: str
    args: tuple[str, ...] = ()
    line: int = 0


class Branch(msgspec.Struct, frozen=True):
    """Commands that run if a condition holds."""

    condition: Condition
    body: tuple[Statement, ...]


class Choice(msgspec.Struct, frozen=True):
    """A chain of nested blocks: the first branch whose condition holds runs. ``else`` is a branch that always holds."""

    branches: tuple[Branch, ...]
    line: int = 0


Statement = Command | Choice


class Rule(msgspec.Struct, frozen=True):
    """A rule.

    Attributes:
        name: name of the rule; ``""`` if it has no name.
        is_default: whether the rule runs only if no other rule matches.
        condition: when the rule runs.
        body: what the rule does.
        line: the line on which the rule begins.
        header: its condition as written.

    """

    name: str
    is_default: bool
    condition: Condition
    body: tuple[Statement, ...]
    line: int
    header: str


class RuleError(Exception):
    """A mistake in rules: a description, a hint, and the line (0 if unknown)."""

    def __init__(self, message: str, hint: str = "", line: int = 0) -> None:
        super().__init__(message)
        self.message, self.hint, self.line = message, hint, line


class RuleSet(msgspec.Struct, frozen=True):
    """All rules of a route, in order.

    Attributes:
        rules: the rules.
        in_list: whether they are a YAML list. Then all lines of rules and commands are positions of rules in the list.

    """

    rules: tuple[Rule, ...] = ()
    in_list: bool = False

    def place(self, line: int) -> str:
        """Return where a rule or command is, in parentheses after a space; ``""`` for line 0."""
        if not line:
            return ""
        return f" (rule {line})" if self.in_list else f" (line {line} of the rules)"
