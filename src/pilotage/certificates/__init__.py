"""Obtains, stores and renews the certificates of the gateway: the section ``autocert`` of the configuration.

In go the settings and the served host names; out come certificates and ACME challenges for Envoys. The blocking
libraries that speak ACME and DNS run in threads, and are imported only if ``autocert`` is configured. Nothing here
knows how Envoy is configured: :class:`~pilotage.certificates.challenges.Gateway` is all that it needs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pilotage.core.lazy import lazy_exports

if TYPE_CHECKING:
    from pilotage.certificates.hosts import find_hosts, uncovered
    from pilotage.certificates.manager import CertificateManager
    from pilotage.certificates.packages import check_packages
    from pilotage.certificates.plan import why_not_public
    from pilotage.certificates.providers import OptionError, read_dns_options
    from pilotage.certificates.settings import (
        LETS_ENCRYPT,
        Authority,
        AutocertSettings,
        DnsSettings,
        Entry,
        KeyType,
        Method,
    )
    from pilotage.certificates.status import CertificateEvent, CertificateState, CertificateStatus, CertificateTotals

__all__ = [
    "LETS_ENCRYPT",
    "Authority",
    "AutocertSettings",
    "CertificateEvent",
    "CertificateManager",
    "CertificateState",
    "CertificateStatus",
    "CertificateTotals",
    "DnsSettings",
    "Entry",
    "KeyType",
    "Method",
    "OptionError",
    "check_packages",
    "find_hosts",
    "read_dns_options",
    "uncovered",
    "why_not_public",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "CertificateState": "status",
        "uncovered": "hosts",
        "Authority": "settings",
        "AutocertSettings": "settings",
        "CertificateEvent": "status",
        "CertificateManager": "manager",
        "CertificateStatus": "status",
        "CertificateTotals": "status",
        "DnsSettings": "settings",
        "Entry": "settings",
        "KeyType": "settings",
        "LETS_ENCRYPT": "settings",
        "Method": "settings",
        "OptionError": "providers",
        "check_packages": "packages",
        "find_hosts": "hosts",
        "read_dns_options": "providers",
        "why_not_public": "plan",
    },
)
