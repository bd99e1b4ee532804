"""Estimates what Envoy needs for the regular expressions of rules: memory, and time to compile them. Pure."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

__all__ = ["regex_size"]

_PART: Final = re.compile(r"\(\?\w+\)|\(\?:|\(|\)|\||\[(?:\\.|[^\]\\])*\]|\{(\d+)(,?)(\d*)\}|\\x..|\\.|.", re.DOTALL)


@lru_cache(maxsize=4096)
def regex_size(regex: str) -> int:
    """Return about how many steps the compiled form of a regex has, after its repetitions are written out.

    Args:
        regex: as :mod:`pilotage.xds.rule_patterns` writes it.

    """
    groups = [0]
    last = 0  # size of what a repetition would repeat; counted in its group, too
    opened: list[int] = []
    for part in _PART.finditer(regex):
        text = part[0]
        if text.startswith("(?") and text != "(?:":
            continue
        if text in ("(?:", "("):
            opened.append(len(groups))
            groups.append(0)
            continue
        if text == ")":
            last = groups.pop()
        elif part[1] is not None:
            times = max(int(part[3] or part[1]), int(part[1]) + bool(part[2]), 1)
            last *= times - 1
        elif text[0] == "[":
            last = 1 + text.count("-")
        else:
            last = 1
        groups[-1] += last
    return sum(groups)
