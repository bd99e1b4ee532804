"""Defines what a client of an agent needs. Pure."""

from __future__ import annotations

from typing import Final

import msgspec

from pilotage.engine.x509 import Certificate, parse_certificates

__all__ = ["AGENT_NAME", "Credentials", "CredentialsError"]

AGENT_NAME: Final = "godoxy.agent"
"""Server name in every agent's certificate, independent of its address (LABELS II.7.2)."""


class Credentials(msgspec.Struct, frozen=True):
    """What a client of an agent needs. Its repr shows no key.

    Attributes:
        ca: PEM of the CA that the server's certificate must be issued by.
        cert: PEM of the client's certificate, with intermediate ones.
        key: PEM of its private key.

    """

    ca: bytes
    cert: bytes
    key: bytes

    def __repr__(self) -> str:
        return "Credentials(<hidden>)"

    @property
    def client(self) -> Certificate | None:
        """The client's certificate; ``None`` if it is not readable."""
        return next(iter(parse_certificates(self.cert.decode("ascii", "replace"))), None)


class CredentialsError(Exception):
    """The certificates of an agent cannot be used.

    Attributes:
        what: what is wrong with them.
        remedy: what to do.

    """

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy
