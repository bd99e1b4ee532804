"""Finds the host names of routes that need a certificate. Pure."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from pilotage.certificates.plan import covers, why_not_public
from pilotage.core.problems import Problem
from pilotage.core.text import shorten
from pilotage.routes.hosts import DEFAULT, is_host, served_name
from pilotage.table.self_signed import SelfSigned

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from pilotage.certificates.settings import AutocertSettings, Entry
    from pilotage.certificates.state import Failure
    from pilotage.routes.route import Route

__all__ = ["HostList", "find_hosts", "names_of", "self_signed_routes", "uncovered"]

MOST_OF_ONE: Final = 50
"""Maximum number of host names of one container that get certificates, so that labels cannot use up a CA's rate
limits."""


class HostList:
    """The host names that need certificates.

    Attributes:
        wanted: name of an entry with ``domains: auto`` -> host names, sorted.
        problems: a warning for each container with too many names.

    """

    def __init__(self) -> None:
        self.wanted: dict[str, list[str]] = {}
        self.problems: list[Problem] = []


def find_hosts(
    routes: Iterable[Route], settings: AutocertSettings, is_served: Callable[[str], bool], other: Iterable[str] = ()
) -> HostList:
    """Return the host names of the served routes for which certificates are to be obtained.

    Args:
        routes: the routes of the table. Names that the policy denies to a container are not among them.
        settings: the certificates to obtain.
        is_served: takes an alias and returns whether the gateway serves its route.
        other: names in certificates from files. They, and the names that an entry lists, need no other certificate.

    """
    found = HostList()
    automatic = [entry for entry in settings.entries if entry.auto]
    if not automatic:
        return found
    covered = _listed_names(settings, other)
    chosen: dict[str, set[str]] = {entry.name: set() for entry in automatic}
    counted: Counter[tuple[str, str]] = Counter()
    limited: set[tuple[str, str]] = set()
    for route in sorted(routes, key=lambda route: (not route.is_static, route.created, route.alias)):
        name = served_name(route)
        if not name or route.is_stream or not is_served(route.alias):
            continue
        owner = (route.provider, route.container)
        for entry, host in _choices(name, automatic, settings.match_domains):
            if host in chosen[entry.name] or covers(covered, host):
                continue
            if not route.is_static and counted[owner] >= MOST_OF_ONE:
                if owner not in limited:
                    limited.add(owner)
                    found.problems.append(_too_many(route))
                continue
            counted[owner] += 1
            chosen[entry.name].add(host)
    found.wanted = {name: sorted(hosts) for name, hosts in chosen.items()}
    return found


def _choices(name: str, entries: Sequence[Entry], domains: Sequence[str]) -> Iterator[tuple[Entry, str]]:
    """Yield each host of a name with the first entry that can obtain a certificate for it."""
    for entry in entries:
        hosts = [host for host in names_of(name, domains, entry) if _is_possible(host, entry)]
        if hosts:
            yield from ((entry, host) for host in hosts)
            return


def _is_possible(host: str, entry: Entry) -> bool:
    if host.startswith("*.") and entry.dns is None and entry.method != "internal":
        return False
    return not why_not_public(host, private=entry.private)


def names_of(name: str, domains: Sequence[str], entry: Entry) -> list[str]:
    """Return the full host names for an alias or the name of a pool.

    Args:
        name: as :func:`~pilotage.routes.hosts.served_name` returns it.
        domains: the operator's own domains (``match_domains``).
        entry: the entry; our own CA also issues certificates for names below ``localhost``.

    """
    if name == DEFAULT or not is_host(name):
        return []
    if "." in name:
        return [name]
    if not domains and entry.method == "internal":
        return [f"{name}.localhost"]
    return [f"{name}.{domain}" for domain in domains]


def _too_many(route: Route) -> Problem:
    return Problem(
        message=f"only {MOST_OF_ONE} host names of this container get a certificate",
        hint="list the other names in autocert.domains, or use a wildcard with a DNS provider",
        severity="warning",
        provider=route.provider,
        container=route.container,
        route=route.alias,
    )


def uncovered(
    routes: Iterable[Route], settings: AutocertSettings, other: Iterable[str]
) -> Iterator[tuple[Route, str, str]]:
    """Yield route, host and reason for each full host name of a route that no certificate will cover.

    Args:
        routes: the served routes.
        settings: the certificates to obtain.
        other: names in certificates from files.

    """
    names = _listed_names(settings, other)
    automatic = [entry for entry in settings.entries if entry.auto]
    for route in routes:
        name = served_name(route)
        if not name or route.is_stream or name == DEFAULT or not is_host(name):
            continue
        hosts = [name] if "." in name else [f"{name}.{domain}" for domain in settings.match_domains]
        if not hosts and automatic and not any(names_of(name, (), entry) for entry in automatic):
            yield route, shorten(name), "it has no domain, and match_domains is not set"
        for host in hosts:
            if covers(names, host):
                continue
            why = _why_uncovered(host, automatic)
            if why:
                yield route, shorten(host), why


def _listed_names(settings: AutocertSettings, other: Iterable[str]) -> set[str]:
    return {name.lower() for name in other} | {name for entry in settings.entries for name in entry.domains}


def _why_uncovered(host: str, automatic: Sequence[Entry]) -> str:
    if not automatic:
        return "it is not in autocert.domains"
    if any(_is_possible(host, entry) for entry in automatic):
        return ""
    if why := why_not_public(host, private=automatic[0].private):
        return why
    return "a wildcard needs a DNS provider"


def self_signed_routes(
    routes: Iterable[Route], settings: AutocertSettings, since: Mapping[str, float], failures: Mapping[str, Failure]
) -> dict[str, SelfSigned]:
    """Return alias -> its host names that have only a self-signed certificate.

    Args:
        routes: the served routes.
        settings: what certificates are obtained for.
        since: host name -> when it got its self-signed certificate, in seconds since 1970.
        failures: host name -> its failed attempts.

    """
    found = {}
    for route in routes:
        name = served_name(route)
        hosts = {host for entry in settings.entries for host in names_of(name, settings.match_domains, entry)}
        names = tuple(sorted(host for host in hosts if host in since))
        if route.is_stream or not names:
            continue
        wildcards = [f"*.{host.partition('.')[2]}" for host in names]
        failed = [failure for host in (*names, *wildcards) if (failure := failures.get(host)) is not None]
        last = max(failed, key=lambda failure: failure.at, default=None)
        found[route.alias] = SelfSigned(
            names=names,
            since=min(since[host] for host in names),
            error=last.message if last is not None else "",
            next_attempt=last.until if last is not None else None,
        )
    return found
