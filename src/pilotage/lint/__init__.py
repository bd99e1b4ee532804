"""Checks files without an engine, for ``pilotage check``, ``pilotage policy test`` and ``pilotage plan``.

Names of Compose files, configuration files and route files go in; problems with their positions come out.
A plan also needs a view of the engines, and says what the files would change.
This package must not connect to an engine, and has no rules of its own: it runs the code that reads containers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pilotage.core.lazy import lazy_exports

if TYPE_CHECKING:
    from pilotage.lint.check import USUAL, Checked, check_files
    from pilotage.lint.compose import Site
    from pilotage.lint.plan import UNKNOWN, Plan, PlannedChange, make_plan
    from pilotage.lint.planned import read_projects
    from pilotage.lint.policy import judge_compose
    from pilotage.lint.sources import STDIN, Sources
    from pilotage.lint.works import works_by_label

__all__ = [
    "STDIN",
    "UNKNOWN",
    "USUAL",
    "Checked",
    "Plan",
    "PlannedChange",
    "Site",
    "Sources",
    "check_files",
    "judge_compose",
    "make_plan",
    "read_projects",
    "works_by_label",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "STDIN": "sources",
        "UNKNOWN": "plan",
        "USUAL": "check",
        "Checked": "check",
        "Plan": "plan",
        "PlannedChange": "plan",
        "Site": "compose",
        "Sources": "sources",
        "check_files": "check",
        "judge_compose": "policy",
        "make_plan": "plan",
        "read_projects": "planned",
        "works_by_label": "works",
    },
)
