"""Reads the files with rules that routes name (field ``rule_file``), and notices when they change.

A file is read whenever its route is checked. A file that is missing or has an error takes only its own routes out of
service, until the file changes.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from pilotage.core.problems import Problem
from pilotage.core.text import shorten
from pilotage.policy import FILE_REFUSED, read_below
from pilotage.routes.claims import rule_claims
from pilotage.routes.paths import PRESET
from pilotage.routes.rules import RuleError, read_rule_text
from pilotage.table.hosts import route_claimant

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pilotage.policy import Policy
    from pilotage.routes.route import Route

__all__ = ["RuleFiles", "placed_in_file", "read_rule_file", "refused_places", "rules_field"]

_LARGEST: Final = 64 * 1024
"""Maximum bytes of a file with rules."""

_LONGEST_PATH: Final = 200
"""Maximum characters of a path in a message."""

_Stamp = tuple[int, int, int, int]
"""Device, inode, size and time of the last change of a file."""


class RuleFiles:
    """The files with rules of all routes."""

    def __init__(self) -> None:
        self._stamps: dict[str, tuple[str, _Stamp | None]] = {}  # alias -> path, and the file as it was when read

    @property
    def aliases(self) -> set[str]:
        """Aliases of the routes that name a file."""
        return set(self._stamps)

    def apply(self, route: Route) -> tuple[Route, tuple[Problem, ...]]:
        """Return a route with the rules in its file; or the route itself, and the problem with the file.

        For a route from labels, the problem reveals neither whether the file exists nor any of its content.
        """
        path = route.settings.rule_file.removeprefix("file://")
        self._stamps[route.alias] = (path, _stamp(path))  # before the file is read, so that no change is missed
        content = _read(path) if route.folders is None else read_below(path, route.folders)
        if content is None or len(content) > _LARGEST:
            return route, (self._problem(route, path, content),)
        try:
            rules = read_rule_text(content.decode())
        except (RuleError, UnicodeDecodeError) as error:
            return route, (_invalid(route, path, error),)
        return msgspec.structs.replace(route, settings=msgspec.structs.replace(route.settings, rules=rules)), ()

    def forget(self, alias: str) -> None:
        """Forget the file of a route that is no longer served."""
        self._stamps.pop(alias, None)

    def changed(self) -> set[str]:
        """Return the aliases of the routes whose file has changed since it was read."""
        now = {path: _stamp(path) for path, _ in self._stamps.values()}
        return {alias for alias, (path, stamp) in self._stamps.items() if now[path] != stamp}

    @staticmethod
    def _problem(route: Route, path: str, content: bytes | None) -> Problem:
        if route.folders is not None:
            hint = f"the operator can check that it is readable, at most {_LARGEST // 1024} KiB and not a link"
            return _of(route, FILE_REFUSED, f"{hint} to another folder")
        if content is not None:
            return _of(route, f"{_shown(path)!r} is larger than {_LARGEST // 1024} KiB", "write fewer rules")
        return _of(route, f"the file {_shown(path)!r} cannot be read", "check that it exists and is readable")


def read_rule_file(route: Route) -> tuple[Route, tuple[Problem, ...]]:
    """Return a route with the rules in its file, if it names one; or the route itself, and the problem with the file.

    See :meth:`RuleFiles.apply`.
    """
    named = route.settings.rule_file
    return (route, ()) if not named or named.startswith(PRESET) else RuleFiles().apply(route)


def rules_field(route: Route) -> str:
    """Return the field that says where a route's rules are: ``rules`` or ``rule_file``."""
    return "rule_file" if route.settings.rule_file else "rules"


def placed_in_file(route: Route, problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Return the problems of a route whose rules are in a file. Those with its rules name the file and the line."""
    path = _shown(route.settings.rule_file.removeprefix("file://"))
    return tuple(
        msgspec.structs.replace(
            it, path="rule_file", message=f"{path!r}: {it.message.replace(_OF_RULES, ' of the file)')}"
        )
        if it.path == "rules"
        else it
        for it in problems
    )


def refused_places(route: Route, policy: Policy) -> tuple[Problem, ...]:
    """Return a problem for each place to which the rules of a container's route may not send requests."""
    path = _shown(route.settings.rule_file.removeprefix("file://"))
    verdicts = (it.verdict for it in rule_claims(route.settings.rules, route_claimant(route), policy))
    return tuple(_of(route, f"{path!r}: {it.reason}", it.hint) for it in verdicts if not it.allowed)


_OF_RULES: Final = " of the rules)"


def _invalid(route: Route, path: str, error: RuleError | UnicodeDecodeError) -> Problem:
    if not isinstance(error, RuleError):
        return _of(route, f"the file {_shown(path)!r} is not text in UTF-8", "save it as UTF-8")
    line = re.search(r" \(line (\d+) of the rules\)$", error.message)
    number = int(line[1]) if line else error.line
    where = f" (line {number} of the file)" if number else ""
    if route.folders is not None:
        return _of(route, f"the rules in {_shown(path)!r} have an error{where}", "correct it")
    return _of(
        route,
        f"{_shown(path)!r}: {error.message[: line.start()] if line else error.message}{where}",
        error.hint or "correct it",
    )


def _shown(path: str) -> str:
    return shorten(path, _LONGEST_PATH)


def _of(route: Route, message: str, hint: str) -> Problem:
    problem = Problem(message=message, hint=hint, path="rule_file", refused=True)
    return problem.at(provider=route.provider, container=route.container, route=route.alias)


def _read(path: str) -> bytes | None:
    """Return the beginning of a file that the operator names; ``None`` if it is not a readable regular file."""
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            return file.read(_LARGEST + 1) if stat.S_ISREG(os.fstat(file.fileno()).st_mode) else None
    except (OSError, ValueError):
        return None


def _stamp(path: str) -> _Stamp | None:
    try:
        found = Path(path).stat()
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
