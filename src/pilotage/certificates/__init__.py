"""Obtains, stores and renews the certificates of the gateway: the section ``autocert`` of the configuration.

The settings and the served host names go in; certificates and ACME challenges for Envoys come out. The blocking
libraries for ACME and DNS run in threads, and are imported only if ``autocert`` is configured. This package must not
know how Envoy is configured; it uses only :class:`~pilotage.certificates.challenges.Gateway`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pilotage.core.lazy import lazy_exports

if TYPE_CHECKING:
    from pilotage.certificates.errors import RenewalRefusedError, StorageError
    from pilotage.certificates.hosts import find_hosts, self_signed_routes, uncovered
    from pilotage.certificates.manager import CertificateManager
    from pilotage.certificates.packages import check_packages
    from pilotage.certificates.plan import why_not_public
    from pilotage.certificates.providers import OptionError, read_dns_options
    from pilotage.certificates.requests import RenewalRequests
    from pilotage.certificates.settings import (
        LETS_ENCRYPT,
        Authority,
        AutocertSettings,
        DnsSettings,
        Entry,
        KeyType,
        Method,
    )
    from pilotage.certificates.status import (
        CertificateEvent,
        CertificateState,
        CertificateStatus,
        CertificateTotals,
    )

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
    "RenewalRefusedError",
    "RenewalRequests",
    "StorageError",
    "check_packages",
    "find_hosts",
    "read_dns_options",
    "self_signed_routes",
    "uncovered",
    "why_not_public",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "uncovered": "hosts",
        "Authority": "settings",
        "AutocertSettings": "settings",
        "CertificateEvent": "status",
        "CertificateManager": "manager",
        "CertificateState": "status",
        "CertificateStatus": "status",
        "CertificateTotals": "status",
        "DnsSettings": "settings",
        "Entry": "settings",
        "KeyType": "settings",
        "LETS_ENCRYPT": "settings",
        "Method": "settings",
        "OptionError": "providers",
        "RenewalRefusedError": "errors",
        "RenewalRequests": "requests",
        "StorageError": "errors",
        "check_packages": "packages",
        "find_hosts": "hosts",
        "read_dns_options": "providers",
        "self_signed_routes": "hosts",
        "why_not_public": "plan",
    },
)
