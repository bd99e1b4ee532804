"""Chooses the CA for an order, and tries the next one if the first cannot help."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Final

from pilotage.certificates.account import Account
from pilotage.certificates.authority import InternalAuthority
from pilotage.certificates.challenges import Solver, remove_record
from pilotage.certificates.dns import DnsZoneEditor
from pilotage.certificates.errors import CertificateError, StorageError
from pilotage.certificates.orders import connect, obtain
from pilotage.certificates.threads import in_thread

if TYPE_CHECKING:
    from pilotage.certificates.challenges import Gateway
    from pilotage.certificates.keeper import Keeper
    from pilotage.certificates.orders import Issued
    from pilotage.certificates.plan import Job
    from pilotage.certificates.settings import Authority, AutocertSettings
    from pilotage.certificates.storage import Stored

__all__ = ["Issuer"]

log = logging.getLogger(__name__)

_KEY: Final = 120.0  # seconds to make a key


class Issuer:
    """Obtains certificates from the CAs of an entry.

    Args:
        keeper: keeps account keys and counts orders.
        gateway: answers challenges.

    """

    def __init__(self, keeper: Keeper, gateway: Gateway) -> None:
        self._keeper = keeper
        self._gateway = gateway
        self._accounts: dict[Authority, Account] = {}
        self._refusals: dict[tuple[str, str], tuple[float, CertificateError]] = {}
        self._internal = InternalAuthority(keeper.storage)

    @property
    def skew(self) -> float:
        """Seconds by which the CAs' clocks are ahead of ours; 0 if it is less than an hour, or if the CAs disagree."""
        return min(
            (skew for account in self._accounts.values() if (skew := account.skew) is not None), key=abs, default=0.0
        )

    @property
    def knows_time(self) -> bool:
        """Whether a CA has told its time since the start."""
        return any(account.skew is not None for account in self._accounts.values())

    async def ask_time(self) -> None:
        """Connect to one of the CAs, so that :attr:`skew` is known."""
        for account in self._accounts.values():
            try:
                await connect(account)
            except CertificateError as error:
                log.debug("%s does not tell the time: %s", account.name, error)
            if account.skew is not None:
                return

    def configure(self, settings: AutocertSettings) -> None:
        """Keep one account for each CA in the settings. An account connects on first use."""
        used = dict.fromkeys(authority for entry in settings.entries for authority in entry.authorities)
        self._accounts = {it: self._accounts.get(it) or Account(it, self._keeper.storage) for it in used}

    def account_of(self, stored: Stored) -> Account | None:
        """Return the account with which a certificate was obtained; ``None`` if there is none."""
        for authority, account in self._accounts.items():
            if authority.directory == stored.directory:
                return account
        return None

    async def issue(self, job: Job, now: float) -> tuple[Issued, str]:
        """Obtain a certificate.

        Args:
            job: the certificate to obtain.
            now: seconds since 1970.

        Returns:
            The certificate, and the directory of the CA that issued it; ``""`` for our own CA.

        Raises:
            CertificateError: no CA issued it.

        """
        if job.entry.method == "internal":
            return await in_thread(lambda: self._internal.issue(job.names, job.entry.key_type, now), _KEY), ""
        failures: list[CertificateError] = []
        for authority in job.entry.authorities:
            try:
                self._check_refusal(job, authority, now)
                return await self._from_ca(job, authority, now), authority.directory
            except CertificateError as error:
                failures.append(error)
                if error.retry_after > 0:
                    for name in error.names or job.names:
                        self._refusals[authority.directory, name] = now + error.retry_after, error
                if not error.elsewhere:
                    break
        if len(failures) == 1:
            raise failures[0]
        last = failures[-1]
        raise CertificateError(
            "; then ".join(failure.what for failure in failures),
            last.hint or failures[0].hint,
            names=last.names,
            validated=any(failure.validated for failure in failures),
            retry_after=min(failure.retry_after for failure in failures),
            elsewhere=False,
        ) from last

    def forget_refusals(self) -> None:
        """Ask all CAs again, because the operator wants it."""
        self._refusals.clear()
        for account in self._accounts.values():
            account.forget_refusal()

    def _check_refusal(self, job: Job, authority: Authority, now: float) -> None:
        """Raise a CA's refusal again for as long as the CA wants to wait, even if another CA is asked earlier."""
        self._refusals = {key: it for key, it in self._refusals.items() if it[0] > now}
        for name in job.names:
            if (refusal := self._refusals.get((authority.directory, name))) is not None:
                until, error = refusal
                raise CertificateError(
                    error.what, error.hint, names=error.names, retry_after=until - now, elsewhere=error.elsewhere
                )

    async def _from_ca(self, job: Job, authority: Authority, now: float) -> Issued:
        limits = self._keeper.state.limits
        replaced = next((it for it in self._keeper.stored if _is_replaced(it, job, authority)), None)
        lifetime = replaced.leaf.not_after - replaced.leaf.not_before if replaced is not None else math.inf
        wait, why = limits.wait(now, authority.directory, job.names, renewal=job.renewal, lifetime=lifetime)
        if wait > 0:
            message = f"pilotage requests no further certificates for now: it has reached its own limit of {why}"
            hint = "check which containers claim so many names; this limit is below those of CAs"
            raise CertificateError(message, hint, retry_after=wait)
        account = self._accounts.get(authority) or Account(authority, self._keeper.storage)
        solver = Solver(job.entry.method, self._gateway, job.entry.dns, self._keeper.journal)
        succeeded = limits.begin(now, authority.directory, job.names, renewal=job.renewal)
        await self._keeper.save_state()  # before the CA counts the order, because this process may be killed
        chain = replaced.chain if replaced is not None else b""
        issued = await obtain(account, job.names, job.entry.method, solver, job.entry.key_type, replaced=chain)
        succeeded()
        return issued

    async def remove_old_records(self, settings: AutocertSettings) -> None:
        """Remove the DNS records that an earlier process or a failed removal left behind."""
        options = {entry.dns.provider: entry.dns for entry in settings.entries if entry.dns is not None}
        try:
            for record in self._keeper.journal.left_behind:
                if record.provider in options:
                    await remove_record(DnsZoneEditor(options[record.provider]), record, self._keeper.journal)
        except (CertificateError, StorageError) as error:
            log.warning("DNS records of earlier challenges are left behind for now: %s", error)


def _is_replaced(stored: Stored, job: Job, authority: Authority) -> bool:
    return job.renewal and (stored.lineage, stored.directory) == (job.lineage, authority.directory)
