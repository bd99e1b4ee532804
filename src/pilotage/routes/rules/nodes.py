"""Defines the form that regular expressions and globs are parsed into. Pure."""

from __future__ import annotations

from typing import Final

import msgspec

__all__ = ["ANY", "DOT", "Alternatives", "Chain", "Chars", "Edge", "Node", "Ranges", "Repeat", "bounded"]
__all__ += ["invert", "literal_node", "merge", "size"]

Ranges = tuple[tuple[int, int], ...]

_LAST: Final = 0x10FFFF
_LARGEST: Final = 2_000


class Chars(msgspec.Struct, frozen=True, tag=True):
    """One character of a set. ``ranges`` are sorted and do not overlap."""

    ranges: Ranges


class Chain(msgspec.Struct, frozen=True, tag=True):
    """Items one after another; without items, the empty text."""

    items: tuple[Node, ...]


class Alternatives(msgspec.Struct, frozen=True, tag=True):
    """One of several items."""

    items: tuple[Node, ...]


class Repeat(msgspec.Struct, frozen=True, tag=True):
    """An item repeated ``least`` to ``most`` times. If ``most`` is ``None``, there is no limit."""

    item: Node
    least: int
    most: int | None


class Edge(msgspec.Struct, frozen=True, tag=True):
    """A position: the beginning or end of the text."""

    is_end: bool


Node = Chars | Chain | Alternatives | Repeat | Edge

ANY: Final = Chars(((0, _LAST),))
DOT: Final = Chars(((0, 9), (11, _LAST)))


def merge(ranges: list[tuple[int, int]]) -> Ranges:
    """Sort ranges, and join those that touch or overlap."""
    merged: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    return tuple(merged)


def invert(ranges: Ranges) -> Ranges:
    """Return all other characters."""
    found, start = [], 0
    for low, high in ranges:
        if low > start:
            found.append((start, low - 1))
        start = high + 1
    if start <= _LAST:
        found.append((start, _LAST))
    return tuple(found)


def literal_node(text: str) -> Node:
    """Return the pattern that matches exactly this text."""
    return Chain(tuple(Chars(((ord(char), ord(char)),)) for char in text))


def size(node: Node) -> int:
    """Return how many nodes a pattern has once its repetitions are written out."""
    match node:
        case Chain(items) | Alternatives(items):
            return 1 + sum(map(size, items))
        case Repeat(item, least, most):
            return 1 + size(item) * max(least, most or 1, 1)
        case _:
            return 1


def bounded(node: Node) -> Node:
    """Return a pattern unchanged. Raises ValueError if it is too large."""
    if size(node) > _LARGEST:
        raise ValueError("the pattern is too large; use fewer or smaller repetitions")
    return node
