"""Defines the faults that a test can inject into the fake engine."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Fault", "due"]


@dataclasses.dataclass(slots=True)
class Fault:
    """A failure of some requests.

    Attributes:
        endpoint: the affected endpoint, named as in ``FakeEngine.calls``, or ``*`` for all.
        times: number of affected requests; ``None`` for all until :meth:`FakeEngine.heal`.
        delay: seconds before the response, which is otherwise unchanged.
        hang: never respond.
        reset: close the connection instead of responding.
        status: respond with an error that has this HTTP status.
        message: message of the error response.
        body: respond with these bytes and status 200 (or ``status``).
        kind: media type of ``body``.
        cut_after: send this many bytes of the real response, then close the connection.

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
    """Return the first fault that applies to a request, and count its use; ``None`` if no fault applies."""
    for fault in faults:
        if fault.endpoint in {"*", endpoint} and fault.times != 0:
            if fault.times is not None:
                fault.times -= 1
            return fault
    return None
