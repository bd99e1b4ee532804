"""Defines the exceptions that pilotage raises.

Each boundary converts library exceptions to one of these classes and keeps the original as ``__cause__``. Users'
mistakes are :class:`~pilotage.core.problems.Problem` values, not exceptions, unless pilotage cannot continue
(:class:`ConfigError`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar, cast

from pilotage.core.text import shorten

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pilotage.core.problems import Problem

__all__ = [
    "ConfigError",
    "EngineError",
    "EngineIncompatible",
    "EngineRefused",
    "EngineUnreachable",
    "GatewayError",
    "PilotageError",
    "first_exception",
]

_E = TypeVar("_E", bound=Exception)
_LONGEST: Final = 500  # characters of each text in an engine error


class PilotageError(Exception):
    """Base class of all errors that pilotage raises deliberately. ``str()`` is a message for operators."""


class EngineError(PilotageError):
    """A request to a container engine failed.

    The constructor escapes the texts and cuts each to 500 characters, because they may repeat what the engine sent.

    Attributes:
        engine: the engine's name in the configuration, or its address if it has no name.
        what: what failed, one sentence without a full stop.
        remedy: how to fix it, one sentence; ``""`` if there is no advice.

    """

    def __init__(self, engine: str, what: str, remedy: str = "") -> None:
        self.engine = engine
        self.what = shorten(what, _LONGEST)
        self.remedy = shorten(remedy, _LONGEST)
        super().__init__(engine, self.what, self.remedy)

    def __str__(self) -> str:
        text = f"{self.engine}: {self.what}"
        return f"{text}; {self.remedy}" if self.remedy else text


class EngineUnreachable(EngineError):
    """The engine cannot be reached, e.g. because the connection fails or times out, or its certificate is bad."""


class EngineIncompatible(EngineError):
    """The server is not a supported engine: its API is too old or too new, or it is something else entirely."""


class EngineRefused(EngineError):
    """The engine answered with an error status.

    Attributes:
        status: the HTTP status code, e.g. 404.

    """

    def __init__(self, engine: str, what: str, remedy: str = "", *, status: int) -> None:
        super().__init__(engine, what, remedy)
        self.status = status


class ConfigError(PilotageError):
    """The configuration is invalid. Reports all problems, not just the first one.

    Attributes:
        problems: one or more problems, in the order of their places in the file.

    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__(self.problems)

    def __str__(self) -> str:
        return "\n".join(map(str, self.problems))


class GatewayError(PilotageError):
    """The proxy that pilotage manages cannot run.

    Attributes:
        what: what failed, one sentence without a full stop.
        remedy: how to fix it, one sentence; ``""`` if there is no advice.

    """

    def __init__(self, what: str, remedy: str = "") -> None:
        self.what = what
        self.remedy = remedy
        super().__init__(what, remedy)

    def __str__(self) -> str:
        return f"{self.what}; {self.remedy}" if self.remedy else self.what


def first_exception(group: ExceptionGroup[_E]) -> _E:
    """Return the first exception in a group and the groups nested in it: the error of the task that failed first."""
    found: Exception = group
    while isinstance(found, ExceptionGroup):
        found = found.exceptions[0]
    return cast("_E", found)
