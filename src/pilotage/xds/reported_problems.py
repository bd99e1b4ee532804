"""Keeps the problems of a snapshot by their source, and reports which are new and which are resolved. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pilotage.core.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["ReportedProblems"]


class ReportedProblems(dict[str, tuple[Problem, ...]]):
    """The problems of a snapshot: source -> its problems.

    Attributes:
        listener: called with the new problems and with those that no longer exist.

    """

    def __init__(self) -> None:
        super().__init__()
        self.listener: Callable[[list[Problem], list[Problem]], object] | None = None
        self._before: dict[str, tuple[Problem, ...]] = {}  # of sources that changed since the last report_changes()

    def report(self, source: str, problems: Iterable[Problem]) -> None:
        """Replace the problems of a source."""
        before = self.pop(source, ())
        if found := tuple(problems):
            self[source] = found
        if found != before:
            self._before.setdefault(source, before)

    def follow(self, previous: ReportedProblems) -> None:
        """Take the place of ``previous``, whose listener gets the differences at the next :meth:`report_changes`."""
        self.listener = previous.listener
        self._before = {source: previous.get(source, ()) for source in {*previous, *self}} | previous._before

    def resolve(self, problems: list[Problem]) -> None:
        """Report to the listener that problems from elsewhere no longer exist."""
        if problems and self.listener is not None:
            self.listener([], problems)

    def report_changes(self) -> None:
        """Report to the listener what has changed since the last call. The cost does not depend on other sources."""
        if not self._before:
            return
        changed, self._before = self._before, {}
        if self.listener is None:
            return
        old = dict.fromkeys(problem for before in changed.values() for problem in before)
        new = dict.fromkeys(problem for source in sorted(changed) for problem in self.get(source, ()))
        added, gone = [it for it in new if it not in old], [it for it in old if it not in new]
        if added or gone:
            self.listener(added, gone)
