"""Limits how much work one container or file can cause: values, characters, problems, suggestions. Pure.

Labels are untrusted, and all containers share one event loop. Each container therefore has one budget for everything
that pilotage reads from its labels. Rules: decisions 28 and 36.
"""

from __future__ import annotations

from typing import Final

from pilotage.core.secrets import clean_value, holds_secret
from pilotage.core.suggest import nearest
from pilotage.core.values import ParseError

__all__ = ["MAX_PROBLEMS", "Budget", "BudgetError", "container_budget"]

MAX_PROBLEMS: Final = 100
"""Maximum number of problems kept for one container."""

_MAX_VALUES: Final = 20_000
_CONTAINER_VALUES: Final = 2_000
_CONTAINER_YAML: Final = 256 * 1024  # characters
_CONTAINER_SUGGESTIONS: Final = 20
_CONTAINER_SEARCHES: Final = 16 * 1024  # characters
_REMEMBERED: Final = 64  # messages
_UNLIMITED: Final = 2**62


class BudgetError(ParseError):
    """A budget is used up."""


class Budget:
    """The amount of work that one container or document may still cause.

    Args:
        whose: start of the error messages, such as ``the document expands to``; the exceeded limit follows.
        values: how many values the container or document may have; processing each one takes about 10 µs.
        characters: how many characters may be parsed as YAML.
        problems: how many problems may be kept.
        suggestions: how many words may be compared with known names.
        searches: how many characters may be searched for secrets; searching each one takes about 0.5 µs.

    Attributes:
        values, characters, problems, suggestions, searches: how much of each limit is left.
        dropped: number of problems that were not kept.

    """

    def __init__(
        self,
        whose: str = "the document expands to",
        *,
        values: int = _MAX_VALUES,
        characters: int = _UNLIMITED,
        problems: int = _UNLIMITED,
        suggestions: int = _UNLIMITED,
        searches: int = _UNLIMITED,
    ) -> None:
        self.values = values
        self.characters = characters
        self.problems = problems
        self.suggestions = suggestions
        self.searches = searches
        self.dropped = 0
        self._too_many = f"{whose} more than {values:,} values"
        self._too_long = f"{whose} more than {characters:,} characters of YAML"
        self._nearest: dict[tuple[str, tuple[str, ...]], str] = {}
        self._cleaned: dict[str, str] = {}

    def take(self, values: int = 1) -> None:
        """Take some values from the budget.

        Raises:
            BudgetError: too few values are left. Every later call raises, too.

        """
        self.values -= values
        if self.values < 0:
            raise BudgetError(self._too_many)

    def take_yaml(self, characters: int) -> None:
        """Take some characters of YAML from the budget.

        Raises:
            BudgetError: too few characters are left. Nothing is taken, so a shorter text may still fit.

        """
        if characters > self.characters:
            raise BudgetError(self._too_long)
        self.characters -= characters

    def take_problem(self, *, is_first: bool = False) -> bool:
        """Return whether to keep a problem; if not, count it as dropped. A route's first problem is always kept."""
        self.problems -= 1
        if self.problems >= 0 or is_first:
            return True
        self.dropped += 1
        return False

    def take_search(self, characters: int) -> bool:
        """Take characters to search for secrets; return whether enough are left. If not, do not show the text."""
        self.searches -= characters
        return self.searches >= 0

    def holds_secret(self, text: str) -> bool:
        """Return whether a text contains a secret. Returns True if the budget is too small to search the text."""
        return not self.take_search(len(text)) or holds_secret(text)

    def clean(self, message: str) -> str:
        """Return a message without secrets. Results are cached, because many aliases may have the same message."""
        known = self._cleaned.get(message)
        if known is None:
            if len(self._cleaned) == _REMEMBERED:
                self._cleaned.clear()
            known = self._cleaned[message] = clean_value(message)
        return known

    def nearest(self, word: str, names: tuple[str, ...]) -> str | None:
        """Return the name closest to a word; ``""`` if no name is close, ``None`` if the budget is used up."""
        known = self._nearest.get((word, names))
        if known is None:
            if self.suggestions <= 0:
                return None
            self.suggestions -= 1
            known = self._nearest[word, names] = nearest(word, names)
        return known


def container_budget() -> Budget:
    """Return the budget of one container's labels."""
    return Budget(
        "the labels of this container have",
        values=_CONTAINER_VALUES,
        characters=_CONTAINER_YAML,
        problems=MAX_PROBLEMS,
        suggestions=_CONTAINER_SUGGESTIONS,
        searches=_CONTAINER_SEARCHES,
    )
