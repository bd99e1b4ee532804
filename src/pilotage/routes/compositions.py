"""Reads lists of middlewares from files, and replaces each ``name@file`` in a route by its list. Pure.

A file maps names to lists of middlewares, which apply in the order of the list. If a list has an error, no route that
names the list is served, because the missing middleware may restrict access. Source: GoDoxy's documentation of
middlewares (middleware compose).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from pilotage.core.problems import Problem
from pilotage.core.suggest import did_you_mean
from pilotage.core.text import shorten
from pilotage.core.values import ParseError
from pilotage.core.yaml import Located, bare, kind_name, parse_yaml
from pilotage.labels.key_schema import fold
from pilotage.routes.fields import FieldContext
from pilotage.routes.middlewares import FROM_FILE, STEP, Middlewares

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = ["NO_COMPOSITIONS", "Compositions", "is_composition", "read_compositions"]

_MOST_LISTS: Final = 1_000
_MOST_STEPS: Final = 50
_MOST_OF_ROUTE: Final = 100
"""Maximum number of middlewares that the lists of one route may have together. Labels name lists, and each middleware
takes about 0.1 ms wherever a route is checked."""
_MOST_PROBLEMS: Final = 20
_DEEPEST: Final = 10
_USE: Final = "use"
_FORM: Final = "write lines such as 'lan: [{use: cidr_whitelist, allow: [10.0.0.0/8]}]'"


class _List(msgspec.Struct, frozen=True):
    """A list of middlewares: its name as written, its steps (name and options), and whether it has no error."""

    name: str
    steps: tuple[tuple[str, Any], ...] = ()
    usable: bool = True


class Compositions(msgspec.Struct, frozen=True):
    """The middlewares from files.

    Attributes:
        lists: folded name -> list.

    """

    lists: dict[str, _List] = {}

    def fill_in(self, middlewares: Mapping[str, Any]) -> tuple[dict[str, Any] | None, tuple[Problem, ...]]:
        """Replace the names of lists by the middlewares in them.

        Args:
            middlewares: a route's middlewares by name, as written.

        Returns:
            The middlewares, or ``None`` if none comes from a file; and a problem for each name that cannot be used. A
            route with such a problem must not be served.

        """
        if not any(FROM_FILE in written for written in middlewares):
            return None, ()
        found: dict[str, Any] = {}
        problems: list[Problem] = []
        seen: dict[str, str] = {}
        left = _MOST_OF_ROUTE
        for written, options in middlewares.items():
            if FROM_FILE not in written:
                found[written] = options
                continue
            if len(problems) >= _MOST_PROBLEMS:  # the route is not served anyway
                break
            try:
                steps = self._of_route(written, seen, left)
            except LookupError as error:
                message, hint = error.args
                problems.append(Problem(message=message, hint=hint, path=f"middlewares.{written}", refused=True))
                continue
            left -= len(steps)
            for number, (name, step) in enumerate(steps):
                found[f"{written}{STEP}{number:03}{STEP}{name}"] = step
        return found, tuple(problems)

    def _of_route(self, written: str, seen: dict[str, str], most: int) -> list[tuple[str, Any]]:
        """Return the middlewares of a list that a route names. Raise LookupError with message and hint."""
        if (other := seen.setdefault(_name(written), written)) is not written:
            raise LookupError(f"{shorten(written)} and {shorten(other)} are the same list", "keep one")
        steps = list(self._steps(written, ()))
        if len(steps) > most:
            text = f"the lists of this route have more than {_MOST_OF_ROUTE} middlewares together"
            raise LookupError(text, "name fewer lists")
        return steps

    def _steps(self, written: str, above: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
        """Yield the middlewares of a list and of the lists that it names. Raise LookupError with message and hint."""
        name = _name(written)
        wanted = self.lists.get(name)
        if wanted is None:
            hint = did_you_mean(name, [it.name for it in self.lists.values()])
            raise LookupError(
                f"no file of middlewares defines {shorten(written)}", hint or "list the file in providers.middlewares"
            )
        if not wanted.usable:
            raise LookupError(f"{shorten(written)} has errors, so it cannot be used", "fix the file of middlewares")
        if name in above or len(above) >= _DEEPEST:
            raise LookupError(f"{shorten(written)} contains itself, or its lists are nested too deeply", "remove one")
        count = 0
        for step, options in wanted.steps:
            inner = self._steps(step, (*above, name)) if FROM_FILE in step else [(step, options)]
            for it in inner:
                count += 1
                if count > _MOST_STEPS:
                    raise LookupError(f"{shorten(written)} has more than {_MOST_STEPS} middlewares", "remove some")
                yield it


NO_COMPOSITIONS: Final = Compositions()


def _name(written: str) -> str:
    return fold(written.partition("@")[0].strip())


def is_composition(document: Located | None) -> bool:
    """Return whether a document looks like a file of middlewares rather than routes: lists with ``use``."""
    if document is None or not isinstance(document.value, dict) or not document.value:
        return False
    return all(
        isinstance(value.value, list)
        and all(isinstance(step.value, dict) and any(fold(key) == _USE for key in step.value) for step in value.value)
        for value in document.value.values()
    )


def read_compositions(files: Iterable[tuple[str, str]]) -> tuple[Compositions, tuple[Problem, ...]]:
    """Read files of middlewares. Never raises.

    Args:
        files: the name and the text of each file.

    Returns:
        The lists, and all problems with their positions. The problems are warnings, because an unusable list affects
        only the routes that name it.

    """
    lists: dict[str, _List] = {}
    problems: list[Problem] = []
    for file, text in files:
        _Reader(file, lists, problems).read(text)
    return Compositions(lists), tuple(problems)


class _Reader:
    def __init__(self, file: str, lists: dict[str, _List], problems: list[Problem]) -> None:
        self.file, self.lists, self.problems = file, lists, problems

    def problem(self, value: Located, message: str, hint: str = "") -> None:
        line, column = value.line or value.key_line, value.column or value.key_column
        problem = Problem(message=message, hint=hint, severity="warning", file=self.file, line=line, column=column)
        self.problems.append(problem)

    def read(self, text: str) -> None:
        try:
            document = parse_yaml(text.removeprefix("\ufeff"))
        except ParseError as error:
            self.problem(Located(None, line=error.line, column=error.column), error.message)
            return
        if document is None or document.value is None:
            return
        if not isinstance(document.value, dict):
            self.problem(document, f"a file of middlewares is a mapping, not {kind_name(document.value)}", _FORM)
            return
        for written, value in document.value.items():
            name = fold(written.strip())
            if name.startswith("x-"):
                continue  # for anchors, as in route files
            if name in self.lists or len(self.lists) >= _MOST_LISTS:
                message = f"{shorten(written)} is already defined" if name in self.lists else "there are too many lists"
                self.problem(value, message, "rename or remove one")
                self.lists[name] = _List(written, usable=False)
                continue
            before = len(self.problems)
            steps = self.steps(value)
            self.lists[name] = _List(written.strip(), tuple(steps), usable=len(self.problems) == before)

    def steps(self, value: Located) -> list[tuple[str, Any]]:
        if not isinstance(value.value, list):
            self.problem(value, f"a list of middlewares is needed here, not {kind_name(value.value)}", _FORM)
            return []
        if len(value.value) > _MOST_STEPS:
            self.problem(value, f"the list has more than {_MOST_STEPS} middlewares", "remove some")
            return []
        return [step for item in value.value if (step := self.step(item)) is not None]

    def step(self, item: Located) -> tuple[str, Any] | None:
        if not isinstance(item.value, dict):
            self.problem(item, f"a middleware is a mapping, not {kind_name(item.value)}", _FORM)
            return None
        options = dict(item.value)
        uses = [options.pop(key) for key in list(options) if fold(key) == _USE]
        name = uses[0].value if len(uses) == 1 else None
        if not isinstance(name, str) or not name.strip():
            self.problem(item, "a middleware needs one 'use' with its name", _FORM)
            return None
        context = FieldContext(path="middlewares", visible=Middlewares.visible)
        whole = msgspec.structs.replace(item, value=options or None)
        Middlewares().read(msgspec.structs.replace(item, value={name.strip(): whole}), context)
        for problem in context.problems:
            place = {"file": self.file, "line": problem.line or item.line, "column": problem.column or item.column}
            self.problems.append(msgspec.structs.replace(problem, severity="warning", label="", **place))
        return name.strip(), bare(whole) if options else None
