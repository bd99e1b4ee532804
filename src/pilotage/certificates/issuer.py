"""Chooses the CA for an order, and tries the next one if the first cannot help."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pilotage.certificates.account import Account
from pilotage.certificates.authority import InternalAuthority
from pilotage.certificates.challenges import Solver, remove_record
from pilotage.certificates.dns import DnsZoneEditor
from pilotage.certificates.errors import CertificateError
from pilotage.certificates.orders import obtain
from pilotage.certificates.threads import in_thread

if TYPE_CHECKING:
    from pilotage.certificates.challenges import Gateway
    from pilotage.certificates.keeper import Keeper
    from pilotage.certificates.orders import Issued
    from pilotage.certificates.plan import Job
    from pilotage.certificates.settings import Authority, AutocertSettings
    from pilotage.certificates.storage import Stored

__all__ = ["Issuer"]

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
        self._internal = InternalAuthority(keeper.storage)

    @property
    def skew(self) -> float:
        """Seconds by which the CAs' clocks are ahead of ours; 0 if it is less than an hour."""
        return max((account.skew for account in self._accounts.values()), key=abs, default=0.0)

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
                return await self._from_ca(job, authority, now), authority.directory
            except CertificateError as error:
                failures.append(error)
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

    async def _from_ca(self, job: Job, authority: Authority, now: float) -> Issued:
        limits = self._keeper.state.limits
        wait, why = limits.wait(now, authority.directory, job.names, renewal=job.renewal)
        if wait > 0:
            message = f"pilotage requests no further certificates for now: it has reached its own limit of {why}"
            hint = "check which containers claim so many names; this limit is below those of CAs"
            raise CertificateError(message, hint, retry_after=wait)
        account = self._accounts.get(authority) or Account(authority, self._keeper.storage)
        solver = Solver(job.entry.method, self._gateway, job.entry.dns, self._keeper.journal)
        done = False
        try:
            issued = await obtain(account, job.names, job.entry.method, solver, job.entry.key_type)
            done = True
        finally:
            limits.record(now, authority.directory, job.names, renewal=job.renewal, issued=done)
        return issued

    async def remove_old_records(self, settings: AutocertSettings) -> None:
        """Remove the DNS records that an earlier process left behind."""
        editors = {entry.dns.provider: DnsZoneEditor(entry.dns) for entry in settings.entries if entry.dns is not None}
        for record in self._keeper.journal.records:
            if record.provider in editors:
                await remove_record(editors[record.provider], record, self._keeper.journal)
