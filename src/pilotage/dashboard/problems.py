"""Prepares problems for the pages, with a link and the label to write instead. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from pilotage.core.secrets import HIDDEN
from pilotage.dashboard.links import path_of

if TYPE_CHECKING:
    from pilotage.core.problems import Problem
    from pilotage.output.corrections import LabelCorrection

__all__ = ["ShownProblem", "shown_problem"]


class ShownProblem(msgspec.Struct, frozen=True):
    """A problem as the pages show it.

    Attributes:
        severity: ``error`` or ``warning``.
        message: the problem.
        value: the offending value; ``""`` if the value is hidden, is in the message, or does not matter.
        place: the location of the problem.
        hint: what to do; ``""`` if there is no advice.
        corrected: the label to write instead; ``""`` if pilotage does not know what was meant.
        about: the route or container that the problem concerns; ``""`` if it concerns neither.
        path: path of the page about this route or container; ``""`` if there is no such page.

    """

    severity: str
    message: str
    value: str
    place: str
    hint: str
    corrected: str
    about: str
    path: str


def shown_problem(problem: Problem, correction: LabelCorrection | None = None) -> ShownProblem:
    """Return a problem as the pages show it. ``correction`` is the label to write instead, if it is known."""
    shown = problem.shown
    about = shown.route or shown.container
    corrected = ""
    if correction is not None:
        corrected = correction.line or correction.label
    return ShownProblem(
        severity=shown.severity,
        message=shown.message,
        value="" if shown.value == HIDDEN or shown.value in shown.message else shown.value,
        place=shown.place,
        hint=shown.hint,
        corrected=corrected,
        about=about,
        path=path_of("routes", problem.route or problem.container) if about else "",
    )
