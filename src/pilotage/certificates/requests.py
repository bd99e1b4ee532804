"""Lets operators request new certificates, within the limits of CAs."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Final

from pilotage.certificates.errors import RenewalRefusedError
from pilotage.certificates.plan import covers
from pilotage.core.suggest import did_you_mean
from pilotage.core.text import shorten

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pilotage.certificates.manager import CertificateManager
    from pilotage.certificates.status import CertificateStatus

__all__ = ["RenewalRequests"]

log = logging.getLogger(__name__)

_PAUSE: Final = 720.0
"""Seconds between two requests for the same name. Let's Encrypt allows five failures of a name in an hour."""


class RenewalRequests:
    """Accepts an operator's requests.

    Args:
        manager: obtains the certificates.

    """

    def __init__(self, manager: CertificateManager) -> None:
        self._manager = manager
        self._requested: dict[str, float] = {}  # name -> when its certificate was last requested

    def request(self, name: str) -> tuple[CertificateStatus, ...]:
        """Replace the certificates for a host name soon, or obtain the missing one, also after failures.

        Args:
            name: a host name of the certificates, or a name that one of their wildcards covers.

        Returns:
            The status of these certificates before the request.

        Raises:
            RenewalRefusedError: no route needs a certificate for the name, another process obtains the certificates, or
                it is too early for another attempt.

        """
        managed = self._manager.managed_names
        found = [it for it in self._manager.status() if covers(it.names, name)]
        needed = [it for it in found if managed & set(it.names) or any(covers(it.names, known) for known in managed)]
        if not needed:
            message = f"no route needs a certificate for {shorten(name)!r}"
            hint = did_you_mean(name, sorted(managed)) or "'pilotage certificates' lists the names"
            raise RenewalRefusedError(message, hint, reason="unknown")
        if not self._manager.leads:
            message = "this pilotage cannot obtain certificates now"
            hint = (
                "another pilotage uses the same folder, or the folder cannot be used; see 'pilotage check' and the log"
            )
            raise RenewalRefusedError(message, hint, reason="elsewhere")
        names = {known for status in needed for known in status.names}
        self._check(names, self._manager.now)
        self._requested |= dict.fromkeys(names, self._manager.now)
        log.info("an operator requested a new certificate for %s", ", ".join(sorted(names)))
        self._manager.renew(names)
        return tuple(needed)

    def _check(self, names: Iterable[str], now: float) -> None:
        failures = [failure for name in names if (failure := self._manager.failures.get(name)) is not None]
        closed = max((failure.closed_until for failure in failures), default=0.0)
        if closed > now:
            message = (
                f"the CA allows no other attempt before {time.strftime('%Y-%m-%d %H:%M UTC', time.gmtime(closed))}"
            )
            raise RenewalRefusedError(message, "pilotage tries again by itself", reason="early", wait=closed - now)
        again = max((self._requested.get(name, 0.0) for name in names), default=0.0) + _PAUSE
        if again > now:
            message = f"a new certificate was requested less than {_PAUSE / 60:.0f} minutes ago"
            hint = "'pilotage certificates' shows the result"
            raise RenewalRefusedError(message, hint, reason="early", wait=again - now)
