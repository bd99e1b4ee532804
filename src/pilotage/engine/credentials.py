"""Defines the credentials that a client uses to connect to an agent. Pure."""

from __future__ import annotations

from typing import Final

import msgspec

from pilotage.engine.x509 import Certificate, parse_certificates

__all__ = ["AGENT_NAME", "Credentials", "CredentialsError"]

AGENT_NAME: Final = "godoxy.agent"
"""Server name in every agent's certificate, independent of its address (LABELS II.7.2)."""


class Credentials(msgspec.Struct, frozen=True):
    """The credentials that a client uses to connect to an agent. Their repr does not show the key.

    Attributes:
        ca: the CA that must have issued the server's certificate, as PEM.
        cert: the client's certificate and any intermediate certificates, as PEM.
        key: the client's private key, as PEM.

    """

    ca: bytes
    cert: bytes
    key: bytes

    def __repr__(self) -> str:
        return "Credentials(<hidden>)"

    @property
    def ca_text(self) -> str:
        """The CA as text. Characters outside ASCII, which only comments can contain, are left out."""
        return self.ca.decode("ascii", "ignore")

    @property
    def client(self) -> Certificate | None:
        """The client's certificate; ``None`` if it is not readable."""
        return next(iter(parse_certificates(self.cert.decode("ascii", "replace"))), None)


class CredentialsError(Exception):
    """The certificates of an agent cannot be used.

    Attributes:
        what: the problem.
        remedy: how to fix it.

    """

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy
