"""Finds host names of routes that no certificate will cover. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pilotage.certificates.hosts import uncovered
from pilotage.core.problems import Problem
from pilotage.engine.x509 import read_certificates

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pilotage.certificates.settings import AutocertSettings
    from pilotage.routes.route import Route
    from pilotage.xds.options import CertificateFiles

__all__ = ["uncovered_hosts"]


def uncovered_hosts(
    routes: Iterable[Route], autocert: AutocertSettings, files: Iterable[CertificateFiles]
) -> Iterator[Problem]:
    """Yield a warning for each host name that clients cannot use over HTTPS without an error.

    Args:
        routes: the routes.
        autocert: the certificates that are obtained; without any, nothing is reported.
        files: certificates from files.

    """
    if not autocert.entries:
        return
    chains = [read_certificates(it.certificate) for it in files]
    names = [name for chain in chains if chain for name in chain[0].names]
    for route, host, why in uncovered(routes, autocert, names):
        yield Problem(
            message=f"no certificate will cover {host}: {why}",
            hint="add it to autocert.domains, or add internal to gateway.tls for names without public DNS",
            severity="warning",
            container=route.container,
            route=route.alias,
            file=route.provider if route.is_static else "",
        )
