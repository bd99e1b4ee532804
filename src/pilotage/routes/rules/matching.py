"""Matches texts with the patterns of rules in bounded time. Pure.

It follows all possible positions at once instead of trying one after another, so no pattern takes exponential time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pilotage.routes.rules.nodes import Alternatives, Chain, Chars, Edge, Repeat

if TYPE_CHECKING:
    from pilotage.routes.rules.model import Pattern
    from pilotage.routes.rules.nodes import Node

__all__ = ["matches"]


def matches(pattern: Pattern, text: str) -> bool:
    """Return whether a text equals an exact pattern, matches a glob as a whole, or contains a match of a regex.

    A negated pattern matches all other texts.
    """
    if pattern.node is None:
        found = text == pattern.text
    elif pattern.kind == "glob":
        found = len(text) in _ends(pattern.node, text, {0})
    else:
        found = bool(_ends(pattern.node, text, set(range(len(text) + 1))))
    return found is not pattern.negate


def _ends(node: Node, text: str, starts: set[int]) -> set[int]:
    """Return the positions where a match can end if it begins at one of the given positions."""
    match node:
        case Chars(ranges):
            return {
                at + 1 for at in starts if at < len(text) and any(low <= ord(text[at]) <= high for low, high in ranges)
            }
        case Chain(items):
            for item in items:
                starts = _ends(item, text, starts)
            return starts
        case Alternatives(items):
            return set().union(*(_ends(item, text, starts) for item in items))
        case Edge(is_end):
            return starts & {len(text) if is_end else 0}
        case Repeat(item, least, most):
            return _repeat(item, least, most, text, starts)


def _repeat(item: Node, least: int, most: int | None, text: str, starts: set[int]) -> set[int]:
    for _ in range(least):
        starts = _ends(item, text, starts)
    found = set(starts)
    count = least
    while starts and (most is None or count < most):
        starts = _ends(item, text, starts) - found
        found |= starts
        count += 1
    return found
