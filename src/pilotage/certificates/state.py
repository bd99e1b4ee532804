"""Remembers failed attempts and begun orders across restarts, so that a restart cannot exceed a CA's limits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from pilotage.certificates.errors import StorageError
from pilotage.certificates.limits import CLOCK_ERROR, Limits
from pilotage.certificates.renewal import back_off

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pilotage.certificates.errors import CertificateError
    from pilotage.certificates.storage import Storage

__all__ = ["Failure", "State"]

_FILE: Final = "state.json"
_MOST: Final = 10_000  # names with failures


class Failure(msgspec.Struct, frozen=True):
    """The failed attempts for one name.

    Attributes:
        count: number of failures in a row.
        at: time of the last failure, in seconds since 1970.
        until: when to try again.
        message: the reason, with the CA's own words.
        hint: what to check.
        closed_until: the time before which the CA allows no other attempt; 0 if the CA named no time.

    """

    count: int
    at: float
    until: float
    message: str
    hint: str = ""
    closed_until: float = 0.0


class State:
    """Failures by name, and rate limits.

    Attributes:
        failures: name -> its failures.
        limits: counts the orders begun so far.

    """

    def __init__(self) -> None:
        self.failures: dict[str, Failure] = {}
        self.limits = Limits()
        self._written = b""

    def fail(self, names: Iterable[str], error: CertificateError, now: float) -> None:
        """Record a failure for each of the names."""
        for name in names:
            before = self.failures.pop(name, None)
            count = before.count + 1 if before is not None else 1
            until = now + back_off(count, error.retry_after)
            closed = now + error.retry_after if error.retry_after else 0.0
            self.failures[name] = Failure(count, now, until, error.what, error.hint, closed)
        while len(self.failures) > _MOST:
            del self.failures[next(iter(self.failures))]

    def succeed(self, names: Iterable[str]) -> None:
        """Forget the failures of names."""
        for name in names:
            self.failures.pop(name, None)

    def retry(self, names: Iterable[str], now: float) -> None:
        """Let names be requested now. Their failures still count, so that the pauses between attempts grow on."""
        for name in names:
            if (failure := self.failures.get(name)) is not None:
                self.failures[name] = msgspec.structs.replace(failure, until=now)

    def held(self, now: float) -> set[str]:
        """Return the names that must not be requested now. Failures from the future (a wrong clock) do not count."""
        return {name for name, it in self.failures.items() if it.at - CLOCK_ERROR <= now < it.until}

    def load(self, storage: Storage) -> None:
        """Read the file.

        Raises:
            StorageError: it cannot be read. The state is then empty.

        """
        content = storage.read_file(_FILE)
        if content is None:
            return
        try:
            found = msgspec.json.decode(content, type=dict[str, Any])
            self.limits.load(found.get("orders", []))
            self.failures = msgspec.convert(found.get("failures", {}), dict[str, Failure])
        except (msgspec.MsgspecError, RecursionError) as error:
            raise StorageError(f"{storage.folder / _FILE} is damaged: {error}") from error
        self._written = content

    def save(self, storage: Storage) -> None:
        """Write the file if it has changed.

        Raises:
            StorageError: it cannot be written.

        """
        content = msgspec.json.encode({"failures": self.failures, "orders": self.limits.dump()})
        if content != self._written:
            storage.write(_FILE, content)
            self._written = content
