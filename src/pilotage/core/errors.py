"""What can go wrong, in our words.

Few classes, raised at one border each: whatever a library below us raises is turned into one of these, with the
library's exception kept as the cause (``__cause__``). Things that are wrong with what people *wrote* are not exceptions
but :class:`pilotage.core.problems.Problem` values, except where nothing can go on without them (:class:`ConfigError`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

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
]


class PilotageError(Exception):
    """Base of every error that pilotage raises on purpose. ``str()`` is fit for an operator's eyes."""


class EngineError(PilotageError):
    """A container engine could not do what was asked of it.

    Attributes:
        engine: what people call the engine: the provider's name, else its address.
        what: one sentence without a full stop: what failed.
        remedy: what to do about it, one sentence, or ``""``.

    """

    def __init__(self, engine: str, what: str, remedy: str = "") -> None:
        self.engine = engine
        self.what = what
        self.remedy = remedy
        super().__init__(engine, what, remedy)

    def __str__(self) -> str:
        text = f"{self.engine}: {self.what}"
        return f"{text}; {self.remedy}" if self.remedy else text


class EngineUnreachable(EngineError):
    """No working connection: no such socket, permission denied, refused, timed out, cut, bad certificate."""


class EngineIncompatible(EngineError):
    """Something answered, but not an engine we can speak with: too old, too new, or no engine at all."""


class EngineRefused(EngineError):
    """The engine answered and said no.

    Attributes:
        status: the HTTP status code, e.g. 404.

    """

    def __init__(self, engine: str, what: str, remedy: str = "", *, status: int) -> None:
        super().__init__(engine, what, remedy)
        self.status = status


class ConfigError(PilotageError):
    """The configuration cannot be used. Carries every fault found, not just the first.

    Attributes:
        problems: at least one problem, in the order of the text.

    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__(self.problems)

    def __str__(self) -> str:
        return "\n".join(map(str, self.problems))


class GatewayError(PilotageError):
    """The proxy that pilotage starts cannot be run.

    Attributes:
        what: one sentence without a full stop: what failed.
        remedy: what to do about it, one sentence, or ``""``.

    """

    def __init__(self, what: str, remedy: str = "") -> None:
        self.what = what
        self.remedy = remedy
        super().__init__(what, remedy)

    def __str__(self) -> str:
        return f"{self.what}; {self.remedy}" if self.remedy else self.what
