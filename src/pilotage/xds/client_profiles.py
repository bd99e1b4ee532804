"""Defines which client certificates routes accept, and finds the profile for a server name. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import msgspec

from pilotage.routes.hosts import DEFAULT, clean_domains

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pilotage.routes.route import Route

__all__ = [
    "CLIENT_CAS",
    "NO_CLIENTS",
    "SUBJECT_HEADER",
    "ClientNames",
    "ClientProfile",
    "client_ca",
    "with_common_profile",
]

CLIENT_CAS: Final = "client-ca/"
"""Prefix of the names of secrets with the authorities of a profile."""
SUBJECT_HEADER: Final = "x-client-cert-subject"
"""The header with the subject of a client's certificate. Every client's own is removed, even a trusted proxy's."""


class ClientProfile(msgspec.Struct, frozen=True):
    """The authorities that issue the certificates of a route's clients.

    Attributes:
        name: the name with which routes refer to it.
        ca_files: paths of PEM files with certificates of authorities.
        crl_files: paths of files with revocation lists, PEM or DER; if there are any, a certificate is accepted only if
            the list of its issuer is valid and does not contain it.
        use_system_cas: whether the authorities that the system trusts may issue certificates, too.
        optional: whether clients without a certificate have access, too. Clients with a certificate of another
            authority never have access.
        problem: why no certificate can be verified; ``""`` if the files can be used, or have not been read.

    """

    name: str
    ca_files: tuple[str, ...] = ()
    use_system_cas: bool = False
    optional: bool = False
    problem: str = ""
    crl_files: tuple[str, ...] = ()


def client_ca(profile: str) -> str:
    """Return the name of the secret with the authorities of a profile."""
    return f"{CLIENT_CAS}{profile}"


def with_common_profile(route: Route, common: str) -> Route:
    """Return an HTTP route with the profile that all routes require, unless it has one or there is none."""
    if not common or route.is_stream or route.settings.inbound_mtls_profile:
        return route
    return msgspec.structs.replace(route, settings=msgspec.structs.replace(route.settings, inbound_mtls_profile=common))


class ClientNames(msgspec.Struct, frozen=True):
    """The server names whose connections must ask for a client certificate.

    A connection has the profile of the route that its server name leads to. A pattern may also match the names of
    routes without a profile. The connection then asks for a certificate, but only the route refuses clients.

    Attributes:
        exact: full name -> profile.
        patterns: regular expressions of further names, each with a profile; the first that matches counts.

    """

    exact: dict[str, str] = {}
    patterns: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of_routes(cls, routes: Iterable[tuple[str, str]], match_domains: Iterable[str]) -> ClientNames:
        """Return the server names that lead to routes.

        Args:
            routes: the name and the profile of each route.
            match_domains: domains under which names without dots are served; if empty, any.

        """
        suffixes = clean_domains(match_domains)
        exact: dict[str, str] = {}
        full: dict[str, str] = {}
        short, wild, default = [], [], []
        for name, profile in sorted((name.lower(), profile) for name, profile in routes):
            if name == DEFAULT:
                default.append((".*", profile))
            elif name.startswith("*."):
                wild.append((rf"[^.]+\.{re.escape(name[2:])}", profile))
            elif "." in name:
                full[name] = profile
            elif suffixes:
                exact |= dict.fromkeys((name, *(f"{name}.{suffix}" for suffix in suffixes)), profile)
            else:
                short.append((rf"{re.escape(name)}(?:\..*)?", profile))
        return cls(exact | full, tuple(short + wild + default))

    @classmethod
    def all(cls, profile: str) -> ClientNames:
        """Return all server names, each with the same profile."""
        return cls(patterns=((".*", profile),))

    def find(self, name: str) -> str:
        """Return the profile for a full name; ``""`` if there is none."""
        if name in self.exact:
            return self.exact[name]
        return next((profile for pattern, profile in self.patterns if re.fullmatch(pattern, name)), "")

    @property
    def default(self) -> str:
        """The profile of connections without a server name."""
        return next((profile for pattern, profile in self.patterns if pattern == ".*"), "")

    def __bool__(self) -> bool:
        """Return whether any connection must ask."""
        return bool(self.exact or self.patterns)


NO_CLIENTS: Final = ClientNames()
