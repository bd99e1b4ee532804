"""Faults that a test may ask of the fake engine."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Fault", "due"]


@dataclasses.dataclass(slots=True)
class Fault:
    """Something that goes wrong with some requests.

    Attributes:
        endpoint: whose requests: a name as in ``FakeEngine.calls``, or ``*`` for all.
        times: how many requests; ``None`` for all until :meth:`FakeEngine.heal`.
        delay: seconds that the answer waits; the only fault that leaves the answer itself alone.
        hang: never answer.
        reset: close the connection instead of answering.
        status: answer an error of this status.
        message: its text.
        body: answer these bytes with status 200 (or ``status``), as ``kind``.
        kind: the media type that goes with ``body``.
        cut_after: send so many bytes of the true answer, then close the connection.

    """

    endpoint: str = "*"
    times: int | None = None
    delay: float = 0
    hang: bool = False
    reset: bool = False
    status: int = 0
    message: str = "made to fail"
    body: bytes | None = None
    kind: str = "application/json"
    cut_after: int | None = None


def due(faults: Sequence[Fault], endpoint: str) -> Fault | None:
    """Return the first fault that concerns a request, and count it as used."""
    for fault in faults:
        if fault.endpoint in {"*", endpoint} and fault.times != 0:
            if fault.times is not None:
                fault.times -= 1
            return fault
    return None
