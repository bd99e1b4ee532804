"""Checks files without an engine, for ``pilotage check`` and ``pilotage policy test``.

Names of Compose files, configuration files and route files go in; problems with their positions come out.
This package must not connect to an engine, and has no rules of its own: it runs the code that reads containers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pilotage.core.lazy import lazy_exports

if TYPE_CHECKING:
    from pilotage.lint.check import USUAL, Checked, check_files
    from pilotage.lint.policy import judge_compose
    from pilotage.lint.sources import STDIN, Sources
    from pilotage.lint.works import works_by_label

__all__ = ["STDIN", "USUAL", "Checked", "Sources", "check_files", "judge_compose", "works_by_label"]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "STDIN": "sources",
        "USUAL": "check",
        "Checked": "check",
        "Sources": "sources",
        "check_files": "check",
        "judge_compose": "policy",
        "works_by_label": "works",
    },
)
