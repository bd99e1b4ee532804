"""Finds rules about engines that do not exist. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pilotage.core.problems import Problem
from pilotage.core.suggest import did_you_mean
from pilotage.core.text import shorten
from pilotage.policy.globs import matches_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pilotage.policy.policy import Policy

__all__ = ["unknown_engines"]


def unknown_engines(policy: Policy, engines: Iterable[str]) -> Iterator[Problem]:
    """Yield a warning for each engine glob in a rule that matches no engine's name.

    Args:
        policy: the policy.
        engines: names of all engines, with or without the ``!`` that requires labels. An address stands for an agent
            whose name is not known yet, so any glob may match it.

    """
    names = [name.removesuffix("!") for name in engines]
    if any(":" in name for name in names):
        return
    for rule in policy.rules:
        file, _, line = rule.place.rpartition(":")
        for glob in rule.engine:
            if not any(matches_text(glob, name) for name in names):
                yield Problem(
                    message=f"{rule.title} applies to an engine {shorten(glob)!r}, but no engine has this name",
                    hint=did_you_mean(glob, names) or f"the engines are {', '.join(names) or 'not named'}",
                    severity="warning",
                    path="who.engine",
                    file=file or rule.place,
                    line=int(line) if file and line.isdigit() else 0,
                )
