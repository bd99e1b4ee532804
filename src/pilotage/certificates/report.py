"""Describes certificates and failed attempts. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pilotage.certificates.status import CertificateState, CertificateStatus
from pilotage.core.problems import Problem
from pilotage.core.text import count

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from pilotage.certificates.keeper import Keeper
    from pilotage.certificates.renewal import Renewal
    from pilotage.certificates.settings import Entry
    from pilotage.certificates.state import Failure
    from pilotage.certificates.storage import Stored

__all__ = ["problems_of", "statuses"]


def statuses(
    entries: Sequence[Entry],
    keeper: Keeper,
    managed: Iterable[str],
    ordering: set[str],
    renewal_of: Callable[[Stored], Renewal],
    *,
    now: float,
) -> tuple[CertificateStatus, ...]:
    """Return the state of each certificate, and of each name that has none, sorted by name.

    Args:
        entries: the configured entries.
        keeper: the certificates, and failures.
        managed: the names that need a certificate.
        ordering: the names in orders that are in progress.
        renewal_of: returns when a certificate will be renewed.
        now: seconds since 1970.

    """
    methods = {entry.name: entry.method for entry in entries}
    found = []
    covered: set[str] = set()
    for it in keeper.stored:
        renewal = renewal_of(it)
        valid = it.is_valid(now)
        if valid:
            covered.update(it.names)
        failed = [failure for name in it.names if (failure := keeper.state.failures.get(name)) is not None]
        failure = max(failed, key=lambda failure: failure.at, default=None)
        found.append(
            CertificateStatus(
                names=it.names,
                state="valid" if valid else "expired",
                entry=it.entry,
                method=methods.get(it.entry, ""),
                issuer=it.leaf.issuer,
                serial=it.leaf.serial,
                not_before=it.leaf.not_before,
                not_after=it.leaf.not_after,
                renew_at=renewal.at,
                renewal_by_ca=renewal.by_ca,
                renewing=bool(ordering & set(it.names)),
                file=str(keeper.storage.folder / "live" / it.lineage / "fullchain.pem"),
                **_failure(failure),
            )
        )
    for entry in entries:
        for name in sorted(set(managed)):
            wildcard = f"*.{name.partition('.')[2]}"
            if name in covered or (wildcard in covered and not name.startswith("*.")):
                continue
            covered.add(name)
            failure = keeper.state.failures.get(name) or keeper.state.failures.get(wildcard)
            state: CertificateState = "requested" if name in ordering else "waiting" if failure is None else "failed"
            found.append(
                CertificateStatus(
                    names=(name,),
                    state=state,
                    entry=entry.name,
                    method=entry.method,
                    renewing=name in ordering,
                    **_failure(failure),
                )
            )
    return tuple(sorted(found, key=lambda status: (status.names, status.not_after)))


def _failure(failure: Failure | None) -> dict[str, Any]:
    if failure is None:
        return {}
    return {
        "error": failure.message,
        "hint": failure.hint,
        "failures": failure.count,
        "next_attempt": failure.until,
    }


def problems_of(folder: Iterable[str], failures: Mapping[str, Failure], skew: float) -> tuple[Problem, ...]:
    """Return the problems that operators should see.

    Args:
        folder: the problems with the folder.
        failures: name -> its failures.
        skew: seconds by which the CAs' clocks are ahead of ours; 0 if it is less than an hour.

    """
    found = [
        Problem(
            message=message,
            hint="free some disk space, or give pilotage access to the folder; pilotage keeps serving its certificates",
            path="autocert",
        )
        for message in folder
    ]
    if skew:
        way = "behind" if skew > 0 else "ahead of"
        message = f"this machine's clock is {abs(skew) / 3600:.1f} hours {way} that of the CA"
        found.append(Problem(message=message, hint="set the clock, for example with NTP", path="autocert"))
    by_reason: dict[tuple[str, str], list[tuple[str, Failure]]] = {}
    for name, failure in sorted(failures.items()):
        by_reason.setdefault((failure.message, failure.hint), []).append((name, failure))
    for (message, hint), members in by_reason.items():
        names = ", ".join(name for name, _ in members[:3])
        more = f" and {count(len(members) - 3, 'other name')}" if len(members) > 3 else ""
        text = f"no certificate for {names}{more}: {message}"
        found.append(Problem(message=text, hint=hint, path="autocert"))
    return tuple(found)
