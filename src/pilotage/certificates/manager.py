"""Obtains and renews certificates, and gives them to Envoys, for as long as the daemon runs."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any, Final

from pilotage.certificates.authority import ROOT
from pilotage.certificates.errors import CertificateError
from pilotage.certificates.issuer import Issuer
from pilotage.certificates.keeper import Keeper
from pilotage.certificates.orders import renewal_window
from pilotage.certificates.plan import plan
from pilotage.certificates.renewal import Renewal, jitter_of, renewal_time
from pilotage.certificates.report import problems_of, statuses
from pilotage.certificates.served import served_certificates
from pilotage.certificates.status import CertificateEvent, CertificateTotals
from pilotage.core.text import count

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
    from collections.abc import Set as AbstractSet
    from pathlib import Path
    from typing import Protocol

    from pilotage.certificates.challenges import Gateway
    from pilotage.certificates.orders import Issued
    from pilotage.certificates.plan import Job
    from pilotage.certificates.settings import AutocertSettings
    from pilotage.certificates.state import Failure
    from pilotage.certificates.status import CertificateStatus, EventKind
    from pilotage.certificates.storage import Stored
    from pilotage.certificates.x509 import Leaf
    from pilotage.core.problems import Problem
    from pilotage.xds.served_certificates import ServedCertificate

    class Server(Gateway, Protocol):
        """What Envoys must do: answer challenges and serve certificates."""

        def set_certificates(self, certificates: Sequence[ServedCertificate]) -> None:
            """Serve exactly these certificates, besides those from files."""

        def set_managed_names(self, names: AbstractSet[str]) -> None:
            """Serve a self-signed certificate for each of these names that has no other."""


__all__ = ["CertificateManager"]

log = logging.getLogger(__name__)

_AT_ONCE: Final = 4  # orders
_SETTLE: Final = 1.0
"""Seconds to wait for more names after the first new one, so that a group of containers shares a certificate."""

_IDLE: Final = 3600.0
_RETRY: Final = 30.0
"""Maximum seconds until the next check. Also the pause while the folder is unusable or another process renews."""

_LONGEST_WAIT: Final = 86_460.0  # seconds until a CA is asked again for a renewal window, as it wishes
_ASK_AGAIN: Final = 6 * 3600.0  # seconds until a CA is asked again for a renewal window, after an error
_MOST_EVENTS: Final = 200
_KEPT: Final = 30 * 86_400.0  # seconds for which an expired certificate is kept
_CLEAN: Final = 900.0  # seconds between two attempts to remove DNS records that were left behind


class CertificateManager:
    """Keeps a valid certificate for every name that needs one.

    Args:
        settings: the certificates to obtain.
        folder: where certificates and account keys are kept.
        server: serves the certificates and answers challenges.
        hosts: returns, for each entry with ``domains: auto``, the host names that need a certificate.
        clock: returns the time in seconds since 1970.
        settle: seconds to wait for more names after the first new one.

    Attributes:
        totals: counts of events since the start.
        events: the latest events, the newest last.
        on_event: functions that are called with each event.

    """

    def __init__(
        self,
        settings: AutocertSettings,
        folder: Path,
        server: Server,
        hosts: Callable[[], Mapping[str, Sequence[str]]] = dict,
        *,
        clock: Callable[[], float] = time.time,
        settle: float = _SETTLE,
    ) -> None:
        self.totals = CertificateTotals()
        self.events: list[CertificateEvent] = []
        self.on_event: list[Callable[[CertificateEvent], object]] = []
        self._settings = settings
        self._server = server
        self._hosts = hosts
        self._clock = clock
        self._settle = settle
        self._keeper = Keeper(folder, self._note)
        self._issuer = Issuer(self._keeper, server)
        self._issuer.configure(settings)
        self._wanted: Mapping[str, Sequence[str]] = {}
        self._renewals: dict[str, tuple[str, Renewal]] = {}  # lineage -> serial number, when
        self._ordering: dict[str, Job] = {}  # lineage -> its order
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._woken = asyncio.Event()
        self._published: object = None
        self._valid: set[str] = set()  # serial numbers of the certificates that were valid at the last look
        self._clean_at = 0.0  # by the event loop's clock
        self._asked_time = False

    @property
    def now(self) -> float:
        """The time in seconds since 1970, by the clock of the CAs if ours is wrong by more than an hour."""
        return self._clock() + self._issuer.skew

    @property
    def managed_names(self) -> frozenset[str]:
        """The names for which clients expect a certificate."""
        listed = {name for entry in self._settings.entries for name in entry.domains}
        return frozenset(listed | {name for names in self._wanted.values() for name in names})

    @property
    def leads(self) -> bool:
        """Whether this process obtains certificates; otherwise, another one with the same folder does."""
        return self._keeper.leads

    @property
    def failures(self) -> Mapping[str, Failure]:
        """The failed attempts by name."""
        return self._keeper.state.failures

    def wake(self) -> None:
        """Check soon, because host names may have changed."""
        self._woken.set()

    def configure(self, settings: AutocertSettings) -> None:
        """Apply new settings. Orders in progress are finished."""
        self._settings = settings
        self._issuer.configure(settings)
        self.wake()

    def renew(self, names: Iterable[str] = ()) -> int:
        """Renew certificates as soon as possible, even after a failure. Return how many.

        Args:
            names: renew only certificates with one of these names; if empty, all.

        """
        chosen = set(names)
        found = [it for it in self._keeper.stored if not chosen or chosen & set(it.names)]
        for it in found:
            self._renewals[it.lineage] = (it.leaf.serial, Renewal(0.0, self.now + _ASK_AGAIN))
        self._issuer.forget_refusals()
        self._keeper.state.retry([name for name in self.failures if not chosen or name in chosen], self.now)
        self.wake()
        return len(found)

    async def root(self) -> bytes | None:
        """Return the root certificate of our own CA as PEM; ``None`` if it has issued nothing yet.

        Raises:
            StorageError: it cannot be read.

        """
        return await self._keeper.read(ROOT)

    # ---- life

    async def run(self) -> None:
        """Obtain and renew certificates until cancelled."""
        try:
            while True:
                self._woken.clear()
                try:
                    until = await self._look()
                except Exception:  # the daemon and its routes must survive any error here
                    log.exception("internal error in the certificate manager; please report it")
                    until = self.now + _RETRY
                await self._sleep(until)
        finally:
            tasks = list(self._tasks.values())
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks)
            self._keeper.close()

    async def _sleep(self, until: float) -> None:
        try:
            async with asyncio.timeout(min(max(until - self.now, 0.05), _IDLE)):
                await self._woken.wait()
        except TimeoutError:
            return
        await asyncio.sleep(self._settle)

    async def _look(self) -> float:
        """Begin all orders that are due; return the time of the next check, in seconds since 1970."""
        self._wanted = dict(self._hosts())
        if not await self._keeper.ready(self._settings.entries):
            self._note_expired(self.now)
            self._publish()
            return self.now + _RETRY
        self._remove_records()
        self._ask_cas()
        now = self.now
        self._note_expired(now)
        due = {it.lineage for it in self._keeper.stored if self.renewal_of(it).at <= now or not it.is_valid(now)}
        held = self._keeper.state.held(now) | {name for job in self._ordering.values() for name in job.names}
        jobs = plan(
            self._settings.entries,
            self._wanted,
            self._keeper.stored,
            due=due - set(self._ordering),
            held=held,
            match_domains=self._settings.match_domains,
            now=now,
        )
        self._publish()
        if jobs and not (self._asked_time or self._issuer.knows_time):
            if "time" not in self._tasks:
                self._start("time", self._ask_time())
            return now + _RETRY  # or as soon as the time is known
        self._asked_time = False
        for job in jobs:
            self._ordering[job.lineage] = job
            self._start(f"order {job.lineage}", self._order(job))
        await self._keeper.tidy(self.managed_names, now - _KEPT, clock_is_right=self._issuer.knows_time)
        return self._next(now)

    async def _ask_time(self) -> None:
        """Ask a CA for the time before the first orders: with a wrong clock, all certificates can seem to be due."""
        try:
            await self._issuer.ask_time()
        finally:
            self._asked_time = True
            self._woken.set()

    def _remove_records(self) -> None:
        """Remove DNS records that an earlier process or a failed removal left behind, in the background."""
        time = asyncio.get_running_loop().time()
        if time >= self._clean_at and "records" not in self._tasks:
            self._clean_at = time + _CLEAN
            self._start("records", self._issuer.remove_old_records(self._settings))

    def _start(self, name: str, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(coroutine, name=name)
        self._tasks[name] = task
        task.add_done_callback(lambda _: self._tasks.pop(name, None))

    def _next(self, now: float) -> float:
        times = [now + _IDLE]
        times += [it.leaf.not_after for it in self._keeper.stored]
        times += [failure.until for failure in self._keeper.state.failures.values()]
        times += [time for _, it in self._renewals.values() for time in (it.at, it.ask_again) if time]
        if self._keeper.has_unsaved:
            times.append(now + _RETRY)
        return min([time for time in times if time > now])

    async def prepare(self) -> None:
        """Serve the stored certificates before the host names of routes are known."""
        await self._keeper.ready(self._settings.entries)
        self._publish()

    def _publish(self) -> None:
        # Certificates are served even while no route needs them: after a restart, Envoys still have routes of engines
        # that have not been listed yet.
        known = [it for it in self._keeper.stored if it.leaf.not_after > self.now or not self._issuer.knows_time]
        names = self.managed_names | {name for it in known for name in it.names}
        served = served_certificates(self._keeper.stored, names, self.now)
        state = (names, [(it.names, it.pair) for it in served])
        if state != self._published:
            self._published = state
            self._server.set_certificates(served)  # first, so that these names need no self-signed certificates
            self._server.set_managed_names(names)

    # ---- renewal times

    def renewal_of(self, stored: Stored) -> Renewal:
        """Return when a certificate will be renewed."""
        serial, renewal = self._renewals.get(stored.lineage, ("", None))
        if renewal is None or serial != stored.leaf.serial:
            at = renewal_time(stored.leaf.not_before, stored.leaf.not_after, jitter_of(stored.leaf.serial))
            renewal = Renewal(at, ask_again=self.now if self._issuer.account_of(stored) is not None else 0.0)
            self._renewals[stored.lineage] = (stored.leaf.serial, renewal)
        return renewal

    def _ask_cas(self) -> None:
        """Ask CAs when to renew certificates (ARI), one after the other, in the background."""
        now = self.now
        times = [(it, self.renewal_of(it).ask_again) for it in self._keeper.stored]
        # A time further ahead than a CA can ask for was noted while the clock was wrong.
        asking = [it for it, at in times if at and not now < at <= now + _LONGEST_WAIT]
        if asking and "ask" not in self._tasks:
            self._start("ask", self._ask(asking))

    async def _ask(self, asking: Sequence[Stored]) -> None:
        for it in asking:
            account = self._issuer.account_of(it)
            renewal = self.renewal_of(it)
            at, wait = None, _ASK_AGAIN
            try:
                if account is not None:
                    at, wait = await renewal_window(account, it.chain)
            except (CertificateError, TimeoutError) as error:
                log.debug("no renewal window for %s: %s", it.lineage, error)
            again = self.now + max(wait, 60)
            own = renewal_time(it.leaf.not_before, it.leaf.not_after, jitter_of(it.leaf.serial))
            if renewal.at == 0.0:  # requested by the operator meanwhile
                own, at = 0.0, None
            # A CA that names a window after the certificate's end must not leave the name without a certificate.
            latest = it.leaf.not_after - (it.leaf.not_after - it.leaf.not_before) * 0.1
            when = Renewal(min(at, latest), again, by_ca=True) if at is not None else Renewal(own, again)
            self._renewals[it.lineage] = (it.leaf.serial, when)
        self._woken.set()

    # ---- orders

    async def _order(self, job: Job) -> None:
        try:
            async with self._slots:
                issued, directory = await self._issuer.issue(job, self.now)
                await self._keep(job, issued, directory)
        except CertificateError as error:
            self._failed(job, error)
        except Exception as error:
            log.exception("internal error while obtaining a certificate; please report it")
            self._failed(job, CertificateError(f"internal error: {error!r}", "please report it"))
        finally:
            self._ordering.pop(job.lineage, None)
            await self._keeper.save_state()
            self._woken.set()

    async def _keep(self, job: Job, issued: Issued, directory: str) -> None:
        await self._keeper.keep(job, issued, directory)
        self._keeper.state.succeed(job.names)
        self._renewals.pop(job.lineage, None)
        verb = "renewed" if job.renewal else "issued"
        setattr(self.totals, verb, getattr(self.totals, verb) + 1)
        text = _validity(issued.leaf)
        self._record(CertificateEvent("renewed" if job.renewal else "issued", job.names, self.now, text))
        log.info("certificate %s for %s: %s", verb, _listed(job.names), text)
        self._publish()

    def _failed(self, job: Job, error: CertificateError) -> None:
        names = (error.names & set(job.names)) or frozenset(job.names)
        self.totals.failed += 1
        known = {failure.message for name in names if (failure := self._keeper.state.failures.get(name)) is not None}
        self._keeper.state.fail(names, error, self.now)
        wait = max(self._keeper.state.failures[name].until for name in names) - self.now
        self._record(CertificateEvent("failed", tuple(sorted(names)), self.now, str(error)))
        level = logging.INFO if error.what in known else logging.ERROR
        log.log(level, "no certificate for %s: %s (next attempt in %.0f s)", _listed(sorted(names)), error, wait)

    def _note(self, kind: EventKind, stored: Stored) -> None:
        self._record(CertificateEvent(kind, stored.names, self.now, _validity(stored.leaf)))

    def _note_expired(self, now: float) -> None:
        valid = {it.leaf.serial for it in self._keeper.stored if it.is_valid(now)}
        for it in self._keeper.stored:
            if it.leaf.serial in self._valid - valid:
                self._note("expired", it)
                log.error("the certificate for %s has expired", _listed(it.names))
        self._valid = valid

    def _record(self, event: CertificateEvent) -> None:
        self.events.append(event)
        del self.events[:-_MOST_EVENTS]
        for function in self.on_event:
            function(event)

    # ---- what is shown

    def status(self) -> tuple[CertificateStatus, ...]:
        """Return the certificates, and the names that have none, sorted by name."""
        ordering = {name for job in self._ordering.values() for name in job.names}
        return statuses(
            self._settings.entries, self._keeper, self.managed_names, ordering, self.renewal_of, now=self.now
        )

    def problems(self) -> tuple[Problem, ...]:
        """Return the problems with the folder, and with names whose last attempt failed."""
        managed = self.managed_names
        failures = {name: it for name, it in self._keeper.state.failures.items() if name in managed}
        return problems_of(self._keeper.problems, failures, self._issuer.skew)


def _validity(leaf: Leaf) -> str:
    return f"by {leaf.issuer}, valid until {time.strftime('%Y-%m-%d %H:%M UTC', time.gmtime(leaf.not_after))}"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 3 else f"{', '.join(names[:2])} and {count(len(names) - 2, 'other name')}"
