"""Defines the errors of obtaining and storing certificates. Pure."""

from __future__ import annotations

from typing import Literal

from pilotage.core.errors import PilotageError
from pilotage.core.text import shorten

__all__ = ["CertificateError", "RenewalRefusedError", "StorageError"]

_LONGEST = 1_000  # characters of each text; a CA's reasons can be long


class CertificateError(PilotageError):
    """A certificate was not obtained.

    Attributes:
        what: the reason, with the CA's own words, without a full stop.
        hint: what to check; ``""`` if there is no advice.
        names: the host names that caused the error; empty if the error concerns all names.
        validated: whether the CA tried to validate a name, which counts towards its rate limits.
        retry_after: seconds to wait before the next attempt, according to the CA; 0 if the CA named no time.
        elsewhere: whether another CA might issue the certificate.

    """

    def __init__(
        self,
        what: str,
        hint: str = "",
        *,
        names: frozenset[str] = frozenset(),
        validated: bool = False,
        retry_after: float = 0.0,
        elsewhere: bool = True,
    ) -> None:
        self.what = shorten(what, _LONGEST)
        self.hint = shorten(hint, _LONGEST)
        self.names = names
        self.validated = validated
        self.retry_after = retry_after
        self.elsewhere = elsewhere
        super().__init__(f"{self.what}; {self.hint}" if self.hint else self.what)


class RenewalRefusedError(PilotageError):
    """An operator's request for a new certificate is refused.

    Attributes:
        what: the reason, without a full stop.
        hint: what to do; ``""`` if there is no advice.
        reason: ``unknown`` if no route needs a certificate for the name, ``elsewhere`` if this process cannot obtain
            certificates now, or ``early`` if the request came too early.
        wait: seconds until the request may be repeated, if ``reason`` is ``early``.

    """

    def __init__(
        self, what: str, hint: str = "", *, reason: Literal["unknown", "elsewhere", "early"], wait: float = 0.0
    ) -> None:
        self.what = what
        self.hint = hint
        self.reason = reason
        self.wait = wait
        super().__init__(f"{what}; {hint}" if hint else what)


class StorageError(PilotageError):
    """A file of the certificate folder cannot be read or written."""
