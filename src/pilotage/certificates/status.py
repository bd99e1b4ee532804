"""Defines the status of certificates that commands and the API show. Pure."""

from __future__ import annotations

from typing import Literal

import msgspec

__all__ = ["CertificateEvent", "CertificateState", "CertificateStatus", "CertificateTotals", "EventKind"]

CertificateState = Literal["valid", "expired", "requested", "waiting", "failed"]
EventKind = Literal["issued", "renewed", "failed", "taken_over", "received", "expired"]


class CertificateStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One certificate, or names that have none yet. Contains no secrets. Times are seconds since 1970; 0 is none.

    Attributes:
        names: the host names of the certificate.
        state: ``valid``; ``expired``; without a valid certificate: ``requested`` while an order is under way,
            ``failed`` after a failed attempt, and ``waiting`` otherwise.
        entry: the section of the configuration that asks for the certificate: ``main`` or ``extra[N]`` in ``autocert``,
            or ``internal`` for ``gateway.tls``.
        method: how the CA validates the names; ``local`` for files that another program renews.
        issuer: the name of the certificate's issuer.
        serial: the serial number, in hexadecimal.
        not_before, not_after: the start and the end of the certificate's validity.
        renew_at: when the certificate will be renewed.
        renewal_by_ca: whether the CA suggested the time of the renewal (ARI).
        error: why the last attempt failed; ``""`` if it did not fail.
        hint: what to check.
        failures: number of failed attempts in a row.
        next_attempt: when the next attempt begins, if the last attempt failed.
        renewing: whether an order is under way.
        file: path of the certificate chain; ``""`` if the certificate is not stored.

    """

    names: tuple[str, ...]
    state: CertificateState
    entry: str = ""
    method: str = ""
    issuer: str = ""
    serial: str = ""
    not_before: float = 0.0
    not_after: float = 0.0
    renew_at: float = 0.0
    renewal_by_ca: bool = False
    error: str = ""
    hint: str = ""
    failures: int = 0
    next_attempt: float = 0.0
    renewing: bool = False
    file: str = ""


class CertificateEvent(msgspec.Struct, frozen=True):
    """Something that happened to a certificate.

    Attributes:
        kind: ``issued``: the first certificate for these names was obtained; ``renewed``: a certificate for these
            names was replaced; ``failed``: an attempt failed; ``taken_over``: the certificate was read from the files
            that the configuration names; ``received``: another pilotage process obtained the certificate; ``expired``:
            the certificate was not renewed in time.
        names: the host names of the certificate.
        at: when the event happened, in seconds since 1970.
        text: the issuer and the expiry time or, if an attempt failed, the reason.

    """

    kind: EventKind
    names: tuple[str, ...]
    at: float
    text: str


class CertificateTotals(msgspec.Struct):
    """Counts since the start: certificates issued, renewed, and failed attempts."""

    issued: int = 0
    renewed: int = 0
    failed: int = 0
