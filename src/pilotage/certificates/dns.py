"""Sets and removes DNS records through ``dns-lexicon``, and checks them on the authoritative servers.

Blocking: call it in a thread.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, Final

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.query
import dns.rdatatype
import dns.resolver
from lexicon.client import Client
from lexicon.config import ConfigResolver

from pilotage.certificates.errors import CertificateError
from pilotage.core.secrets import without

if TYPE_CHECKING:
    from collections.abc import Callable

    from pilotage.certificates.settings import DnsSettings

__all__ = ["DnsZoneEditor", "make_resolver"]

_QUERY_TIMEOUT: Final = 5.0  # seconds
_MOST_ALIASES: Final = 8  # CNAME records that are followed
_MOST_SERVERS: Final = 16  # authoritative addresses that are asked
_DEFAULT_TTL: Final = 120  # seconds; providers raise it to their minimum
_DEFAULT_RESOLVER = threading.Lock()
"""Held while dnspython's default resolver is replaced, because lexicon finds a zone with it."""


def make_resolver(servers: tuple[str, ...]) -> dns.resolver.Resolver:
    """Return a resolver that asks the given servers (``host`` or ``host:port``), or else the system's.

    Raises:
        CertificateError: a server is not an IP address, or the system has none.

    """
    try:
        resolver = dns.resolver.Resolver(configure=not servers)
        ports = {}
        for server in servers:
            host, port = _host_and_port(server)
            ports[host] = port
        if servers:
            resolver.nameservers = list(ports)
            resolver.nameserver_ports = ports
    except (dns.exception.DNSException, ValueError) as error:
        raise CertificateError(f"resolvers: {error}", "write IP addresses such as 1.1.1.1:53") from error
    resolver.lifetime = 2 * _QUERY_TIMEOUT
    resolver.cache = None
    return resolver


def _host_and_port(server: str) -> tuple[str, int]:
    if server.startswith("["):
        host, _, port = server[1:].partition("]")
        return host, int(port.removeprefix(":") or 53)
    if server.count(":") == 1:
        host, _, port = server.partition(":")
        return host, int(port)
    return server, 53


class DnsZoneEditor:
    """Edits TXT records at one DNS provider.

    Args:
        settings: the provider and its credentials.

    """

    def __init__(self, settings: DnsSettings) -> None:
        self.settings = settings
        self.resolver = make_resolver(settings.resolvers)

    def target(self, name: str) -> str:
        """Return the name where the record must be set, after following aliases (CNAME).

        Raises:
            CertificateError: a name server does not respond.

        """
        for _ in range(_MOST_ALIASES):
            try:
                answer = self.resolver.resolve(name, "CNAME", raise_on_no_answer=False)
            except dns.resolver.NXDOMAIN:
                return name
            except dns.exception.DNSException as error:
                raise _dns_error(name, error) from error
            if not answer.rrset:
                return name
            name = answer.rrset[0].target.to_text(omit_final_dot=True)
        raise CertificateError(f"{name}: too many aliases (CNAME)", "remove the loop of CNAME records")

    def create(self, name: str, value: str) -> None:
        """Create a TXT record.

        Raises:
            CertificateError: the provider refuses.

        """
        self._edit(name, "create", lambda operations: operations.create_record("TXT", f"{name}.", value))

    def delete(self, name: str, value: str) -> None:
        """Delete a TXT record; do nothing if it does not exist.

        Raises:
            CertificateError: the provider refuses.

        """
        self._edit(name, "delete", lambda operations: operations.delete_record(None, "TXT", f"{name}.", value))

    def _edit(self, name: str, verb: str, action: Callable[[Any], object]) -> None:
        options = dict(self.settings.options)
        who = self.settings.provider
        try:
            zone = dns.resolver.zone_for_name(name, resolver=self.resolver).to_text(omit_final_dot=True)
            values = {
                "provider_name": self.settings.lexicon,
                "domain": zone,
                "resolve_zone_name": True,  # otherwise, lexicon downloads a list of public suffixes to guess the zone
                "ttl": self.settings.ttl or _DEFAULT_TTL,
                self.settings.lexicon: {"domain": zone, **options},  # some providers look for it only here
            }
            with _DEFAULT_RESOLVER:
                previous, dns.resolver.default_resolver = dns.resolver.default_resolver, self.resolver
                try:
                    editor = Client(ConfigResolver().with_dict(values))
                finally:
                    dns.resolver.default_resolver = previous
            with editor as operations:
                done = action(operations)
        except dns.exception.DNSException as error:
            raise _dns_error(name, error) from error
        except Exception as error:  # providers raise whatever their libraries raise
            why = without(_first_line(error), options.values())
            hint = f"check the options of {who}: the token must be valid and must be allowed to edit the zone of {name}"
            raise CertificateError(f"{who} did not {verb} the TXT record {name}: {why}", hint) from error
        if done is False:
            raise CertificateError(f"{who} did not {verb} the TXT record {name}", f"check the options of {who}")

    def wait_until_seen(self, name: str, value: str, stop: Callable[[], bool]) -> None:
        """Wait until all authoritative servers of a zone have a record.

        Args:
            name: name of the TXT record.
            value: value of the TXT record.
            stop: returns whether to give up early.

        Raises:
            CertificateError: some server does not have the record in time.

        """
        began = time.monotonic()
        missing: list[str] = []
        while time.monotonic() - began < self.settings.propagation_seconds and not stop():
            try:
                servers = self._authoritative(name)
                missing = [server for server in servers if value not in self._texts(name, server)]
            except (dns.exception.DNSException, LookupError) as error:
                missing = [str(error)]
            if not missing:
                return
            time.sleep(self.settings.poll_seconds)
        waited = round(time.monotonic() - began)
        raise CertificateError(
            f"the TXT record {name} is not on all name servers after {waited} s; missing: {', '.join(missing[:4])}",
            f"check that the domain's name servers are those of {self.settings.provider}, "
            "or set propagation_timeout in options",
            names=frozenset(),
        )

    def _authoritative(self, name: str) -> list[str]:
        """Return the addresses of the zone's authoritative servers."""
        zone = dns.resolver.zone_for_name(name, resolver=self.resolver)
        found: list[str] = []
        for record in self.resolver.resolve(zone, "NS"):
            for family in ("A", "AAAA"):
                try:
                    found += [it.address for it in self.resolver.resolve(record.target, family)]
                    break  # one family is enough, and machines without IPv6 cannot ask the other
                except dns.exception.DNSException:
                    continue
        if not found:
            raise LookupError(f"the name servers of {zone} have no addresses")
        return list(dict.fromkeys(found))[:_MOST_SERVERS]

    @staticmethod
    def _texts(name: str, server: str) -> list[str]:
        query = dns.message.make_query(name, dns.rdatatype.TXT)
        query.flags &= ~dns.flags.RD
        try:
            response, _ = dns.query.udp_with_fallback(query, server, timeout=_QUERY_TIMEOUT)
        except (OSError, dns.exception.DNSException):
            return []
        found = [record for answer in response.answer for record in answer if record.rdtype == dns.rdatatype.TXT]
        return [b"".join(record.strings).decode("ascii", "replace") for record in found]


def _dns_error(name: str, error: Exception) -> CertificateError:
    return CertificateError(f"cannot look up the zone of {name}: {_first_line(error)}", "check the domain's DNS")


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
