"""Decides which certificates to obtain for which names. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import msgspec

from pilotage.certificates.settings import Entry  # msgspec reads the annotation
from pilotage.core.addresses import is_address

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from pilotage.certificates.storage import Stored

__all__ = ["INTERNAL", "Job", "covers", "is_usable", "lineage_name", "plan", "why_not_public"]

INTERNAL: Final = "internal"
"""Stands for the directory of our own CA."""

_MOST_IN_BATCH: Final = 25
"""Maximum host names of routes in one certificate. CAs allow 100, but with more names, a bad one delays more others."""

_LOCAL: Final = ("localhost", "local", "lan", "home", "internal", "intranet", "private", "corp", "test", "example")
_LOCAL_SUFFIXES: Final = (*_LOCAL, "invalid", "onion", "home.arpa", "localdomain", "alt")
_HOST: Final = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)(?:\.(?!-)[a-z0-9-]{1,63}(?<!-))+")
_LONGEST: Final = 253


class Job(msgspec.Struct, frozen=True):
    """A certificate to obtain.

    Attributes:
        entry: the entry of the configuration that asks for the certificate.
        names: the host names of the certificate, sorted.
        lineage: the name under which the certificate is stored.
        renewal: whether the new certificate replaces a certificate for the same names.

    """

    entry: Entry
    names: tuple[str, ...]
    lineage: str
    renewal: bool = False


def covers(names: Collection[str], name: str) -> bool:
    """Return whether a name is among others, or matches a wildcard among them, which stands for one label."""
    return name in names or (f"*.{name.partition('.')[2]}" in names and not name.startswith("*."))


def why_not_public(name: str, *, private: bool = False) -> str:
    """Return why no CA can issue a certificate for a host name; ``""`` if one can.

    Args:
        name: a host name in lower case and ASCII; it may be a wildcard.
        private: whether our own CA is asked, which issues certificates for local names, too.

    """
    host = name.removeprefix("*.")
    if is_address(host):
        return "it is an IP address"
    if len(host) > _LONGEST or "*" in host or (not _HOST.fullmatch(host) and not (private and _bare(host))):
        return "it has no domain" if _bare(host) else "it is not a valid host name"
    if not private and any(host == suffix or host.endswith(f".{suffix}") for suffix in _LOCAL_SUFFIXES):
        return "it is a local name"
    return ""


def _bare(host: str) -> bool:
    return re.fullmatch(r"(?!-)[a-z0-9-]{1,63}(?<!-)", host) is not None


def lineage_name(names: Sequence[str], taken: Iterable[str] = ()) -> str:
    """Return the name under which a certificate is stored: its first name without the wildcard, made unique."""
    base = names[0].removeprefix("*.")[:180] or "certificate"
    used, number, found = set(taken), 1, base
    while found in used:
        found, number = f"{base}-{number:04}", number + 1
    return found


def plan(
    entries: Sequence[Entry],
    wanted: Mapping[str, Sequence[str]],
    stored: Sequence[Stored],
    *,
    due: Iterable[str] = (),
    held: Iterable[str] = (),
    match_domains: Sequence[str] = (),
    now: float = 0.0,
) -> list[Job]:
    """Return the certificates to obtain now.

    Args:
        entries: the configured entries, the main one first.
        wanted: name of an entry with ``domains: auto`` -> host names of routes that need a certificate.
        stored: the certificates that exist.
        due: lineages that have to be renewed.
        held: names that must not be requested now, because another order contains them or a recent attempt failed.
        match_domains: the operator's own domains.
        now: seconds since 1970.

    """
    jobs: list[Job] = []
    overdue, waiting = set(due), set(held)
    taken = {it.lineage for it in stored}
    covered: set[str] = set()
    for entry in entries:
        usable = sorted(
            (it for it in stored if is_usable(it, entry)), key=lambda it: (it.entry != entry.name, it.lineage)
        )
        if entry.auto:
            hosts = [
                name for name in _shortened(entry, wanted.get(entry.name, ()), match_domains) if name not in covered
            ]
            covered.update(hosts)
            current = [it for it in usable if it.is_valid(now) and it.lineage not in overdue]
            made = _auto(hosts, current, [it for it in usable if it.lineage in overdue], waiting)
        else:
            made = _listed(entry, usable, overdue, waiting)
        for names, lineage in made:
            name = lineage or lineage_name(names, taken)
            taken.add(name)
            jobs.append(Job(entry, names, name, renewal=bool(lineage)))
            waiting.update(names)
    return jobs


def is_usable(stored: Stored, entry: Entry) -> bool:
    """Return whether a certificate was issued by a CA of an entry, or taken over from files."""
    if entry.method == "internal":
        return stored.directory == INTERNAL
    return stored.directory in {"", *(authority.directory for authority in entry.authorities)}


def _listed(entry: Entry, usable: list[Stored], due: set[str], held: set[str]) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield the certificate of an entry with a list of names, if it is missing or due."""
    names = tuple(sorted(entry.domains))
    if held & set(names):
        return
    known = next((it for it in usable if set(names) == set(it.names)), None)
    if known is None or known.lineage in due:
        yield names, known.lineage if known is not None else ""


def _auto(
    hosts: Sequence[str], current: list[Stored], due: list[Stored], held: set[str]
) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield the certificates that host names of routes need.

    Args:
        hosts: the names to cover.
        current: valid certificates that need no renewal.
        due: certificates that need a renewal.
        held: names that must not be requested now.

    """
    exact = {name for it in current for name in it.names}
    lineages = {name: it.lineage for it in reversed(due) for name in it.names}
    missing: list[str] = []
    renewing: dict[str, list[str]] = {}
    for name in hosts:
        wildcard = f"*.{name.partition('.')[2]}"
        if name in exact or (wildcard in exact and not name.startswith("*.")) or name in held:
            continue
        lineage = lineages.get(name) or ("" if name.startswith("*.") else lineages.get(wildcard, ""))
        if lineage:
            renewing.setdefault(lineage, []).append(name)
        else:
            missing.append(name)
    for lineage, names in renewing.items():
        yield tuple(sorted(names)), lineage
    for batch in _batches(missing):
        yield batch, ""


def _shortened(entry: Entry, hosts: Sequence[str], match_domains: Sequence[str]) -> list[str]:
    """Return the names to request: one wildcard instead of all names directly below one of the operator's domains."""
    if entry.dns is None:
        return sorted(set(hosts))
    domains = {domain.lower() for domain in match_domains}
    found = set()
    for host in hosts:
        parent = host.partition(".")[2]
        found.add(f"*.{parent}" if parent in domains and not host.startswith("*.") else host)
    return sorted(found)


def _batches(names: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Yield the names in groups for one certificate each: those below the same domain together."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(".".join(name.rsplit(".", 2)[-2:]), []).append(name)
    for group in groups.values():
        group.sort()
        for start in range(0, len(group), _MOST_IN_BATCH):
            yield tuple(group[start : start + _MOST_IN_BATCH])
