"""Describes rules as readable text, one line for each condition and command, without secrets. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from pilotage.core.text import shorten
from pilotage.routes.rules.model import Choice, Command

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pilotage.routes.rules.model import Check, Condition, Pattern, RuleSet, Statement

__all__ = ["RuleDescription", "describe_rules"]

_HIDDEN: Final = "…"
_SECRET: Final = frozenset({"header", "query", "cookie", "form", "postform", "resp_header"})
"""Conditions whose patterns may be secrets, such as the value of an API key."""
_BY_PILOTAGE: Final = frozenset({"basic_auth", "form", "postform"})
_AFTER: Final = frozenset({"status", "resp_header"})
_LONGEST: Final = 200


class RuleDescription(msgspec.Struct, frozen=True):
    """A rule as readable text.

    Attributes:
        line: the line on which the rule begins, or its position in a list; 1-based.
        name: name of the rule; ``""`` if it has no name.
        on: the rule's condition; ``default`` or ``always`` for a rule without a condition.
        do: the rule's commands; commands in nested blocks are indented.
        tested_by: what tests its conditions: ``Envoy``, or ``Envoy and pilotage``.
        in_list: whether ``line`` is its position in a list.

    """

    line: int
    name: str
    on: str
    do: tuple[str, ...]
    tested_by: str
    in_list: bool = False


def describe_rules(rules: RuleSet) -> tuple[RuleDescription, ...]:
    """Describe rules in their order. Values that may be secret are shown as ``…``."""
    return tuple(
        RuleDescription(
            line=rule.line,
            name=shorten(rule.name, _LONGEST),
            on="default" if rule.is_default else _condition(rule.condition) or "always",
            do=tuple(_statements(rule.body)),
            tested_by="Envoy and pilotage" if _asks(rule.condition, rule.body) else "Envoy",
            in_list=rules.in_list,
        )
        for rule in rules.rules
    )


def _condition(condition: Condition) -> str:
    return " & ".join(" | ".join(map(_check, part)) for part in condition)


def _check(check: Check) -> str:
    words = [f"{'!' if check.negate else ''}{check.subject}"]
    if check.key:
        words.append(check.key)
    if check.subject == "basic_auth":
        words.append(_HIDDEN)
    elif check.pattern is not None:
        words.append(_HIDDEN if check.subject in _SECRET else _pattern(check.pattern))
    elif check.value:
        words.append(check.value)
    return shorten(" ".join(words), _LONGEST)


def _pattern(pattern: Pattern) -> str:
    text = pattern.text if pattern.kind == "exact" else f"{pattern.kind}({pattern.text})"
    return f"{'!' if pattern.negate else ''}{text}"


def _statements(body: Iterable[Statement], indent: str = "") -> Iterator[str]:
    for statement in body:
        if isinstance(statement, Choice):
            for number, branch in enumerate(statement.branches):
                on = _condition(branch.condition)
                word = "if " if not number else "elif " if on else "else"
                yield f"{indent}{word}{on}"
                yield from _statements(branch.body, f"{indent}  ")
        else:
            yield f"{indent}{_command(statement)}"


def _command(command: Command) -> str:
    args = list(command.args)
    if command.name in ("set", "add"):
        args[-1] = _HIDDEN
    return shorten(" ".join((command.name, *args)), _LONGEST)


def _asks(condition: Condition, body: Iterable[Statement]) -> bool:
    """Return whether a rule has a condition that pilotage tests."""
    if any(check.subject in _BY_PILOTAGE for part in condition for check in part):
        return True
    return any(
        _asks(branch.condition, branch.body)
        for statement in body
        if isinstance(statement, Choice)
        for branch in statement.branches
    )
